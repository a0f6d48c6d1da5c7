#include "run/supervisor.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/pid_namespace.h"
#include "base/small_file.h"
#include "base/sys.h"
#include "base/text.h"
#include "run/bystander.h"
#include "run/end_tree.h"
#include "run/signals_at_start.h"
#include "run/start.h"

namespace berth {

namespace {

constexpr std::array<int, 9> forwarded{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH};

bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

int status_of_exec_failure(int failed) { return failed == ENOENT ? 127 : 126; }

// For poll(), rounded up; -1 for a time that never comes.
int milliseconds_until(int64_t due_us) {
  if (due_us < 0) return -1;
  return static_cast<int>(std::clamp<int64_t>((due_us - monotonic_us() + 999) / 1000, 0, 1 << 30));
}

// Whether a shell in a terminal waits for us just now.
bool in_foreground() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::tcgetpgrp(fd) == ::getpgrp()) return true;
  return false;
}

// What a process had before exec counts for it, and that was ours.
int64_t largest_of(const rusage& usage) {
  rusage own{};
  if (::getrusage(RUSAGE_SELF, &own) != 0 || usage.ru_maxrss <= own.ru_maxrss) return 0;
  return int64_t{usage.ru_maxrss} * 1024;
}

enum class Child { runs, ended, unknown };

// Takes what SIGCHLD announced. `unknown`, with errno, where the kernel does not say.
Child reap_child(pid_t pid, Finished& finished) {
  for (int events = 0; events < 100; ++events) {
    siginfo_t info{};
    rusage usage{};  // which the kernel gives, and glibc's waitid() does not
    const auto ask = [&] { return ::syscall(SYS_waitid, P_PID, pid, &info, WEXITED | WSTOPPED | WNOHANG, &usage); };
    if (retry_eintr(ask) != 0) return Child::unknown;
    if (info.si_pid == 0) return Child::runs;
    if (info.si_code == CLD_STOPPED) {
      // As the command, so we: the shell that waits for us has to see it. But who sends a bare SIGSTOP to
      // a command in the background will continue the command, and not us.
      if (info.si_status != SIGSTOP || in_foreground()) ::kill(::getpid(), SIGSTOP);
      continue;
    }
    finished.signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
    finished.largest_bytes = largest_of(usage);
    finished.status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return Child::ended;
  }
  return Child::runs;
}

bool came_from_terminal(const signalfd_siginfo& info) { return info.ssi_code == SI_KERNEL; }

// Passes on what the command does not have yet.
class Relay {
 public:
  Relay(pid_t pid, SignalsAtStart& at_start)
      : pid_(pid), at_start_(at_start), due_us_(monotonic_us() + int64_t{soon_done_ms} * 1000) {}
  // Milliseconds for poll(), before which get_ready() need not be called.
  [[nodiscard]] int left_ms() const { return bystander_ ? -1 : soon_done_ms; }
  // A bystander costs a tenth of a millisecond, which a command that is soon done is spared. What is sent
  // to the group before that is passed on as well: hardly a command has its handlers by then.
  void get_ready() {
    if (!bystander_ && monotonic_us() >= due_us_) bystander_.emplace(Signals::for_the_command());
  }
  [[nodiscard]] bool owns(pid_t pid) const { return bystander_ && bystander_->is(pid); }
  void pass_on(const signalfd_siginfo& info) {
    const int signal = static_cast<int>(info.ssi_signo);
    const bool to_the_group = bystander_ && bystander_->heard(info) && ::getpgid(pid_) == ::getpgrp();
    // What came from the terminal's driver went to the whole foreground group.
    const bool has_it = to_the_group || came_from_terminal(info);
    const bool is_owed = at_start_.is_owed(signal);
    if (!has_it || (is_owed && came_from_terminal(info))) ::kill(pid_, signal);
  }

 private:
  static constexpr int soon_done_ms = 5;
  pid_t pid_;
  SignalsAtStart& at_start_;
  int64_t due_us_;
  std::optional<Bystander> bystander_;
};

