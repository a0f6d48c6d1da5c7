#include "run/supervisor.h"

#include <fcntl.h>
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

namespace berth {

namespace {

constexpr std::array<int, 9> forwarded{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH};

bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));  // NOLINT: exec's signature
  out.push_back(nullptr);
  return out;
}

constexpr int ioprio_who_process = 1;  // linux/ioprio.h, not in glibc's headers
constexpr int ioprio_class_idle = 3 << 13;

// What the child does between vfork() and exec: it shares our memory, so it calls the kernel and
// changes nothing but `failed`.
void become(const Command& command, const Signals& signals, char* const* argv, char* const* env, volatile int& failed) {
  for (const int life_fd : command.life_fds) ::fcntl(life_fd, F_SETFD, 0);
  if (signals.child_was_ignored()) {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGCHLD, &ignore, nullptr);
  }
  if (command.nice) ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + *command.nice);
  if (command.idle_io) ::syscall(SYS_ioprio_set, ioprio_who_process, 0, ioprio_class_idle);
  ::setrlimit(RLIMIT_NOFILE, &command.descriptor_limit);
  ::sigprocmask(SIG_SETMASK, &signals.inherited_mask(), nullptr);
  ::execvpe(argv[0], argv, env);
  failed = errno;
}

[[gnu::noinline]] pid_t start(const Command& command, const Signals& signals, volatile int& failed) {
  const std::vector<char*> argv = pointers(command.argv);
  const std::vector<char*> env = pointers(command.environment);
  const pid_t pid = ::vfork();
  if (pid == 0) {
    become(command, signals, argv.data(), env.data(), failed);
    ::_exit(127);
  }
  return pid;
}

int status_of_exec_failure(int failed) { return failed == ENOENT ? 127 : 126; }

// For poll(), rounded up; -1 for a time that never comes.
int milliseconds_until(int64_t due_us) {
  if (due_us < 0) return -1;
  return static_cast<int>(std::clamp<int64_t>((due_us - monotonic_us() + 999) / 1000, 0, 1 << 30));
}

// When the command has had its time: TERM once, and KILL when the grace is over.
class TimeLimit {
 public:
  explicit TimeLimit(const Command& command) : grace_us_(command.grace_ms * 1000) {
    if (command.limit_ms) due_us_ = monotonic_us() + *command.limit_ms * 1000;
  }
  // Milliseconds for poll().
  [[nodiscard]] int left_ms() const { return milliseconds_until(due_us_); }
  void end_now() {
    if (signal_ != SIGTERM) return;
    due_us_ = monotonic_us();
    by_ = Finished::By::companion;
  }
  void enforce(pid_t pid) {
    if (due_us_ < 0 || monotonic_us() < due_us_) return;
    if (by_ == Finished::By::itself) by_ = Finished::By::limit;
    ::kill(pid, std::exchange(signal_, SIGKILL));
    ::kill(pid, SIGCONT);  // a stopped command hears neither
    due_us_ = monotonic_us() + grace_us_;
  }
  [[nodiscard]] Finished::By by() const { return by_; }

 private:
  int64_t due_us_ = -1;
  int64_t grace_us_;
  int signal_ = SIGTERM;
  Finished::By by_ = Finished::By::itself;
};

// Whether a shell in a terminal waits for us just now.
bool in_foreground() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::tcgetpgrp(fd) == ::getpgrp()) return true;
  return false;
}

enum class Child { runs, ended, unknown };

// Takes what SIGCHLD announced. `unknown`, with errno, where the kernel does not say.
Child reap_child(pid_t pid, Finished& finished) {
  for (int events = 0; events < 100; ++events) {
    siginfo_t info{};
    const auto ask = [&] { return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WSTOPPED | WNOHANG); };
    if (retry_eintr(ask) != 0) return Child::unknown;
    if (info.si_pid == 0) return Child::runs;
    if (info.si_code == CLD_STOPPED) {
      // As the command, so we: the shell that waits for us has to see it. But who sends a bare SIGSTOP to
      // a command in the background will continue the command, and not us.
      if (info.si_status != SIGSTOP || in_foreground()) ::kill(::getpid(), SIGSTOP);
      continue;
    }
    finished.signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
    finished.status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return Child::ended;
  }
  return Child::runs;
}

bool came_from_terminal(const signalfd_siginfo& info) { return info.ssi_code == SI_KERNEL; }

