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
    LeaseAround around{*id, {}, {}};
    for (const Amount& a : snapshot->counters(party))
      around.counters.push_back({snapshot->resources[a.resource].name, a.amount});
    for (const uint16_t granted : snapshot->granted(party))
      for (const Eligible& e : snapshot->eligible(party))
        if (e.device == granted)
          around.devices.push_back({snapshot->devices[granted], party.gpu.whole ? e.vram_bytes : party.gpu.vram_bytes});
    out.leases.push_back(std::move(around));
    out.tokens += (out.tokens.empty() ? "" : ":") + word;
  }
  return out;
}

// Each thing that is asked for goes to the innermost lease that has enough of it, or to the pool.
// The pool's part comes first: whoever holds a turn inside a lease must not sleep on it at the top.
std::vector<ClaimPart> split_claim(const Claim& claim, const std::vector<LeaseAround>& around) {
  std::vector<ClaimPart> parts;
  const auto part_of = [&](const LeaseAround* lease) -> ClaimPart& {
    for (ClaimPart& p : parts)
      if (lease == nullptr ? !p.parent : p.parent == lease->id) return p;
    ClaimPart fresh;
    fresh.claim.gpu = GpuClaim{};
    if (lease != nullptr) fresh.parent = lease->id;
    return *parts.insert(lease == nullptr ? parts.begin() : parts.end(), std::move(fresh));
  };
  for (const NamedAmount& c : claim.counters) {
    const LeaseAround* server = nullptr;
    for (const LeaseAround& lease : around) {
      const auto has = [&](const NamedAmount& a) { return a.name == c.name && a.amount >= c.amount; };
      if (!std::any_of(lease.counters.begin(), lease.counters.end(), has)) continue;
      server = &lease;
      break;
    }
    part_of(server).claim.counters.push_back(c);
  }
  const GpuClaim& gpu = claim.gpu;
  if (gpu.count == 0) return parts;
  for (const LeaseAround& lease : around) {
    std::vector<DeviceRef> fit;
    for (const DeviceRef& d : lease.devices) {
      const auto allowed = [&](const DeviceRef& e) { return e.uuid == d.uuid; };
      if (std::any_of(claim.eligible.begin(), claim.eligible.end(), allowed) &&
          (gpu.whole || gpu.vram_bytes <= d.vram_bytes))
        fit.push_back(d);
    }
    if (fit.size() < static_cast<size_t>(gpu.count)) continue;
    ClaimPart& part = part_of(&lease);
    part.claim.gpu = gpu;
    part.claim.eligible = fit;
    return parts;
  }
  ClaimPart& part = part_of(nullptr);
  part.claim.gpu = gpu;
  part.claim.eligible = claim.eligible;
  return parts;
}

}  // namespace berth
