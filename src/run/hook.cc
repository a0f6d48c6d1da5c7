#include "run/hook.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

constexpr int most_lines = 100;       // of one run that are passed on
constexpr size_t longest_line = 500;  // bytes
constexpr int most_reads = 16;        // at one time

void reset_signals(const sigset_t& mask) {
  struct sigaction normal {};
  normal.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &normal, nullptr);
  ::sigaction(SIGPIPE, &normal, nullptr);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
}

// The life of the process in between.
[[noreturn]] void stand_between(const Hook& hook, pid_t parent, int output, int status) {
  ::setpgid(0, 0);
  // A supervisor that is killed takes the hook and all that it started with it.
  struct sigaction end {};
  end.sa_handler = [](int) { ::kill(0, SIGKILL); };
  ::sigaction(SIGTERM, &end, nullptr);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  ::sigprocmask(SIG_UNBLOCK, &term, nullptr);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(0);
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  constexpr int kept = 3;
  ::dup3(status, kept, O_CLOEXEC);
  ::syscall(SYS_close_range, kept + 1, ~0U, 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    reset_signals(hook.signal_mask);
    ::setrlimit(RLIMIT_NOFILE, &hook.descriptor_limit);
    std::vector<char*> environment;
    for (const std::string& entry : hook.environment)
      environment.push_back(const_cast<char*>(entry.c_str()));  // NOLINT: exec's signature
    environment.push_back(nullptr);
    ::execle("/bin/sh", "sh", "-c", hook.command.c_str(), nullptr, environment.data());
    ::_exit(127);
  }
  ::close(STDOUT_FILENO);
  ::close(STDERR_FILENO);
  int how = 0;
  int result = -1;
  if (pid > 0 && retry_eintr([&] { return ::waitpid(pid, &how, 0); }) == pid)
    result = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
  (void)!::write(kept, &result, sizeof result);
  ::_exit(0);
}

}  // namespace

Result<HookRun> HookRun::start(const Hook& hook) {
  std::array<int, 2> output{};
  std::array<int, 2> status{};
  if (::pipe2(output.data(), O_CLOEXEC) != 0) return sys_error(errno, "cannot run " + hook.name);
  OwnFd output_in(output[0]);
  const OwnFd output_out(output[1]);
  if (::pipe2(status.data(), O_CLOEXEC) != 0) return sys_error(errno, "cannot run " + hook.name);
  OwnFd status_in(status[0]);
  const OwnFd status_out(status[1]);
  // Only our ends: what the hook writes to must not fail for being full for a moment.
  ::fcntl(output_in.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(status_in.get(), F_SETFL, O_NONBLOCK);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) stand_between(hook, parent, output_out.get(), status_out.get());
  if (pid < 0) return sys_error(errno, "cannot run " + hook.name);
  ::setpgid(pid, pid);  // whoever of us two is first
  return HookRun(hook, OwnChild(pid), std::move(output_in), std::move(status_in));
}

HookRun::~HookRun() {
  if (!child_.valid()) return;
  stop();
  siginfo_t info{};
  (void)child_.wait(info, WEXITED);
}

void HookRun::stop() {
  if (child_.valid()) ::kill(-child_.pid(), SIGKILL);
}

void HookRun::pass_on_line(const std::string& line) {
  if (line.empty() || lines_ > most_lines) return;
  ++lines_;
  say_(name_ + ": " + (lines_ > most_lines ? "it says more, which is left out" : printable(line)));
}

void HookRun::pass_on_output() {
  std::array<char, 4096> bytes{};
  for (int reads = 0; reads < most_reads && output_.valid(); ++reads) {
    const ssize_t got = retry_eintr([&] { return ::read(output_.get(), bytes.data(), bytes.size()); });
    if (got < 0) return;
    if (got == 0) {
      output_.reset();
      break;
    }
    for (ssize_t i = 0; i < got; ++i) {
      const char c = bytes[static_cast<size_t>(i)];
      if (c != '\n' && line_.size() < longest_line) line_ += c;
      if (c != '\n') continue;
      pass_on_line(line_);
      line_.clear();
    }
  }
}

std::optional<int> HookRun::act() {
  pass_on_output();
  int result = -1;
  const ssize_t got = retry_eintr([&] { return ::read(status_.get(), &result, sizeof result); });
  if (got < 0 && errno == EAGAIN) return std::nullopt;
  if (got != sizeof result) result = -1;  // the process in between was killed
  pass_on_output();
  pass_on_line(line_);
  line_.clear();
  siginfo_t info{};
  (void)child_.wait(info, WEXITED);
  child_.reset();
  return result;
}

}  // namespace berth
