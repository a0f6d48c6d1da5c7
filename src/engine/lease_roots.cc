#include "engine/lease_roots.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"

namespace berth {

LeaseRoot lease_root(const Snapshot& snapshot, const Party& party, const PartyInfo& info, uid_t uid) {
  LeaseRoot root;
  root.key = party.key();
  root.uid = uid;
  root.pid = info.pid;
  root.pid_namespace = info.pid_namespace;
  root.arrival_us = party.arrival_us;
  if (party.nested) root.parent = party.parent;
  if (!party.nested && party.seconds && uses_memory_of_lease(party.gpu)) root.parent = party.with;
  for (const uint16_t device : snapshot.granted(party)) root.devices.push_back(snapshot.devices[device]);
  return root;
}

namespace {

// Of a holder; nullopt where its record has just gone.
std::optional<LeaseRoot> root_of(const LocalPool& pool, const Snapshot& snapshot, const Party& party) {
  std::string target(max_target_bytes + 1, '\0');
  const std::string name(pool.entry_name(party));
  struct stat st {};
  const auto ask = [&] { return ::readlinkat(pool.fd(), name.c_str(), target.data(), target.size()); };
  const ssize_t length = retry_eintr(ask);
  if (length < 0 || ::fstatat(pool.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  const PartyInfo info = decode_info({target.data(), static_cast<size_t>(length)});
  return lease_root(snapshot, party, info, st.st_uid);
}

}  // namespace

std::vector<LeaseRoot> lease_roots(LocalPool& pool) {
  std::vector<LeaseRoot> out;
  const auto snapshot = pool.read();
  if (!snapshot) return out;
  for (const Party& party : snapshot->parties) {
    if (party.state != PartyState::held) continue;
    if (auto root = root_of(pool, *snapshot, party)) out.push_back(std::move(*root));
  }
  return out;
}

std::vector<RamLease> ram_leases(LocalPool& pool) {
  std::vector<RamLease> out;
  const auto snapshot = pool.read();
  if (!snapshot) return out;
  for (const Party& party : snapshot->parties) {
    if (party.state != PartyState::held || party.nested) continue;
    for (const Amount& a : snapshot->counters(party)) {
      if (snapshot->resources[a.resource].name != "ram") continue;
      if (auto root = root_of(pool, *snapshot, party)) out.push_back({std::move(*root), a.amount});
    }
  }
  return out;
}

}  // namespace berth
