// A record that somebody removed: to be told of it, and to publish it again.
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "ledger/local_ledger.h"

namespace berth {

namespace {

// Whether `fd` is still what `path` names.
bool is_named(const OwnFd& fd, int dir_fd, const std::string& path) {
  struct stat ours {};
  struct stat there {};
  return fd.valid() && ::fstat(fd.get(), &ours) == 0 &&
         ::fstatat(dir_fd, path.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && ours.st_ino == there.st_ino &&
         ours.st_dev == there.st_dev;
}

}  // namespace

OwnFd LocalLedger::watch_own_entries() const {
  OwnFd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!watch.valid() || name_.empty()) return {};
  // Our three entries themselves and nothing else of the pool: nobody wakes for what others do. Of a FIFO
  // that is open only the count of its links tells that its name went, and that is an attribute.
  constexpr uint32_t events = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW;
  const auto add = [&](int dir_fd, const std::string& name) {
    const std::string path = "/proc/self/fd/" + std::to_string(dir_fd) + "/" + name;
    return ::inotify_add_watch(watch.get(), path.c_str(), events) >= 0;
  };
  const std::string id(id_.view());
  if (!add(pool_.fd(), name_) || !add(own_dir_.get(), id + ".l") || !add(own_dir_.get(), id + ".b")) return {};
  return watch;
}

// The owner of a record may have given it another name: another process of our own uid, or root.
bool LocalLedger::find_own_name() {
  struct stat st {};
  if (name_.empty()) return false;
  if (::fstatat(pool_.fd(), name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return true;
  const auto snapshot = pool_.read();
  const int index = snapshot.ok() ? snapshot->find(PartyKey::of(id_, own_dir_name_)) : -1;
  if (index < 0) return false;
  name_ = pool_.entry_name(snapshot->parties[static_cast<size_t>(index)]);
  return true;
}

bool LocalLedger::entries_stand() {
  const std::string dir = "u" + own_dir_name_ + "/" + std::string(id_.view());
  return find_own_name() && is_named(life_, pool_.fd(), dir + ".l") && is_named(bell_, pool_.fd(), dir + ".b");
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
