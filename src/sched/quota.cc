#include "sched/quota.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

namespace berth {

namespace {

constexpr int most_leases = 16;  // one inside the other

// A turn takes no card that a lease around it has: that lease takes it. So it is with a share that grows.
int64_t cards_of(const Snapshot& snapshot, const Party& party) {
  if (party.grows) return 0;
  if (!party.seconds || !uses_memory_of_lease(party.gpu)) return party.gpu.count;
  std::vector<uint16_t> cards;
  if (party.state == PartyState::held)
    for (const uint16_t device : snapshot.granted(party)) cards.push_back(device);
  else
    for (const auto& devices : {snapshot.eligible(party), snapshot.vetoed(party)})
      for (const Eligible& e : devices) cards.push_back(e.device);
  const Party* inner = &party;
  for (int step = 0; step < most_leases && !cards.empty() && (inner->nested || inner->seconds); ++step) {
    const int lease = snapshot.find(inner->nested ? inner->parent_key() : inner->with_key());
    if (lease < 0) break;
    inner = &snapshot.parties[static_cast<size_t>(lease)];
    const auto had = snapshot.granted(*inner);
    std::erase_if(cards, [&](uint16_t card) { return std::find(had.begin(), had.end(), card) != had.end(); });
  }
  return std::min<int64_t>(party.gpu.count, static_cast<int64_t>(cards.size()));
}

}  // namespace

int64_t quota_use(const Snapshot& snapshot, const Party& party, const Quota& quota) {
  if (party.nested) return 0;
  if (quota.name == "gpus") return cards_of(snapshot, party);
  for (const Amount& a : snapshot.counters(party))
    if (snapshot.resources[a.resource].name == quota.name) return a.amount;
  return 0;
}

Quotas::Quotas(const Snapshot& snapshot) {
  const std::vector<Quota>& quotas = snapshot.policy.quotas;
  if (quotas.empty()) return;
  std::map<std::pair<std::string_view, uint16_t>, uint32_t> known;
  runs_.reserve(snapshot.parties.size());
  for (const Party& party : snapshot.parties) {
    const auto first = static_cast<uint32_t>(uses_.size());
    for (size_t i = 0; i < quotas.size(); ++i) {
      const auto q = static_cast<uint16_t>(i);
      const int64_t amount = quota_use(snapshot, party, quotas[i]);
      if (amount == 0) continue;
      const auto at = known.emplace(std::pair{party.user(), q}, static_cast<uint32_t>(known.size())).first;
      uses_.push_back({at->second, q, amount});
    }
    runs_.push_back({first, static_cast<uint32_t>(uses_.size()) - first});
  }
  items_ = known.size();
}

bool share_a_quota(const Snapshot& snapshot, const Party& a, const Party& b) {
  const std::vector<Quota>& quotas = snapshot.policy.quotas;
  if (quotas.empty() || a.user() != b.user()) return false;
  return std::any_of(quotas.begin(), quotas.end(),
                     [&](const Quota& q) { return quota_use(snapshot, a, q) > 0 && quota_use(snapshot, b, q) > 0; });
}

}  // namespace berth
