#include "ledger/local_ledger.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
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
constexpr int64_t look_by_hand_us = 100'000;
constexpr int enough_rings = 4096;  // unread in one bell: more would change nothing

std::string fifo_path(const Party& party, const char* suffix) {
  std::string path = "u";
  path += party.dir();
  path += '/';
  path += party.id.view();
  path += suffix;
  return path;
}

std::string fifo_name(const PartyId& id, const char* suffix) { return std::string(id.view()) + suffix; }

bool is_record(std::string_view name) {
  return name.size() > 4 + PartyId::size && name[2] == ',' && (name[0] == 'h' || name[0] == 'w' || name[0] == 'a');
}

// Room for `more` descriptors: the soft limit is raised towards the hard one where it must be. The
// child of `run` gets the old one back.
void make_room_for_descriptors(size_t more) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = more + 64;
  if (limit.rlim_cur >= wanted || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = std::min(limit.rlim_max, wanted);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// What it means that a bell could not be opened.
Ring unheard(int failed) {
  Ring out;
  switch (failed) {
    case ENXIO:
    case ENOENT:
    case ELOOP:
    case ENOTDIR:
    case EISDIR:
      return out;  // it is gone, or nobody listens
    // Our own lack says nothing of the other. It counts as rung, and the watch sets and the safety
    // ticks carry on.
    case EMFILE:
    case ENFILE:
    case ENOMEM: out.answered = true; return out;
    // It lets nobody ring it. Dead it is not said to be, but it will not come: as one that reads nothing.
    default:
      out.answered = true;
      out.full = true;
      out.unread = enough_rings;
      return out;
  }
}

}  // namespace

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

// A path below the pool, whose owner may be hostile: no symlinks anywhere on the way.
int LocalLedger::open_beneath(const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  const auto attempt = [&] {
    return retry_eintr(
        [&] { return static_cast<int>(::syscall(SYS_openat2, pool_.fd(), path.c_str(), &how, sizeof how)); });
  };
  int fd = attempt();
  if (fd < 0 && (errno == EMFILE || errno == ENFILE) && spare_.valid()) {
    spare_.reset();
    fd = attempt();
  }
  return fd;
}

// The same, and nothing but a FIFO at its end.
int LocalLedger::open_in_pool(const std::string& path, int flags) {
  const int fd = open_beneath(path, flags | O_NONBLOCK);
  if (fd < 0) return fd;
  struct stat st {};
  const int failed = ::fstat(fd, &st) != 0 ? errno : 0;
  if (failed == 0 && S_ISFIFO(st.st_mode)) return fd;
  ::close(fd);
  errno = failed != 0 ? failed : ENXIO;  // only what is surely no FIFO says anything of its party
  return -1;
}

Ring LocalLedger::ring(const Party& party) { return ring_with(party, usual_ring); }

Ring LocalLedger::ring_with(const Party& party, char byte) {
  const OwnFd fd(open_in_pool(fifo_path(party, ".b"), O_WRONLY));
  if (!fd.valid()) return unheard(errno);
  Ring out;
  out.answered = true;
  int unread = 0;
  (void)::ioctl(fd.get(), FIONREAD, &unread);
  out.full = unread >= enough_rings;
  if (!out.full) {
    const ssize_t wrote = retry_eintr([&] { return ::write(fd.get(), &byte, 1); });
    if (wrote < 0 && errno == EPIPE) {
      // It closed just now. SIGPIPE is blocked here, and would stay pending.
      sigset_t pipe_set;
      sigemptyset(&pipe_set);
      sigaddset(&pipe_set, SIGPIPE);
      const timespec now{};
      ::sigtimedwait(&pipe_set, nullptr, &now);
      return {};
    }
    out.written = wrote == 1;
    ++unread;
    rang_ = true;
  }
  out.unread = unread;
  if (!spare_.valid()) spare_.reset(::fcntl(pool_.fd(), F_DUPFD_CLOEXEC, 3));
  return out;
}

Ring LocalLedger::bell(const Party& party) {
  const OwnFd fd(open_in_pool(fifo_path(party, ".b"), O_WRONLY));
  if (!fd.valid()) return unheard(errno);
  Ring out;
  out.answered = true;
  (void)::ioctl(fd.get(), FIONREAD, &out.unread);
  out.full = out.unread >= enough_rings;
  return out;
}

