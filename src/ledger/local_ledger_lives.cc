// The lives and bells that lie in the pool: to ask of a life, to ring, to watch, to bury, and to sleep on all that.
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/sys.h"
#include "base/text.h"
#include "ledger/local_ledger.h"

namespace berth {

namespace {

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

}  // namespace berth
