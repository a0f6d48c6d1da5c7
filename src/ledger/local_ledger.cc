#include "ledger/local_ledger.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/sys.h"
#include "base/text.h"
#include "base/user.h"

namespace berth {

namespace {

constexpr mode_t life_mode = 0644;  // only its owner can lend it life; everybody can ask
constexpr mode_t bell_mode = 0622;  // everybody can ring; only its owner can hear
constexpr int max_dir_suffix = 16;

bool is_record(std::string_view name) {
  return name.size() > 4 + PartyId::size && name[2] == ',' && (name[0] == 'h' || name[0] == 'w' || name[0] == 'a');
}

}  // namespace

std::string fifo_name(const PartyId& id, const char* suffix) { return std::string(id.view()) + suffix; }

bool acts_as_root() { return ::geteuid() == 0; }

bool is_root() {
  if (::geteuid() != 0) return false;
  const OwnFd fd(::open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC));
  std::array<char, 128> text{};
  if (!fd.valid() || ::read(fd.get(), text.data(), text.size() - 1) <= 0) return true;
  // "0 0 4294967295": everybody, as themselves. In a user namespace of one's own it says less.
  const std::vector<std::string> words = split(text.data(), ' ');
  return words.size() >= 2 && words[0] == "0" && words[1] == "0";
}

LocalLedger::LocalLedger(LocalPool& pool, int cancel_fd) : pool_(pool), lock_(pool.fd()), cancel_fd_(cancel_fd) {}

LocalLedger::~LocalLedger() = default;

Result<LockOutcome> LocalLedger::lock(int64_t deadline_us, Heed heed) {
  scanned_ = false;
  return lock_.take(deadline_us, heed == Heed::cancel ? cancel_fd_ : -1);
}

Result<bool> LocalLedger::line_is_empty() {
  auto empty = pool_.line_is_empty();
  scanned_ = empty.ok();
  return empty;
}

void LocalLedger::unlock() {
  scanned_ = false;
  lock_.give();
  // A pipe wakes its reader on the writer's own processor, where it would wait for us to be done.
  if (std::exchange(rang_, false)) ::sched_yield();
  for (OwnFd& fd : watched_before_) fd.reset();
  watched_before_.clear();
  remove_reaped_fifos();
  if (!leaving_) return;
  leaving_ = false;
  // Nobody looks for them without the record, and the lock is dear.
  ::unlinkat(own_dir_.get(), fifo_name(id_, ".b").c_str(), 0);
  ::unlinkat(own_dir_.get(), fifo_name(id_, ".l").c_str(), 0);
  if (noted_) ::unlinkat(own_dir_.get(), fifo_name(id_, ".c").c_str(), 0);
  if (may_yield_) remove_way_entries();
  abandon();
}

void LocalLedger::abandon() {
  life_.reset();
  bell_.reset();
  name_.clear();
}

Result<Snapshot> LocalLedger::read() {
  auto snapshot = std::exchange(scanned_, false) ? pool_.read_again() : pool_.read();
  if (!snapshot && !pool_.removed()) return snapshot;
  if (pool_.removed()) return Error{ErrorKind::lost, 0, "the pool " + pool_.path() + " was removed"};
  if (!snapshot->newer_name.empty()) return newer_record(snapshot->newer_name);
  return snapshot;
}

// Anybody can write such a record, so it is said who did.
Error LocalLedger::newer_record(const std::string& name) const {
  struct stat st {};
  const bool known = ::fstatat(pool_.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
  const std::string who = known ? " of the user " + user_name(st.st_uid) : "";
  return Error{ErrorKind::unavailable, 0,
               "the pool " + pool_.path() + " has a record of a newer berth" + who + ", the entry " + printable(name) +
                   ": upgrade this one, or have that entry removed"};
}

// Invalid, without an error, where what stands there is not a directory of our uid's. Then errno is
// ENOENT if nothing stands there at all.
Result<OwnFd> LocalLedger::open_if_ours(const std::string& name) const {
  constexpr int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  OwnFd fd(retry_eintr([&] { return ::openat(pool_.fd(), name.c_str(), flags); }));
  if (!fd.valid()) {
    if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != EACCES)
      return sys_error(errno, "cannot use the pool " + pool_.path());
    return fd;
  }
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return sys_error(errno, "cannot use the pool " + pool_.path());
  if (st.st_uid != ::geteuid()) {
    fd.reset();
    errno = EEXIST;
    return fd;
  }
  if ((st.st_mode & 07777) != 0755 && ::fchmod(fd.get(), 0755) != 0)
    return sys_error(errno, "cannot use the pool " + pool_.path());
  return fd;
}

