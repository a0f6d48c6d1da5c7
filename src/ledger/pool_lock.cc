#include "ledger/pool_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <thread>

#include "base/process_stat.h"
#include "base/small_file.h"
#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

// Shared by the caller and its helper, which may outlive the wait: a thread that sleeps in flock()
// cannot be called back. It locks a description of its own, so whoever comes second to `state` knows
// that the other is gone, and an abandoned helper lets go by closing.
struct Helper {
  enum State : int { waiting, locked, failed, abandoned };
  OwnFd dir;
  OwnFd done;  // eventfd: readable once the state is locked or failed
  int failed_errno = 0;
  std::atomic<int> state{waiting};
};

void helper_main(const std::shared_ptr<Helper>& helper) {
  int result = -1;
  do {  // ends with the lock, an error or the process
    result = ::flock(helper->dir.get(), LOCK_EX);
  } while (result != 0 && errno == EINTR && helper->state.load() == Helper::waiting);
  helper->failed_errno = result == 0 ? 0 : errno;
  int expected = Helper::waiting;
  if (helper->state.compare_exchange_strong(expected, result == 0 ? Helper::locked : Helper::failed)) {
    const uint64_t one = 1;
    (void)!::write(helper->done.get(), &one, sizeof one);
  } else {
    helper->dir.reset();  // abandoned: closing gives the lock up
  }
}

// False where the system gives no thread. Signals are blocked here, and so in the helper.
bool start_thread(const std::shared_ptr<Helper>& helper) {
  try {
    std::thread(helper_main, helper).detach();
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

}  // namespace

std::string lock_holder(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return "";
  std::array<char, 64> key{};
  std::snprintf(key.data(), key.size(), " %02x:%02x:%lu ", major(st.st_dev), minor(st.st_dev),
                static_cast<unsigned long>(st.st_ino));
  const auto read = read_text("/proc/locks");
  const std::string locks = read ? *read : "";
  for (size_t start = 0; start < locks.size();) {
    size_t end = locks.find('\n', start);
    if (end == std::string::npos) end = locks.size();
    const std::string line = locks.substr(start, end - start);
    start = end + 1;
    if (line.find(key.data()) == std::string::npos || line.find("FLOCK") == std::string::npos) continue;
    if (line.find("->") != std::string::npos) continue;  // somebody who waits as well
    const size_t write_word = line.find("WRITE");
    if (write_word == std::string::npos) continue;
    const long pid = std::strtol(line.c_str() + write_word + 5, nullptr, 10);
    if (pid <= 0) return "a process outside this PID namespace";
    const auto text = read_text("/proc/" + std::to_string(pid) + "/stat");
    const auto stat = text ? parse_process_stat(*text) : std::nullopt;
    const bool stopped = stat && stat->state == 'T';
    return "pid " + std::to_string(pid) + " (" + (stat ? printable(stat->name) : "") + (stopped ? ", stopped)" : ")");
  }
  return "";
}

Result<LockOutcome> PoolLock::take(int64_t deadline_us, int cancel_fd) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &saved_mask_);
  if (retry_eintr([&] { return ::flock(fd_, LOCK_EX | LOCK_NB); }) == 0) return LockOutcome::locked;
  if (errno != EWOULDBLOCK) {
    const Error failed = sys_error(errno, "cannot lock the pool");
    pthread_sigmask(SIG_SETMASK, &saved_mask_, nullptr);
    return failed;
  }
  Result<LockOutcome> outcome = take_slowly(deadline_us, cancel_fd);
  if (!outcome.ok() || *outcome != LockOutcome::locked) pthread_sigmask(SIG_SETMASK, &saved_mask_, nullptr);
  return outcome;
}

void PoolLock::give() {
  if (helper_dir_.valid())
    helper_dir_.reset();
  else
    ::flock(fd_, LOCK_UN);
  pthread_sigmask(SIG_SETMASK, &saved_mask_, nullptr);
}

Result<LockOutcome> PoolLock::take_slowly(int64_t deadline_us, int cancel_fd) {
  // The usual wait is some ten microseconds: cheaper to look again than to make a thread.
  constexpr int64_t worth_a_thread_us = 200;
  for (const int64_t until = monotonic_us() + worth_a_thread_us; monotonic_us() < until;) {
    ::sched_yield();
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return LockOutcome::locked;
  }
  auto helper = std::make_shared<Helper>();
  helper->dir.reset(::openat(fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  helper->done.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!helper->dir.valid() || !helper->done.valid() || !start_thread(helper)) {
    // No descriptor or no thread to be had: wait as flock waits, without a limit.
    if (retry_eintr([&] { return ::flock(fd_, LOCK_EX); }) == 0) return LockOutcome::locked;
    return sys_error(errno, "cannot lock the pool");
  }
  const LockOutcome outcome = await(helper->done.get(), deadline_us, cancel_fd);
  int expected = Helper::waiting;
  if (helper->state.compare_exchange_strong(expected, Helper::abandoned)) return outcome;
  if (helper->state.load() == Helper::failed) return sys_error(helper->failed_errno, "cannot lock the pool");
  helper_dir_ = std::move(helper->dir);
  if (outcome == LockOutcome::locked) return outcome;
  // It came just as we gave up: take it and say so, the caller gives it back like any other.
  return LockOutcome::locked;
}

LockOutcome PoolLock::await(int done_fd, int64_t deadline_us, int cancel_fd) {
  constexpr int64_t patience_us = 1'000'000;
  constexpr int64_t look_by_hand_us = 10'000;
  const int64_t complain_at = monotonic_us() + patience_us;
  bool complained = false;
  for (;;) {
    int64_t until = complained ? -1 : complain_at;
    if (deadline_us >= 0) until = until < 0 ? deadline_us : std::min(until, deadline_us);
    const int64_t left_us = until < 0 ? -1 : std::max<int64_t>(0, until - monotonic_us());
    const int left_ms = left_us < 0 ? -1 : static_cast<int>(std::min<int64_t>(left_us / 1000 + 1, 1 << 30));
    std::array<pollfd, 2> fds{{{done_fd, POLLIN, 0}, {cancel_fd, POLLIN, 0}}};
    const int ready = ::poll(fds.data(), cancel_fd >= 0 ? 2 : 1, left_ms);
    if (ready < 0) {
      // No memory, or no descriptors allowed: look by hand, now and then, instead of at once again.
      uint64_t count = 0;
      if (::read(done_fd, &count, sizeof count) == sizeof count) return LockOutcome::locked;
      sleep_us(look_by_hand_us);
    }
    if (ready > 0 && fds[0].revents != 0) return LockOutcome::locked;
    if (ready > 0 && fds[1].revents != 0) return LockOutcome::cancelled;
    if (deadline_us >= 0 && monotonic_us() >= deadline_us) return LockOutcome::timed_out;
    if (complained || monotonic_us() < complain_at) continue;
    complained = true;
    const std::string who = lock_holder(fd_);
    if (notice_) notice_("waiting for the pool's lock, held by " + (who.empty() ? "nobody that can be seen" : who));
  }
}

}  // namespace berth
