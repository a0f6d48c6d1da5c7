// OwnChild: one process that we made, and never another one, whoever reaps it.
//
// A pid is ours only until somebody takes in the dead: a supervisor that is a subreaper takes in all of
// them, and so may the host of a library. After that the number may be a stranger's.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <utility>

#include "base/own_fd.h"

namespace berth {

class OwnChild {
 public:
  OwnChild() = default;
  // Of a child that was made just now. Where the kernel gives no descriptor for it, the pid has to do.
  explicit OwnChild(pid_t pid);
  OwnChild(OwnChild&& other) noexcept : pid_(std::exchange(other.pid_, -1)), fd_(std::move(other.fd_)) {}
  OwnChild& operator=(OwnChild&& other) noexcept {
    if (this != &other) {
      pid_ = std::exchange(other.pid_, -1);
      fd_ = std::move(other.fd_);
    }
    return *this;
  }
  OwnChild(const OwnChild&) = delete;
  OwnChild& operator=(const OwnChild&) = delete;
  ~OwnChild() = default;

  [[nodiscard]] bool valid() const { return pid_ > 0; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  // Forgets it; neither ends it nor takes it in.
  void reset() { *this = OwnChild(); }
  // The same in a child that was forked with it, where its descriptor may be closed by now, or be another one's.
  void leave_to_parent() {
    pid_ = -1;
    (void)fd_.release();
  }
  void send(int signal) const;
  // waitid() for this one alone: 0, or -1 and errno. ECHILD: somebody else took it in.
  [[nodiscard]] int wait(siginfo_t& info, int options) const;
  // Whether it has ended within so long, taken in or not.
  [[nodiscard]] bool ended_within(int timeout_ms) const;

 private:
  pid_t pid_ = -1;
  OwnFd fd_;
};

}  // namespace berth
