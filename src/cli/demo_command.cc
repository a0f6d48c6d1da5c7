// A show on simulated GPUs: real leases, real processes, a pool of its own.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

#include "base/sys.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/say.h"
#include "cli/view.h"
#include "ledger/local_ledger.h"
#include "run/supervisor.h"

namespace berth {

namespace {

constexpr int64_t patience_us = 20'000'000;
constexpr int farewell_ms = 2000;  // for a job to end when the show is broken off

void tell(const std::string& text) { (void)put("\n" + text + "\n"); }

// Ctrl-C and its like, held back so that the show can tidy up first.
class Interruption {
 public:
  Interruption() {
    sigemptyset(&held_back_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) sigaddset(&held_back_, signal);
    ::sigprocmask(SIG_BLOCK, &held_back_, &before_);
    fd_.reset(::signalfd(-1, &held_back_, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  // For the show's children.
  [[nodiscard]] const sigset_t& inherited_mask() const { return before_; }
  // Sleeps for so long, or until `other_fd` is readable (negative: none). The signal that came, or 0.
  int sleep(int ms, int other_fd = -1) {
    std::array<pollfd, 2> fds{{{fd_.get(), POLLIN, 0}, {other_fd, POLLIN, 0}}};
    (void)::poll(fds.data(), fds.size(), ms);
    signalfd_siginfo info{};
    if (signal_ == 0 && ::read(fd_.get(), &info, sizeof info) == sizeof info)
      signal_ = static_cast<int>(info.ssi_signo);
    return signal_;
  }
  [[nodiscard]] int signal() const { return signal_; }

 private:
  sigset_t held_back_{};
  sigset_t before_{};
  OwnFd fd_;
  int signal_ = 0;
};

class Show {
 public:
  Show(std::string self, Interruption& interruption) : self_(std::move(self)), interruption_(interruption) {}
  Show(const Show&) = delete;
  Show& operator=(const Show&) = delete;
  ~Show() {
    for (const pid_t pid : children_) ::kill(pid, SIGTERM);
    for (const pid_t pid : jobs_) ::kill(pid, SIGKILL);
    for (const pid_t pid : children_) {
      const OwnFd end(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      pollfd fd{end.get(), POLLIN, 0};
      if (::poll(&fd, 1, farewell_ms) != 1) ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    if (!dir_.empty()) (void)call({"rm", "-rf", "--", dir_}, /*by_path=*/false);
  }

  bool begin() {
    std::string path = "/dev/shm/berth-demo-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      say(sys_error(errno, "cannot make a pool for the show in /dev/shm").message);
      return false;
    }
    dir_ = path;
    ::setenv("BERTH_POOL", dir_.c_str(), 1);
    ::setenv("BERTH_SIM_GPUS", "2x24G", 1);
    ::setenv("BERTH_HISTORY", "off", 1);  // a show is nobody's work
    ::unsetenv("CUDA_VISIBLE_DEVICES");
    return true;
  }

  // Starts "berth WORDS..." and shows the line; the job is on its own from here.
  pid_t start(std::vector<std::string> words) {
    std::string line = "  $ berth";
    for (const std::string& w : words) line += (w.find(' ') == std::string::npos) ? " " + w : " '" + w + "'";
    (void)put(line + " &\n");
    words.insert(words.begin(), "berth");
    const pid_t pid = spawn(words, /*by_path=*/true);
    if (pid > 0) children_.push_back(pid);
    return pid;
  }

  void status() {
    (void)put("  $ berth status\n");
    (void)call({"berth", "status"}, /*by_path=*/true);
  }

  // Waits until the picture is as wanted: `held` and `waiting` parties. False after a while.
  bool until(int held, int waiting) {
    const int64_t end = monotonic_us() + patience_us;
    while (monotonic_us() < end) {
      auto pool = LocalPool::open(dir_, LocalPool::IfMissing::fail);
      if (!pool) return false;
      auto view = view_pool(*pool, {});
      if (!view) return false;
      int now_held = 0;
      int now_waiting = 0;
      for (const Party& p : view->snapshot.parties) ++(p.state == PartyState::held ? now_held : now_waiting);
      if (now_held == held && now_waiting == waiting) return true;
      if (interruption_.sleep(20) != 0) return false;
    }
    say("the show got stuck; this is a fault");
    return false;
  }

  // Waits for its end. False where the show is broken off.
  bool finish(pid_t pid) {
    const OwnFd end(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (interruption_.sleep(-1, end.get()) != 0) return false;
    ::waitpid(pid, nullptr, 0);
    std::erase(children_, pid);
    return true;
  }

  // The only child of `parent`, and a promise to end it with the show.
  pid_t job_of(pid_t parent) {
    const std::string path = "/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children";
    const OwnFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 64> text{};
    if (fd.valid()) (void)!::read(fd.get(), text.data(), text.size() - 1);
    const auto pid = static_cast<pid_t>(std::strtol(text.data(), nullptr, 10));
    if (pid > 0) jobs_.push_back(pid);
    return pid;
  }
  void end_job(pid_t pid) {
    if (pid > 0) ::kill(pid, SIGKILL);
    std::erase(jobs_, pid);
  }

 private:
  pid_t spawn(const std::vector<std::string>& words, bool by_path) {
    std::vector<std::string> copy = words;
    std::vector<char*> argv;
    argv.reserve(copy.size() + 1);
    for (std::string& w : copy) argv.push_back(w.data());
    argv.push_back(nullptr);
    pid_t pid = -1;
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    ::posix_spawnattr_setsigmask(&attributes, &interruption_.inherited_mask());
    const int failed = by_path ? ::posix_spawn(&pid, self_.c_str(), nullptr, &attributes, argv.data(), environ)
                               : ::posix_spawnp(&pid, argv[0], nullptr, &attributes, argv.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    if (failed != 0) say(sys_error(failed, "cannot start " + words.front()).message);
    return failed == 0 ? pid : -1;
  }

  int call(const std::vector<std::string>& words, bool by_path) {
    const pid_t pid = spawn(words, by_path);
    int status = 0;
    if (pid > 0) ::waitpid(pid, &status, 0);
    return status;
  }

  std::string self_;
  Interruption& interruption_;
  std::string dir_;
  std::vector<pid_t> children_;
  std::vector<pid_t> jobs_;
};

bool act_turns(Show& show) {
  tell("1. Two GPUs (simulated ones), three jobs that want a whole one each.");
  const pid_t first = show.start({"run", "--gpus", "1", "--label", "train", "--expect", "3s", "sleep", "3"});
  if (!show.until(1, 0)) return false;
  const pid_t second = show.start({"run", "--gpus", "1", "--label", "render", "--expect", "6s", "sleep", "6"});
  if (!show.until(2, 0)) return false;
  const pid_t third = show.start({"run", "--gpus", "1", "--label", "eval", "sleep", "2"});
  if (!show.until(2, 1)) return false;
  show.status();
  tell("   \"eval\" waits its turn, and sleeps while it does. When \"train\" is done it starts at once:");
  if (!show.finish(first)) return false;
  if (!show.until(2, 0)) return false;
  show.status();
  return show.finish(third) && show.finish(second);
}

bool act_sharing(Show& show) {
  tell(
      "2. A share of a card's memory, beside others. Three jobs of 8, 8 and 12 GiB: two fit on\n"
      "   one card, so that the other one stays whole.");
  const pid_t a = show.start({"run", "--vram", "8G", "--label", "chat", "sleep", "2"});
  if (!show.until(1, 0)) return false;
  const pid_t b = show.start({"run", "--vram", "8G", "--label", "embed", "sleep", "2"});
  if (!show.until(2, 0)) return false;
  const pid_t c = show.start({"run", "--vram", "12G", "--label", "big", "sleep", "2"});
  if (!show.until(3, 0)) return false;
  show.status();
  return show.finish(a) && show.finish(b) && show.finish(c);
}

bool act_death(Show& show) {
  tell("3. kill -9 on berth itself. Its command still computes, so the place stays taken:");
  const pid_t wrapper = show.start({"run", "--gpus", "2", "--label", "stubborn", "sleep", "60"});
  if (!show.until(1, 0)) return false;
  pid_t job = show.job_of(wrapper);
  for (int tries = 0; job <= 0 && tries < 100; ++tries) {
    ::poll(nullptr, 0, 10);
    job = show.job_of(wrapper);
  }
  const pid_t next = show.start({"run", "--gpus", "1", "--label", "patient", "sleep", "1"});
  if (!show.until(1, 1)) return false;
  (void)put("  $ kill -9 " + std::to_string(wrapper) + "\n");
  ::kill(wrapper, SIGKILL);
  if (!show.finish(wrapper)) return false;
  show.status();
  tell("   Now the command dies as well, and nobody has to clean up: the waiter has its place.");
  (void)put("  $ kill -9 " + std::to_string(job) + "\n");
  show.end_job(job);
  if (!show.until(1, 0)) return false;
  show.status();
  return show.finish(next);
}

bool play(Interruption& interruption) {
  Show show("/proc/self/exe", interruption);
  if (!show.begin()) return false;
  (void)put("berth on simulated GPUs: no real card is touched. The leases and processes are real.\n");
  if (!act_turns(show) || !act_sharing(show) || !act_death(show)) return false;
  tell("That was all. In your own shells:  berth run --cpu 1 -- xz -9 bigfile");
  return true;
}

}  // namespace

int demo_command(const Words& words, const char* /*self_path*/) {
  if (!words.empty()) {
    if (words.front() == "--help" || words.front() == "-h")
      return put(help_text("demo")) ? exit_status::ok : exit_status::unavailable;
    return fail_unknown("demo", words.front());
  }
  Interruption interruption;
  const bool played = play(interruption);
  if (interruption.signal() != 0) Signals::die_of(interruption.signal());
  return played ? exit_status::ok : exit_status::unavailable;
}

}  // namespace berth
