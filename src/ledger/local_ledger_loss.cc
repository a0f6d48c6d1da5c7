// A record that somebody removed: to notice it, and to publish it again.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "ledger/local_ledger.h"

namespace berth {

namespace {

constexpr int64_t meant_us = 100'000;

// Whether `fd` is still what `path` names, for all that is known.
bool is_named(const OwnFd& fd, int dir_fd, const std::string& path) {
  struct stat ours {};
  struct stat there {};
  if (!fd.valid()) return false;
  if (::fstat(fd.get(), &ours) != 0) return true;
  if (::fstatat(dir_fd, path.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) return !says_gone(errno);
  return ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

}  // namespace

// The owner of a record may have given it another name: another process of our own uid, or root.
bool LocalLedger::find_own_name() {
  struct stat st {};
  if (name_.empty()) return false;
  if (::fstatat(pool_.fd(), name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 || !says_gone(errno)) return true;
  const auto snapshot = pool_.read();
  if (!snapshot.ok()) return !pool_.removed();
  const int index = snapshot->find(PartyKey::of(id_, own_dir_name_));
  if (index < 0) return false;
  name_ = pool_.entry_name(snapshot->parties[static_cast<size_t>(index)]);
  return true;
}

bool LocalLedger::entries_stand() {
  const std::string dir = "u" + own_dir_name_ + "/" + std::string(id_.view());
  const bool stands =
      find_own_name() && is_named(life_, pool_.fd(), dir + ".l") && is_named(bell_, pool_.fd(), dir + ".b");
  // Between that ring and the end of the record there is no time at all: it was somebody's mischief, or he died.
  if (stands && told_to_leave_us_ >= 0 && monotonic_us() - told_to_leave_us_ > meant_us) told_to_leave_us_ = -1;
  return stands;
}

// Who could not ring to say so has taken the bell away, and left the life: nobody loses just that.
bool LocalLedger::told_to_leave() const {
  const std::string entries = "u" + own_dir_name_ + "/" + std::string(id_.view());
  return told_to_leave_us_ >= 0 ||
         (is_named(life_, pool_.fd(), entries + ".l") && !is_named(bell_, pool_.fd(), entries + ".b"));
}

Result<> LocalLedger::restore(Record& record) {
  const std::string entries = "u" + own_dir_name_ + "/" + std::string(record.id.view());
  if (is_named(life_, pool_.fd(), entries + ".l") && is_named(bell_, pool_.fd(), entries + ".b")) {
    const std::string name = record_name(record);
    if (::symlinkat(record_target(record).c_str(), pool_.fd(), name.c_str()) != 0)
      return sys_error(errno, "cannot write to the pool " + pool_.path());
    name_ = name;
    return success();
  }
  // Its life or bell went as well. The job keeps copies of a life that nobody will ask again, so the processes
  // that are written down (note_processes) stand for it.
  ::unlinkat(pool_.fd(), name_.c_str(), 0);
  for (const char* suffix : {".l", ".b", ".c"}) ::unlinkat(pool_.fd(), (entries + suffix).c_str(), 0);
  own_dir_.reset();
  OwnFd life_before = std::move(life_);
  OwnFd bell_before = std::move(bell_);
  auto entered = enter(record);
  if (entered.ok()) return entered;
  life_ = std::move(life_before);
  bell_ = std::move(bell_before);
  return entered;
}

}  // namespace berth