void LocalLedger::note_processes(const std::vector<pid_t>& pids) {
  if (name_.empty()) return;
  spare_.reset();  // who cannot be looked at now is not written down, and nobody would wait for him
  const std::string text = encode_survivors(pids);
  spare_.reset(::fcntl(pool_.fd(), F_DUPFD_CLOEXEC, 3));
  if (text.empty()) return;
  const std::string name = fifo_name(id_, ".c");
  if (::symlinkat(text.c_str(), own_dir_.get(), name.c_str()) != 0 && errno == EEXIST) {
    const std::string draft = fifo_name(id_, ".d");
    if (::symlinkat(text.c_str(), own_dir_.get(), draft.c_str()) == 0 &&
        ::renameat(own_dir_.get(), draft.c_str(), own_dir_.get(), name.c_str()) != 0)
      ::unlinkat(own_dir_.get(), draft.c_str(), 0);
  }
  noted_ = true;
}

StillRunning LocalLedger::find_survivors(const PartyKey& who) {
  // The directory may be a hostile user's: nothing on the way is followed.
  OwnFd dir = open_dir_of(who);
  if (!dir.valid()) return {{}, !says_gone(errno)};
  std::array<char, 4096> text{};
  const std::string name = fifo_name(who.id, ".c");
  const ssize_t length = ::readlinkat(dir.get(), name.c_str(), text.data(), text.size());
  if (length < 0) return {{}, !says_gone(errno) && errno != EINVAL};  // EINVAL: what lies there is no symlink
  dir.reset();  // its number may be the last one that is free, and a look at a process needs one
  return still_running({text.data(), static_cast<size_t>(length)});
}

// For names in it, not for what they are: its owner may let nobody list it.
OwnFd LocalLedger::open_dir_of(const PartyKey& who) {
  return OwnFd(open_beneath("u" + std::string(who.dir()), O_PATH | O_DIRECTORY));
}

LocalLedger::Watched LocalLedger::open_life(const Party& party, Life& life) {
  Watched out{open_life_fifo(party, life), 0};
  if (life != Life::dead || party.state != PartyState::held) return out;  // who waits has no job yet
  out.fd.reset();  // of no more use, and its number may be the last one that is free
  const StillRunning found = find_survivors(party);
  for (const pid_t pid : found.pids) {
    OwnFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process.valid() && errno == ESRCH) continue;
    life = Life::survived;
    return {std::move(process), POLLIN};
  }
  // Whom we cannot look at may live. Nothing to watch, then: the safety tick looks again.
  if (found.unsure) life = Life::survived;
  return out;
}

OwnFd LocalLedger::open_life_fifo(const Party& party, Life& life) {
  OwnFd fd(open_in_pool(fifo_path(party, ".l"), O_RDONLY));
  life = Life::alive;
  if (!fd.valid()) {
    // ENXIO: what lies there is no FIFO. ELOOP, ENOTDIR: somebody played with his own directory.
    if (errno == ENOENT || errno == ENXIO || errno == ELOOP || errno == ENOTDIR) life = Life::dead;
    if (errno == EACCES || errno == EPERM) life = Life::unknown;
    return fd;
  }
  // A HUP does not show to one who opens after the death: read once. Bytes in a life are its owner's
  // mischief; they are read away, within bounds.
  std::array<char, 512> bytes{};
  for (int tries = 0; tries < 200; ++tries) {
    const ssize_t got = retry_eintr([&] { return ::read(fd.get(), bytes.data(), bytes.size()); });
    if (got > 0) continue;
    if (got == 0) life = Life::dead;
    break;
  }
  return fd;
}

Life LocalLedger::life(const Party& party) {
  Life life = Life::alive;
  (void)open_life(party, life);
  return life;
}