// The directory that our uid has, before another one is made: a name that was squatted when the first
// of us came may be free by now. `wanted`: this very one, where it is not empty.
Result<> LocalLedger::open_own_dir(const std::string& wanted) {
  if (own_dir_.valid() && (wanted.empty() || wanted == own_dir_name_)) return success();
  const std::string uid = std::to_string(::geteuid());
  const auto dir_at = [&](int suffix) { return suffix == 0 ? uid : uid + "." + std::to_string(suffix); };
  const auto take = [&](const std::string& dir) -> Result<bool> {
    auto fd = open_if_ours("u" + dir);
    if (!fd) return fd.error();
    if (!fd->valid()) return false;
    own_dir_ = std::move(*fd);
    own_dir_name_ = dir;
    return true;
  };
  if (!wanted.empty()) {
    const auto taken = take(wanted);
    if (!taken) return taken.error();
    if (*taken) return success();
    return Error{ErrorKind::lost, 0, "the lease that this one was inside of is gone"};
  }
  // Nearly always it is the first. Else the last look at the pool tells which of the others there are.
  std::set<std::string, std::less<>> there;
  std::vector<std::string> free;
  for (int suffix = 0; suffix < max_dir_suffix; ++suffix) {
    const std::string dir = dir_at(suffix);
    if (suffix > 0 && !there.contains("u" + dir)) {
      free.push_back(dir);
      continue;
    }
    const auto taken = take(dir);
    if (!taken) return taken.error();
    if (*taken) return success();
    if (errno == ENOENT) free.push_back(dir);
    if (suffix > 0) continue;
    pool_.each_entry([&](std::string_view name) {
      if (name.starts_with("u" + uid + ".")) there.emplace(name);
    });
  }
  for (const std::string& dir : free) {
    if (::mkdirat(pool_.fd(), ("u" + dir).c_str(), 0755) != 0 && errno != EEXIST)
      return sys_error(errno, "cannot write to the pool " + pool_.path());
    const auto taken = take(dir);
    if (!taken) return taken.error();
    if (*taken) return success();
  }
  return Error{ErrorKind::unavailable, 0,
               "in the pool " + pool_.path() + " others have taken every directory name for uid " + uid + " (u" + uid +
                   ", u" + uid + ".1, ...): remove them"};
}

