#include "sched/quota.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

namespace berth {

int64_t quota_use(const Snapshot& snapshot, const Party& party, const Quota& quota) {
  if (party.nested) return 0;
  if (quota.name == "gpus") return party.seconds && uses_memory_of_lease(party.gpu) ? 0 : party.gpu.count;
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
    for (uint16_t q = 0; q < quotas.size(); ++q) {
      const int64_t amount = quota_use(snapshot, party, quotas[q]);
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