bool LocalLedger::ours(const Party& party) const {
  struct stat st {};
  const std::string dir = "u" + std::string(party.dir());
  return ::fstatat(pool_.fd(), dir.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == ::geteuid();
}

std::string LocalLedger::own_dir() const { return own_dir_.valid() ? own_dir_name_ : std::to_string(::geteuid()); }

bool LocalLedger::may_reap(const Party& party) const {
  if (acts_as_root()) return true;
  return own_dir_.valid() ? party.dir() == own_dir_name_ : party.dir() == std::to_string(::geteuid());
}

bool LocalLedger::reap(const Party& party) {
  if (party.id == id_ && party.dir() == own_dir_name_ && !name_.empty()) return false;
  if (life(party) != Life::dead) return false;
  const std::string name(pool_.entry_name(party));
  if (::unlinkat(pool_.fd(), name.c_str(), 0) != 0 && errno != ENOENT) return false;
  reaped_.push_back(party);
  return true;
}

// The FIFOs of the dead whose records went under the lock. Without a record nobody looks for them.
void LocalLedger::remove_reaped_fifos() {
  // What cannot be opened safely is not followed either: the directory is its owner's or we are
  // root, no symlink is walked, and unlinkat() does not follow the last component.
  for (const PartyKey& who : reaped_) {
    const OwnFd fd = open_dir_of(who);
    if (!fd.valid()) continue;
    for (const char* suffix : {".c", ".s", ".a"}) ::unlinkat(fd.get(), fifo_name(who.id, suffix).c_str(), 0);
    ::unlinkat(fd.get(), fifo_name(who.id, ".b").c_str(), 0);
    ::unlinkat(fd.get(), fifo_name(who.id, ".l").c_str(), 0);
  }
  reaped_.clear();
}

std::vector<int> LocalLedger::watch(const Snapshot& snapshot, const std::vector<int>& parties) {
  std::vector<int> dead;
  std::map<PartyKey, Watched> next;
  if (!parties.empty()) make_room_for_descriptors(parties.size());
  for (const int index : parties) {
    const Party& party = snapshot.parties[static_cast<size_t>(index)];
    const auto known = watched_.find(party);
    if (known != watched_.end()) {
      pollfd look{known->second.fd.get(), known->second.events, 0};
      if (::poll(&look, 1, 0) != 1 || (look.revents & (POLLHUP | POLLIN)) == 0) {
        next.emplace(party, std::move(known->second));
        continue;
      }
    }
    // Not watched yet; or what we watched has ended, and a survivor may stand for the party still.
    Life life = Life::alive;
    Watched watched = open_life(party, life);
    if (life == Life::dead)
      dead.push_back(index);
    else if (watched.fd.valid())
      next.emplace(party, std::move(watched));
  }
  // Closed after unlock(): that can wait, and whoever waits for the lock cannot.
  for (auto& [who, watched] : watched_) watched_before_.push_back(std::move(watched.fd));
  watched_ = std::move(next);
  return dead;
}

bool LocalLedger::drain_bell() {
  std::array<char, 512> bytes{};
  bool rung = false;
  for (int tries = 0; tries < 200; ++tries) {
    const ssize_t got = retry_eintr([&] { return ::read(bell_.get(), bytes.data(), bytes.size()); });
    if (got <= 0) break;
    rung = rung_ = true;
    if (std::find(bytes.begin(), bytes.begin() + got, leave_ring) != bytes.begin() + got)
      told_to_leave_us_ = monotonic_us();
    if (got < static_cast<ssize_t>(bytes.size())) break;
  }
  return rung;
}

std::vector<pollfd> LocalLedger::waited_for() const {
  std::vector<pollfd> fds{{bell_.get(), POLLIN, 0}};
  for (const auto& [who, watched] : watched_) fds.push_back({watched.fd.get(), watched.events, 0});
  return fds;
}

Wake LocalLedger::wait(int64_t deadline_us, int answer_fd) {
  pool_.shrink_buffer();
  std::vector<pollfd> fds;
  fds.push_back({bell_.get(), POLLIN, 0});
  fds.push_back({cancel_fd_, POLLIN, 0});  // poll() skips a negative descriptor
  fds.push_back({answer_fd, POLLIN, 0});
  for (const auto& [who, watched] : watched_) fds.push_back({watched.fd.get(), watched.events, 0});
  int64_t left_us = -1;
  if (deadline_us >= 0) left_us = std::max<int64_t>(0, deadline_us - monotonic_us());
  const timespec left{left_us / 1'000'000, left_us % 1'000'000 * 1000};
  const int ready = ::ppoll(fds.data(), fds.size(), left_us < 0 ? nullptr : &left, nullptr);
  // Where it cannot even sleep (no memory, no descriptors allowed), it looks by itself now and then.
  if (ready < 0 && errno != EINTR) sleep_us(left_us < 0 ? look_by_hand_us : std::min(left_us, look_by_hand_us));
  Wake wake;
  wake.timed_out = ready == 0;
  if (ready <= 0) return wake;
  if (fds[0].revents != 0) drain_bell();
  wake.cancelled = fds[1].revents != 0;
  wake.answered = fds[2].revents != 0;
  wake.nothing_else = wake.cancelled && ready == 1;
  return wake;
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