Result<OwnFd> LocalLedger::make_fifo(const std::string& name, mode_t mode, int flags) {
  if (::mkfifoat(own_dir_.get(), name.c_str(), mode) != 0)
    return sys_error(errno, "cannot write to the pool " + pool_.path());
  OwnFd fd(retry_eintr([&] { return ::openat(own_dir_.get(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC); }));
  if (!fd.valid() || ::fchmod(fd.get(), mode) != 0) {  // mkfifo obeys the umask, fchmod does not
    const Error failed = sys_error(errno, "cannot use the pool " + pool_.path());
    ::unlinkat(own_dir_.get(), name.c_str(), 0);
    return failed;
  }
  return fd;
}

Result<> LocalLedger::enter(Record& record) {
  if (auto opened = open_own_dir(record.parent ? record.dir : ""); !opened) return opened;
  record.dir = own_dir_name_;
  if (!spare_.valid()) spare_.reset(::fcntl(pool_.fd(), F_DUPFD_CLOEXEC, 3));
  // Both ends of the life: a write end alone cannot be opened while nobody reads. We hold the lock,
  // so nobody takes the FIFO for a dead party's between its making and its opening.
  auto life = make_fifo(fifo_name(record.id, ".l"), life_mode, O_RDWR | O_NONBLOCK);
  if (!life) return life.error();
  auto bell = make_fifo(fifo_name(record.id, ".b"), bell_mode, O_RDWR | O_NONBLOCK);
  const std::string name = record_name(record);
  int failed = 0;
  if (bell.ok() && ::symlinkat(record_target(record).c_str(), pool_.fd(), name.c_str()) != 0) failed = errno;
  if (!bell.ok() || failed != 0) {
    ::unlinkat(own_dir_.get(), fifo_name(record.id, ".l").c_str(), 0);
    if (!bell.ok()) return bell.error();
    ::unlinkat(own_dir_.get(), fifo_name(record.id, ".b").c_str(), 0);
    return sys_error(failed, "cannot write to the pool " + pool_.path());
  }
  life_ = std::move(*life);
  bell_ = std::move(*bell);
  id_ = record.id;
  name_ = name;
  leaving_ = false;
  may_yield_ = record.way.reclaimable;
  return success();
}

Result<> LocalLedger::change(const Record& record) {
  const std::string name = record_name(record);
  // A rename takes no claim into the target. It can come to that only where its owner has made the claim longer.
  if (claim_stands_apart(name) && find_own_name() && !claim_stands_apart(name_))
    return Error{ErrorKind::unavailable, 0, "the claim has become too large for what is to be written down besides"};
  const auto rename_to_it = [&] { return ::renameat(pool_.fd(), name_.c_str(), pool_.fd(), name.c_str()) == 0; };
  bool done = rename_to_it();
  int failed = errno;
  if (!done && failed == ENOENT && find_own_name()) {
    done = rename_to_it();
    failed = errno;
  }
  if (done) {
    name_ = name;
    return success();
  }
  if (failed == ENOENT) return Error{ErrorKind::lost, failed, "our record was removed from the pool " + pool_.path()};
  return sys_error(failed, "cannot write to the pool " + pool_.path());
}

void LocalLedger::leave() {
  if (name_.empty()) return;
  if (::unlinkat(pool_.fd(), name_.c_str(), 0) != 0 && errno == ENOENT && find_own_name())
    ::unlinkat(pool_.fd(), name_.c_str(), 0);
  leaving_ = true;
}

bool LocalLedger::life_goes_on_without_us() {
  const OwnFd reader(retry_eintr(
      [&] { return ::openat(own_dir_.get(), fifo_name(id_, ".l").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC); }));
  life_.reset();
  // Not to be known: leave the record. If nobody has the life, it is dead now, and is reaped as such.
  if (!reader.valid()) return true;
  char byte = 0;
  const ssize_t got = retry_eintr([&] { return ::read(reader.get(), &byte, 1); });
  return got != 0;
}

Result<> LocalLedger::write_config(const PoolConfig& config) {
  const std::string text = encode_config(config);
  if (text.size() > max_target_bytes) return Error{ErrorKind::usage, 0, "too many named resources for one pool"};
  if (::symlinkat(text.c_str(), pool_.fd(), config_entry) == 0) return success();
  if (errno != EEXIST) return sys_error(errno, "cannot write to the pool " + pool_.path());
  const std::string draft = std::string(".pool-") + std::string(new_id().view());
  if (::symlinkat(text.c_str(), pool_.fd(), draft.c_str()) != 0)
    return sys_error(errno, "cannot write to the pool " + pool_.path());
  if (::renameat(pool_.fd(), draft.c_str(), pool_.fd(), config_entry) == 0) return success();
  const int failed = errno;
  ::unlinkat(pool_.fd(), draft.c_str(), 0);
  if (failed == EPERM || failed == EACCES)
    return Error{ErrorKind::not_yours, failed,
                 "the pool's settings belong to its owner (uid " + std::to_string(pool_.owner()) + ") or root"};
  return sys_error(failed, "cannot write to the pool " + pool_.path());
}

void LocalLedger::sweep_orphans() {
  struct stat st {};
  if (!own_dir_.valid() || ::fstat(own_dir_.get(), &st) != 0) return;
  const std::string mine = own_dir_name_ + ",";
  const auto is_mine = [&](std::string_view name) {
    return is_record(name) && name.substr(4 + PartyId::size).starts_with(mine);
  };
  size_t expected = 0;  // a life and a bell each; who holds has a list of processes as well
  std::vector<std::string> drafts;
  pool_.each_entry([&](std::string_view name) {
    if (is_mine(name) && name != name_) expected += name[0] == 'h' ? 3 : 2;
    if (name.starts_with(".pool-")) drafts.emplace_back(name);  // of a config whose writer died: we hold the lock
  });
  for (const std::string& draft : drafts) ::unlinkat(pool_.fd(), draft.c_str(), 0);
  if (!name_.empty()) expected += noted_ ? 3 : 2;
  // A tmpfs counts 20 bytes an entry, and 40 for itself: no more than what is expected means nothing
  // worth looking for.
  if (static_cast<size_t>(st.st_size) <= expected * 20 + 40) return;
  std::set<std::string, std::less<>> wanted;
  if (!name_.empty()) wanted.emplace(id_.view());
  pool_.each_entry([&](std::string_view name) {
    if (is_mine(name)) wanted.emplace(name.substr(3, PartyId::size));
  });
  std::unique_ptr<char[]> buffer;
  size_t buffer_size = 0;
  auto used = read_directory(own_dir_.get(), st.st_size, buffer, buffer_size);
  if (!used) return;
  constexpr int at_most = 256;  // a bounded number at a time
  int removed = 0;
  for (size_t offset = 0; offset < *used && removed < at_most;) {
    const DirEntry e = next_entry(buffer.get(), offset);
    if ((e.type != DT_FIFO && e.type != DT_LNK) || e.name.size() != PartyId::size + 2) continue;
    if (wanted.contains(e.name.substr(0, PartyId::size))) continue;
    // A job that outlives its record (released early) still holds its life: it is no orphan's, but
    // nobody looks for it any more either.
    ::unlinkat(own_dir_.get(), std::string(e.name).c_str(), 0);
    ++removed;
  }
}

int64_t LocalLedger::now_wall_us() { return wall_us(); }
int64_t LocalLedger::now_monotonic_us() { return monotonic_us(); }

PartyId LocalLedger::new_id() {
  static constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567";
  PartyId id;
  std::array<unsigned char, PartyId::size> random{};
  if (retry_eintr([&] { return ::getrandom(random.data(), random.size(), 0); }) !=
      static_cast<ssize_t>(random.size())) {
    // Without randomness the clock and the pid still make an id that mkfifo() refuses if it is taken.
    uint64_t seed = static_cast<uint64_t>(monotonic_us()) * 1'000'003U + static_cast<uint64_t>(::getpid());
    for (unsigned char& byte : random) {
      seed = seed * 6364136223846793005U + 1442695040888963407U;
      byte = static_cast<unsigned char>(seed >> 56U);
    }
  }
  for (size_t i = 0; i < PartyId::size; ++i) id.text[i] = letters[random[i] % letters.size()];
  return id;
}

}  // namespace berth
