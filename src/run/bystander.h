// Bystander: tells a signal that was meant for the whole process group from one meant for us alone.
//
// A command runs in our process group, so that shells and terminals take the two for one job. What is
// sent to the group (`kill %1`, `kill -- -PGID`, a runner's killpg()) has reached the command when we
// hear of it, and passing it on would be once too often; what is sent to our pid has not. The kernel
// does not say which it was: both look the same, down to the sender. So a third process stands in the
// group, blocks everything and waits to be asked. What it got as well, from the same sender, was meant
// for all of us. docs/adr/0004 has what else was tried.
#pragma once

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include <array>

#include "base/own_child.h"
#include "base/own_fd.h"

namespace berth {

// One process; ends with this object, and when we are killed. It has none of our descriptors.
class Bystander {
 public:
  // `listens_to`: blocked by the caller already. Where no process can be made it hears nothing.
  explicit Bystander(const sigset_t& listens_to) : signals_(listens_to) { start(); }
  ~Bystander() { end(); }
  Bystander(const Bystander&) = delete;
  Bystander& operator=(const Bystander&) = delete;

  // Whether it got this signal as well. Ask for every signal, once, after it was read: what is not asked
  // for is remembered. Answers no where it is not known.
  [[nodiscard]] bool heard(const signalfd_siginfo& info);
  [[nodiscard]] bool is(pid_t pid) const { return child_.pid() == pid; }

 private:
  struct Heard {
    int signal;
    int code;
    pid_t sender;
  };

  void start();
  void end();
  bool ask();
  [[noreturn]] void stand(pid_t parent, int socket) const;

  sigset_t signals_;
  OwnChild child_;  // whoever kills it, the supervisor takes it in: the pid alone would soon be another's
  OwnFd socket_;
  std::array<Heard, 65> heard_{};  // by signal number; signal 0: nothing
};

}  // namespace berth
