#include "base/own_child.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/sys.h"

namespace berth {

namespace {

constexpr auto by_descriptor = static_cast<idtype_t>(3);  // P_PIDFD, not in every libc's headers

}  // namespace

OwnChild::OwnChild(pid_t pid) : pid_(pid), fd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}

void OwnChild::send(int signal) const {
  if (fd_.valid())
    ::syscall(SYS_pidfd_send_signal, fd_.get(), signal, nullptr, 0);
  else if (valid())
    ::kill(pid_, signal);
}

int OwnChild::wait(siginfo_t& info, int options) const {
  info = {};
  const idtype_t how = fd_.valid() ? by_descriptor : P_PID;
  return retry_eintr([&] { return ::waitid(how, static_cast<id_t>(fd_.valid() ? fd_.get() : pid_), &info, options); });
}

bool OwnChild::ended_within(int timeout_ms) const {
  if (fd_.valid()) {
    pollfd gone{fd_.get(), POLLIN, 0};
    return retry_eintr([&] { return ::poll(&gone, 1, timeout_ms); }) > 0;
  }
  siginfo_t info{};
  return wait(info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid_;
}

}  // namespace berth