// Orphans of the command's tree come to us, and go: nobody else can take them in.
void reap_orphans(pid_t command) {
  for (int events = 0; events < 1000; ++events) {
    siginfo_t info{};
    const auto peek = [&] { return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT); };
    if (retry_eintr(peek) != 0 || info.si_pid == 0 || info.si_pid == command) return;
    const auto take = [&] { return ::waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG); };
    if (retry_eintr(take) != 0) return;
  }
}

// The sooner of two times for poll(), -1 being never.
int sooner(int a_ms, int b_ms) { return a_ms < 0 || b_ms < 0 ? std::max(a_ms, b_ms) : std::min(a_ms, b_ms); }

}  // namespace

Result<Signals> Signals::take() {
  Signals out;
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  sigemptyset(&out.ignored_);
  // Blocked, an ignored signal comes all the same. Our caller ignores it, and so does the command, which
  // may think otherwise: it is the command's to take or leave.
  for (const int signal : forwarded) {
    sigaddset(&wanted, signal);
    if (is_ignored(signal)) sigaddset(&out.ignored_, signal);
  }
  if (is_ignored(SIGCHLD)) {
    out.child_was_ignored_ = true;  // the kernel would reap the command before we can ask how it ended
    struct sigaction normal {};
    normal.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &normal, nullptr);
  }
  ::sigprocmask(SIG_BLOCK, &wanted, &out.inherited_mask_);
  out.fd_.reset(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!out.fd_.valid()) return sys_error(errno, "cannot listen to signals");
  return out;
}

bool Signals::next(signalfd_siginfo& info) const {
  return retry_eintr([&] { return ::read(fd_.get(), &info, sizeof info); }) == static_cast<ssize_t>(sizeof info);
}

int Signals::next_fatal(const std::function<void()>& stop) const {
  signalfd_siginfo info{};
  while (next(info)) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCONT || signal == SIGWINCH || signal == SIGCHLD) continue;
    if (sigismember(&ignored_, signal) != 0) continue;
    if (signal != SIGTSTP) return signal;
    stop();
  }
  return 0;
}

void Signals::die_if_told() const {
  signalfd_siginfo info{};
  while (next(info)) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal != SIGCONT && signal != SIGWINCH && signal != SIGCHLD) die_of(signal);
  }
}

void Signals::stop_here() { ::kill(::getpid(), SIGSTOP); }

sigset_t Signals::for_the_command() {
  sigset_t out;
  sigemptyset(&out);
  for (const int signal : forwarded) sigaddset(&out, signal);
  return out;
}

void Signals::die_of(int signal) {
  struct sigaction normal {};
  normal.sa_handler = SIG_DFL;
  ::sigaction(signal, &normal, nullptr);
  // Ended by the signal, but leaving no core of ours behind: nothing here is worth one.
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, signal);
  ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
  ::kill(::getpid(), signal);
  ::_exit(128 + signal);
}

Finished replace_self(const Command& command, const Signals& signals) {
  const int failed = become_command(command, signals);
  return Finished{status_of_exec_failure(failed), failed, 0, Finished::By::itself};
}

namespace {

// A command that runs, and what goes on beside it.
class Supervision {
 public:
  Supervision(pid_t pid, const Command& command, const Signals& signals, SignalsAtStart& at_start,
              const std::vector<Companion*>& companions, const Notices& notices)
      : pid_(pid),
        signals_(signals),
        companions_(companions),
        relay_(pid, at_start),
        end_(
            pid, command.grace_ms * 1000, [this](pid_t p) { return is_ours(p); },
            [this, &notices](int signal) {
              if (notices.ending) notices.ending(signal, by_);
            }) {
    if (command.limit_ms) limit_us_ = monotonic_us() + *command.limit_ms * 1000;
  }

  Result<Finished> run() {
    for (;;) {
      if (ended_ && (!end_.begun() || end_.done())) return finished_;
      if (auto done = sleep(); !done) return done.error();
      relay_.get_ready();
      if (limit_us_ >= 0 && monotonic_us() >= limit_us_) end(Finished::By::limit);
      end_.act();
      if (auto heard = hear_signals(); !heard) return heard.error();
    }
  }

