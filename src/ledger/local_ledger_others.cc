// What a party's owner and root may do to its record from outside: end its lease, change its claim.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "ledger/local_ledger.h"

namespace berth {

// The record of that name, which is ours to change, or not.
Result<struct stat> LocalLedger::stat_to_change(const std::string& name) const {
  struct stat st {};
  if (::fstatat(pool_.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return Error{ErrorKind::not_found, errno, "no such lease"};
  // The owner of the pool's directory could remove it all the same; a lease is still not his.
  if (st.st_uid != ::geteuid() && !is_root())
    return Error{ErrorKind::not_yours, EPERM, "that lease belongs to uid " + std::to_string(st.st_uid)};
  return st;
}

Error LocalLedger::cannot_change(int failed) const {
  if (failed == EPERM || failed == EACCES) return Error{ErrorKind::not_yours, failed, "that lease is not yours"};
  return sys_error(failed, "cannot write to the pool " + pool_.path());
}

Result<> LocalLedger::evict(const Party& party) {
  const std::string name(pool_.entry_name(party));
  if (auto ours = stat_to_change(name); !ours) return ours.error();
  const Ring told = ring_with(party, leave_ring);
  if (told.answered && !told.written) {
    // It lives and has not been told, for want of a descriptor say: it would enter its lease again.
    const OwnFd dir = open_dir_of(party);
    const std::string bell = std::string(party.id.view()) + ".b";
    if (!dir.valid() || (::unlinkat(dir.get(), bell.c_str(), 0) != 0 && errno != ENOENT))
      return Error{ErrorKind::unavailable, errno,
                   "its berth cannot be told that its lease ends, so it goes on: " + std::string(::strerror(errno))};
  }
  if (::unlinkat(pool_.fd(), name.c_str(), 0) == 0) return success();
  return cannot_change(errno);
}

Result<> LocalLedger::replace(const Party& party, const Record& record) {
  const std::string name(pool_.entry_name(party));
  auto st = stat_to_change(name);
  if (!st) return st.error();
  Record fresh = record;
  fresh.claim_apart = claim_stands_apart(name);
  const std::string fresh_name = record_name(fresh);
  if (!fresh.claim_apart) {
    if (claim_stands_apart(fresh_name))
      return Error{ErrorKind::usage, 0, "the claim is too large to be written down: end it and claim anew"};
    return ::renameat(pool_.fd(), name.c_str(), pool_.fd(), fresh_name.c_str()) == 0 ? success()
                                                                                     : Result<>(cannot_change(errno));
  }
  std::array<char, max_target_bytes + 1> target{};
  const ssize_t length = ::readlinkat(pool_.fd(), name.c_str(), target.data(), target.size());
  if (length <= 0) return sys_error(errno, "cannot use the pool " + pool_.path());
  const std::string old(target.data(), static_cast<size_t>(length));
  const std::string claim = record_target(fresh);
  std::string text = claim.substr(0, claim.find('\n')) + old.substr(std::min(old.find('\n'), old.size()));
  if (text.size() > max_target_bytes) text.resize(max_target_bytes);
  // A new link beside it, of the same owner, and then over it: names of this kind are swept by whoever finds
  // them under the lock. Its name has the claim no more than the old one's, so the two are one.
  const std::string draft = std::string(".pool-") + std::string(new_id().view());
  if (::symlinkat(text.c_str(), pool_.fd(), draft.c_str()) != 0) return cannot_change(errno);
  const bool owned = st->st_uid == ::geteuid() ||
                     ::fchownat(pool_.fd(), draft.c_str(), st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) == 0;
  bool done = owned && ::renameat(pool_.fd(), draft.c_str(), pool_.fd(), fresh_name.c_str()) == 0;
  const int failed = errno;
  if (!done) ::unlinkat(pool_.fd(), draft.c_str(), 0);
  // Fewer cards are another name.
  if (done && fresh_name != name) ::unlinkat(pool_.fd(), name.c_str(), 0);
  return done ? success() : Result<>(cannot_change(failed));
}

}  // namespace berth
