// Who goes first decides whether the answer is right:
//
//   1. The kernel signals a group one process after the other, the newest first and all of them before
//      kill() returns. The bystander is newer than we are: what we have read, it has.
//   2. We read a signal first and ask then; asked the other way round, one that came in between would be
//      answered too early, and a later one that is ours alone be taken for it. What is pending again by the
//      time of the answer counts as the same one: the kernel would have merged the two as well.
//   3. Whoever signals the bystander by its pid (`pkill -P`) and not us leaves something behind that
//      matches only a signal from the same sender.
#include "run/bystander.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/sys.h"

namespace berth {

namespace {

constexpr int patience_ms = 50;         // then we look whether it was stopped
constexpr int last_patience_ms = 1000;  // then it is taken for gone

bool readable(int fd, int timeout_ms) {
  pollfd one{fd, POLLIN, 0};
  return retry_eintr([&] { return ::poll(&one, 1, timeout_ms); }) > 0;
}

// `pkill -f` and `killall` look for our name and must not find it here.
void be_nameless() {
  ::prctl(PR_SET_NAME, "bystander");
  std::array<char, 1024> text{};
  const OwnFd stat(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
  const ssize_t got = stat.valid() ? ::read(stat.get(), text.data(), text.size() - 1) : 0;
  const char* field = got > 0 ? ::strrchr(text.data(), ')') : nullptr;
  constexpr int fields_to_arg_start = 46;  // from the end of field 2 to field 48, proc(5)
  for (int i = 0; field != nullptr && i < fields_to_arg_start; ++i) field = ::strchr(field + 1, ' ');
  if (field == nullptr) return;
  char* rest = nullptr;
  const unsigned long begin = ::strtoul(field, &rest, 10);
  const unsigned long end = ::strtoul(rest, nullptr, 10);
  if (begin != 0 && begin < end)
    ::memset(reinterpret_cast<void*>(begin), 0, end - begin);  // NOLINT: the kernel says where
}

}  // namespace

void Bystander::start() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return;
  socket_.reset(ends[0]);
  const OwnFd theirs(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) stand(parent, theirs.get());
  if (pid > 0)
    child_ = OwnChild(pid);
  else
    socket_.reset();
}

void Bystander::end() {
  socket_.reset();
  if (!child_.valid()) return;
  child_.send(SIGKILL);
  siginfo_t info{};
  (void)child_.wait(info, WEXITED);
  child_.reset();
}

// The life of the bystander. Answers each question with what came since the last.
void Bystander::stand(pid_t parent, int socket) const {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (socket != 0) ::syscall(SYS_close_range, 0, socket - 1, 0);
  ::syscall(SYS_close_range, socket + 1, ~0U, 0);
  be_nameless();
  char question = 0;
  while (::getppid() == parent && ::read(socket, &question, 1) == 1) {
    std::array<Heard, 65> answer{};
    size_t count = 0;
    siginfo_t info{};
    const timespec at_once{};
    while (count < answer.size() && ::sigtimedwait(&signals_, &info, &at_once) > 0)
      answer[count++] = {info.si_signo, info.si_code, info.si_pid};
    if (::send(socket, answer.data(), count == 0 ? 1 : count * sizeof(Heard), MSG_NOSIGNAL) < 0) break;
  }
  ::_exit(0);
}

bool Bystander::ask() {
  if (!socket_.valid() || ::send(socket_.get(), "?", 1, MSG_NOSIGNAL) != 1) return false;
  if (!readable(socket_.get(), patience_ms)) {
    siginfo_t stopped{};
    if (child_.wait(stopped, WSTOPPED | WNOHANG | WNOWAIT) == 0 && stopped.si_pid == child_.pid()) child_.send(SIGCONT);
    if (!readable(socket_.get(), last_patience_ms)) return false;
  }
  std::array<Heard, 65> answer{};
  const ssize_t got = ::recv(socket_.get(), answer.data(), sizeof answer, 0);
  if (got <= 0) return false;
  for (size_t i = 0; i < static_cast<size_t>(got) / sizeof(Heard); ++i)
    heard_[static_cast<size_t>(answer[i].signal)] = answer[i];
  return true;
}

bool Bystander::heard(const signalfd_siginfo& info) {
  if (!ask()) {  // killed, or never there
    end();
    start();
    return false;
  }
  Heard& same = heard_[info.ssi_signo];
  const bool both = same.signal == static_cast<int>(info.ssi_signo) && same.code == info.ssi_code &&
                    same.sender == static_cast<pid_t>(info.ssi_pid);
  sigset_t again;
  ::sigpending(&again);
  if (!both || sigismember(&again, same.signal) == 0) same = {};
  return both;
}

}  // namespace berth