// Passes on what the command does not have yet.
class Relay {
 public:
  explicit Relay(pid_t pid) : pid_(pid), due_us_(monotonic_us() + int64_t{soon_done_ms} * 1000) {}
  // Milliseconds for poll(), before which get_ready() need not be called.
  [[nodiscard]] int left_ms() const { return bystander_ ? -1 : soon_done_ms; }
  // A bystander costs a tenth of a millisecond, which a command that is soon done is spared. What is sent
  // to the group before that is passed on as well: hardly a command has its handlers by then.
  void get_ready() {
    if (!bystander_ && monotonic_us() >= due_us_) bystander_.emplace(Signals::for_the_command());
  }
  void pass_on(const signalfd_siginfo& info) {
    const bool to_the_group = bystander_ && bystander_->heard(info) && ::getpgid(pid_) == ::getpgrp();
    if (!to_the_group && !came_from_terminal(info)) ::kill(pid_, static_cast<int>(info.ssi_signo));
  }

 private:
  // What came from the terminal's driver went to the whole foreground group.

  static constexpr int soon_done_ms = 5;
  pid_t pid_;
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

// The children of a process, dead or alive. The kernel keeps them by the thread that made them.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> out;
  const std::string dir = "/proc/" + std::to_string(parent) + "/task";
  const auto threads = list_names(dir);
  for (const std::string& thread : threads ? *threads : std::vector<std::string>{})
    if (const auto text = read_text(dir + "/" + thread + "/children"))
      for (const std::string& word : split(*text, ' '))
        if (const auto pid = parse_count(word)) out.push_back(static_cast<pid_t>(*pid));
  return out;
}

// Adds the living children of `parent` and of theirs.
void add_descendants(pid_t parent, const std::function<bool(pid_t)>& is_ours, std::vector<pid_t>& out) {
  constexpr size_t most = 256;
  const bool own = parent == ::getpid();
  for (const pid_t child : children_of(parent)) {
    if (out.size() >= most) return;
    siginfo_t info{};
    const auto peek = [&] { return ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT); };
    if (own && retry_eintr(peek) == 0 && info.si_pid == child) continue;  // dead
    if (own && is_ours(child)) continue;
    out.push_back(child);
    add_descendants(child, is_ours, out);
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
  const std::vector<char*> argv = pointers(command.argv);
  const std::vector<char*> env = pointers(command.environment);
  volatile int failed = 0;
  become(command, signals, argv.data(), env.data(), failed);
  return Finished{status_of_exec_failure(failed), failed, 0, Finished::By::itself, false};
}

std::vector<pid_t> left_running(const std::function<bool(pid_t)>& is_ours) {
  std::vector<pid_t> out;
  if (own_pid_namespace() == 0) return out;  // in such a /proc our pid is another's
  add_descendants(::getpid(), is_ours, out);
  return out;
}

Result<Finished> supervise(const Command& command, const Signals& signals, const std::vector<Companion*>& companions,
                           const std::function<void(pid_t)>& on_start) {
  // Who daemonises, or outlives the command, is ours to see when that ends.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  volatile int exec_failed = 0;
  const pid_t pid = start(command, signals, exec_failed);
  if (pid < 0) return sys_error(errno, "cannot start a process");
  Finished finished;
  if (exec_failed != 0) {
    int ignored = 0;
    (void)retry_eintr([&] { return ::waitpid(pid, &ignored, 0); });
    finished.exec_errno = exec_failed;
    finished.status = status_of_exec_failure(exec_failed);
    return finished;
  }
  if (on_start) on_start(pid);
  Relay relay(pid);
  TimeLimit limit(command);
  int terminal_signal = 0;  // the last one
  for (;;) {
    std::vector<pollfd> fds{{signals.fd(), POLLIN, 0}};
    int wait_ms = sooner(limit.left_ms(), relay.left_ms());
    for (const Companion* companion : companions) {
      fds.push_back({companion->fd(), POLLIN, 0});  // poll() skips a negative descriptor
      wait_ms = sooner(wait_ms, milliseconds_until(companion->due_us()));
    }
    if (retry_eintr([&] { return ::poll(fds.data(), fds.size(), wait_ms); }) < 0)
      return sys_error(errno, "cannot wait for the command");
    relay.get_ready();
    for (size_t i = 0; i < companions.size(); ++i) {
      const bool due = milliseconds_until(companions[i]->due_us()) == 0;
      if ((due || fds[i + 1].revents != 0) && companions[i]->act()) limit.end_now();
    }
    limit.enforce(pid);
    signalfd_siginfo info{};
    while (signals.next(info)) {
      if (info.ssi_signo == SIGCHLD) {
        const Child child = reap_child(pid, finished);
        if (child == Child::unknown) return sys_error(errno, "cannot tell how the command fares");
        finished.by = limit.by();
        finished.by_terminal = finished.signal != 0 && finished.signal == terminal_signal;
        if (child == Child::ended) return finished;
        reap_orphans(pid);
      } else {
        if (came_from_terminal(info)) terminal_signal = static_cast<int>(info.ssi_signo);
        relay.pass_on(info);
      }
    }
  }
}

}  // namespace berth
