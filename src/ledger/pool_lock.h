// PoolLock: flock(LOCK_EX) on the pool's directory, with a time limit, cancellation and blame.
//
// flock(2) itself has neither, and a library may not borrow SIGALRM. But a flock belongs to the open
// file description and not to a thread: where the lock is not free at once, a helper thread takes it
// while the caller sleeps in poll() on the helper, the caller's own cancel descriptor and a clock.
// After one second the holder is named (/proc/locks knows it). The lock is never broken.
#pragma once

#include <signal.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/own_fd.h"
#include "base/result.h"
#include "ledger/ledger.h"

namespace berth {

class PoolLock {
 public:
  // `notice` is called once per wait, with a sentence, when the lock is not to be had for a second.
  using Notice = std::function<void(const std::string&)>;
  explicit PoolLock(int dir_fd) : fd_(dir_fd) {}

  void on_slow(Notice notice) { notice_ = std::move(notice); }

  // `cancel_fd` -1: nobody cancels. Blocks all signals of this thread once locked.
  [[nodiscard]] Result<LockOutcome> take(int64_t deadline_us, int cancel_fd);
  void give();

 private:
  Result<LockOutcome> take_slowly(int64_t deadline_us, int cancel_fd);
  LockOutcome await(int done_fd, int64_t deadline_us, int cancel_fd);

  int fd_;
  OwnFd helper_dir_;  // where a helper took the lock: the description that holds it
  Notice notice_;
  sigset_t saved_mask_{};
};

// "pid 123 (xz)": who holds the flock on this descriptor's file, as far as /proc tells; "" if nobody
// that can be seen.
[[nodiscard]] std::string lock_holder(int fd);

}  // namespace berth