 private:
  [[nodiscard]] bool is_ours(pid_t pid) const {
    return relay_.owns(pid) || std::any_of(companions_.begin(), companions_.end(),
                                           [&](const Companion* companion) { return companion->owns(pid); });
  }

  void end(Finished::By by) {
    if (ended_ || end_.begun()) return;
    by_ = by;
    end_.begin();
  }

  Result<> sleep() {
    std::vector<pollfd> fds{{signals_.fd(), POLLIN, 0}};
    int wait_ms = sooner(milliseconds_until(end_.due_us()), relay_.left_ms());
    if (!end_.begun()) wait_ms = sooner(wait_ms, milliseconds_until(limit_us_));
    for (const Companion* companion : companions_) {
      fds.push_back({companion->fd(), POLLIN, 0});  // poll() skips a negative descriptor
      wait_ms = sooner(wait_ms, milliseconds_until(companion->due_us()));
    }
    if (retry_eintr([&] { return ::poll(fds.data(), fds.size(), wait_ms); }) < 0)
      return sys_error(errno, "cannot wait for the command");
    for (size_t i = 0; i < companions_.size(); ++i) {
      const bool due = milliseconds_until(companions_[i]->due_us()) == 0;
      if ((due || fds[i + 1].revents != 0) && companions_[i]->act()) end(Finished::By::companion);
    }
    return success();
  }

  Result<> hear_signals() {
    signalfd_siginfo info{};
    while (signals_.next(info)) {
      if (info.ssi_signo == SIGCHLD) {
        if (!ended_) {
          const Child child = reap_child(pid_, finished_);
          if (child == Child::unknown) return sys_error(errno, "cannot tell how the command fares");
          if (child == Child::ended) command_ended();
          if (child == Child::ended && !end_.begun()) return success();
        }
        reap_orphans(ended_ ? -1 : pid_);
        end_.act();
      } else if (ended_) {
        end_.pass_on(static_cast<int>(info.ssi_signo));
      } else {
        const int signal = static_cast<int>(info.ssi_signo);
        if (came_from_terminal(info)) terminal_signal_ = signal;
        if (signal == SIGHUP || signal == SIGINT || signal == SIGQUIT || signal == SIGTERM)
          finished_.told_to_end_us = monotonic_us();
        relay_.pass_on(info);
      }
    }
    return success();
  }

  void command_ended() {
    ended_ = true;
    finished_.by = by_;
    finished_.by_terminal = finished_.signal != 0 && finished_.signal == terminal_signal_;
    end_.command_is_gone();
    for (Companion* companion : companions_)
      if (companion->command_ended(finished_)) end_.begin();
  }

  pid_t pid_;
  const Signals& signals_;
  const std::vector<Companion*>& companions_;
  Relay relay_;
  Finished::By by_ = Finished::By::itself;
  TreeEnd end_;
  int64_t limit_us_ = -1;
  int terminal_signal_ = 0;  // the last one
  bool ended_ = false;       // the command has been taken in, and we stay for those it left
  Finished finished_;
};

}  // namespace

Result<Finished> supervise(const Command& command, const Signals& signals, const std::vector<Companion*>& companions,
                           const Notices& notices) {
  // Who daemonises, or outlives the command, is ours to see when that ends.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  volatile int exec_failed = 0;
  SignalsAtStart at_start;
  const pid_t pid = start_command(command, signals, at_start, exec_failed);
  if (pid < 0) return sys_error(errno, "cannot start a process");
  if (exec_failed != 0) {
    int ignored = 0;
    (void)retry_eintr([&] { return ::waitpid(pid, &ignored, 0); });
    Finished finished;
    finished.exec_errno = exec_failed;
    finished.status = status_of_exec_failure(exec_failed);
    return finished;
  }
  if (notices.started) notices.started(pid);
  return Supervision(pid, command, signals, at_start, companions, notices).run();
}

}  // namespace berth
