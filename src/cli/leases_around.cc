#include "cli/leases_around.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/sha256.h"
#include "base/text.h"
#include "ledger/local_ledger.h"

namespace berth {

namespace {

constexpr size_t most_leases_around = 16;

LeaseAround as_around(const Snapshot& snapshot, const Party& party) {
  LeaseAround out;
  out.id = party.id;
  if (party.nested) out.parent = party.parent;
  for (const Amount& a : snapshot.counters(party))
    out.counters.push_back({snapshot.resources[a.resource].name, a.amount});
  out.gpu = party.gpu;
  for (const uint16_t granted : snapshot.granted(party))
    for (const Eligible& e : snapshot.eligible(party))
      if (e.device == granted) out.devices.push_back({snapshot.devices[granted], e.vram_bytes, e.link, e.numa});
  const auto own = snapshot.own_processors(party);
  out.processors.assign(own.begin(), own.end());
  return out;
}

}  // namespace

LeasesAround leases_around(LocalPool& pool) {
  LeasesAround out;
  const char* env = std::getenv("BERTH_LEASE");
  if (env == nullptr || *env == '\0') return out;
  auto snapshot = pool.read();
  if (!snapshot) return out;
  LocalLedger ledger(pool);
  std::vector<std::string> words = split(env, ':');
  if (words.size() > most_leases_around) words.resize(most_leases_around);
  for (const std::string& word : words) {
    const size_t dot = word.find('.');
    const auto id = PartyId::parse(word.substr(0, dot));
    const int index = id && dot != std::string::npos ? snapshot->find(*id) : -1;
    if (index < 0) continue;
    const Party& party = snapshot->parties[static_cast<size_t>(index)];
    const std::string name(pool.entry_name(party));
    std::array<char, max_target_bytes + 1> target{};
    struct stat st {};
    const ssize_t length = ::readlinkat(pool.fd(), name.c_str(), target.data(), target.size());
    if (length <= 0 || ::fstatat(pool.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    const PartyInfo info = decode_info({target.data(), static_cast<size_t>(length)});
    const bool proved = !info.token_sha256.empty() && info.token_sha256 == sha256_hex(word.substr(dot + 1));
    if (!proved || st.st_uid != ::geteuid() || party.state != PartyState::held) continue;
    if (ledger.life(party) == Life::dead) continue;
    out.leases.push_back(as_around(*snapshot, party));
    out.leases.back().label = info.label;
    out.tokens += (out.tokens.empty() ? "" : ":") + word;
  }
  return out;
}

namespace {

const DeviceRef* find_device(const std::vector<DeviceRef>& among, const std::string& uuid) {
  const auto at = std::find_if(among.begin(), among.end(), [&](const DeviceRef& d) { return d.uuid == uuid; });
  return at == among.end() ? nullptr : &*at;
}

// Splits one claim; what is common to all its parts is found once.
class Splitter {
 public:
  Splitter(const Claim& claim, const std::vector<LeaseAround>& around) : claim_(claim), around_(around) {}

  std::vector<ClaimPart> run() {
    for (const NamedAmount& c : claim_.counters) split_counter(c);
    if (claim_.gpu.count > 0) split_cards();
    // The top comes first, and the outer before the inner: whoever has a turn inside of a lease must not
    // sleep on it outside.
    std::vector<ClaimPart> out;
    if (top_) out.push_back(std::move(*top_));
    for (ClaimPart& p : compute_) out.push_back(std::move(p));
    for (auto p = inside_.rbegin(); p != inside_.rend(); ++p)
      if (!p->claim.counters.empty() || p->claim.gpu.count > 0) out.push_back(std::move(*p));
    return out;
  }

 private:
  // The part that a lease serves; null: the pool.
  Claim& part_of(const LeaseAround* lease) {
    if (lease == nullptr) {
      if (!top_) top_.emplace();
      return top_->claim;
    }
    if (inside_.empty())
      for (const LeaseAround& l : around_) inside_.push_back({{}, l.id, false});
    return inside_[static_cast<size_t>(lease - around_.data())].claim;
  }

  template <class Visit>
  void each_inside_of(const LeaseAround& lease, const Visit& visit) const {
    for (const LeaseAround& other : around_)
      if (other.parent == lease.id) visit(other);
  }

  static int64_t amount_of(const LeaseAround& lease, const std::string& name) {
    for (const NamedAmount& a : lease.counters)
      if (a.name == name) return a.amount;
    return 0;
  }

  void split_counter(const NamedAmount& c) {
    int64_t needed = c.amount;
    for (const LeaseAround& lease : around_) {
      int64_t has = amount_of(lease, c.name);
      each_inside_of(lease, [&](const LeaseAround& inner) { has -= amount_of(inner, c.name); });
      const int64_t taken = std::min(needed, has);
      if (taken <= 0) continue;
      part_of(&lease).counters.push_back({c.name, taken});
      needed -= taken;
    }
    if (needed > 0) part_of(nullptr).counters.push_back({c.name, needed});
  }

  // Whether a lease can give us that of one of its cards. Compute that it has none of is not asked of it.
  [[nodiscard]] bool has_room(const LeaseAround& lease, const DeviceRef& device) const {
    const GpuClaim& gpu = claim_.gpu;
    int64_t vram_left = lease.gpu.whole ? device.vram_bytes : lease.gpu.vram_bytes;
    int compute_left = 100;
    bool ours_alone = true;
    each_inside_of(lease, [&](const LeaseAround& inner) {
      if (find_device(inner.devices, device.uuid) == nullptr) return;
      ours_alone = false;
      vram_left -= inner.gpu.whole ? vram_left : inner.gpu.vram_bytes;
      compute_left -= inner.gpu.whole ? compute_left : inner.gpu.compute_pct;
    });
    if (gpu.whole) return ours_alone;
    return gpu.vram_bytes <= std::max<int64_t>(0, vram_left) &&
           (gpu.compute_pct <= compute_left || !has_compute(lease));
  }

  [[nodiscard]] std::vector<DeviceRef> cards_of(const LeaseAround& lease,
                                                const std::vector<std::string>& without) const {
    std::vector<DeviceRef> out;
    for (const DeviceRef& d : lease.devices) {
      if (find_device(claim_.eligible, d.uuid) == nullptr || !has_room(lease, d)) continue;
      if (std::find(without.begin(), without.end(), d.uuid) != without.end()) continue;
      out.push_back({d.uuid, lease.gpu.whole ? d.vram_bytes : lease.gpu.vram_bytes, 0, 0});
    }
    return out;
  }

  void split_cards() {
    const auto count = static_cast<size_t>(claim_.gpu.count);
    for (const LeaseAround& lease : around_)
      if (auto cards = cards_of(lease, {}); cards.size() >= count)
        return serve(lease, claim_.gpu.count, std::move(cards));
    size_t needed = count;
    std::vector<std::string> taken;
    for (const LeaseAround& lease : around_) {
      auto cards = cards_of(lease, taken);
      for (const DeviceRef& d : lease.devices) taken.push_back(d.uuid);
      const size_t served = std::min(needed, cards.size());
      if (served > 0) serve(lease, static_cast<int>(served), std::move(cards));
      needed -= served;
    }
    if (needed == 0) return;
    Claim& top = part_of(nullptr);
    top.gpu = claim_.gpu;
    top.gpu.count = static_cast<int>(needed);
    // Of a card that a lease around us is on, nothing more can be had whole, nor two places for one claim.
    const bool others_alone = claim_.gpu.whole || needed < count;
    for (const DeviceRef& d : claim_.eligible)
      if (!others_alone || std::find(taken.begin(), taken.end(), d.uuid) == taken.end()) top.eligible.push_back(d);
  }

  [[nodiscard]] static bool has_compute(const LeaseAround& lease) {
    return lease.gpu.whole || lease.gpu.compute_pct > 0;
  }

  void serve(const LeaseAround& lease, int count, std::vector<DeviceRef> cards) {
    GpuClaim gpu = claim_.gpu;
    gpu.count = count;
    if (gpu.whole || gpu.compute_pct == 0 || has_compute(lease)) return put(part_of(&lease), gpu, std::move(cards));
    // Two parts that have to come to the same cards leave no choice.
    cards.resize(static_cast<size_t>(count));
    ask_for_compute(lease, gpu, cards);
    gpu.compute_pct = 0;
    if (gpu.vram_bytes > 0) put(part_of(&lease), gpu, std::move(cards));
  }

  static void put(Claim& part, const GpuClaim& gpu, std::vector<DeviceRef> cards) {
    part.gpu = gpu;
    part.eligible = std::move(cards);
  }

  // A lease that has memory and no compute competes for that with those beside it: in the lease that it is
  // inside of, if that one has some; at the top at last.
  void ask_for_compute(const LeaseAround& resident, GpuClaim gpu, const std::vector<DeviceRef>& cards) {
    const LeaseAround* level = &resident;  // beside whom it is asked for
    const LeaseAround* server = nullptr;
    while (level->parent && server == nullptr) {
      const auto outer =
          std::find_if(around_.begin(), around_.end(), [&](const LeaseAround& l) { return l.id == *level->parent; });
      if (outer == around_.end()) break;
      if (has_compute(*outer))
        server = &*outer;
      else
        level = &*outer;
    }
    gpu.vram_bytes = 0;
    std::vector<DeviceRef> there;
    for (const DeviceRef& card : cards)
      if (const DeviceRef* d = find_device(level->devices, card.uuid)) there.push_back(*d);
    ClaimPart part{{{}, gpu, std::move(there)}, std::nullopt, true};
    if (server != nullptr) part.parent = server->id;
    compute_.push_back(std::move(part));
  }

  const Claim& claim_;
  const std::vector<LeaseAround>& around_;
  std::optional<ClaimPart> top_;
  std::vector<ClaimPart> compute_;
  std::vector<ClaimPart> inside_;  // one for each lease around us, once there is any
};

}  // namespace

std::vector<ClaimPart> split_claim(const Claim& claim, const std::vector<LeaseAround>& around) {
  return Splitter(claim, around).run();
}

ProcessorSet processors_of(const std::vector<LeaseAround>& around) {
  for (const LeaseAround& lease : around)
    if (!lease.processors.empty()) return processor_set(lease.processors);
  return {};
}

const LeaseAround* resident_of(const std::vector<LeaseAround>& around) {
  for (const LeaseAround& lease : around)
    if (!lease.devices.empty()) return &lease;
  return nullptr;
}

Claim turn_claim(const LeaseAround& resident) {
  return {{}, {static_cast<int>(resident.devices.size()), false, 0, 100}, resident.devices};
}

}  // namespace berth
