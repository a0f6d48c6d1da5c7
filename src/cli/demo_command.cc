// A show on simulated GPUs: real leases, real processes, a pool of its own.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
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

namespace berth {

namespace {

constexpr int64_t patience_us = 20'000'000;

class Show {
 public:
  explicit Show(std::string self) : self_(std::move(self)) {}
  Show(const Show&) = delete;
  Show& operator=(const Show&) = delete;
  ~Show() {
    for (const pid_t pid : children_) ::kill(pid, SIGKILL);
    for (const pid_t pid : jobs_) ::kill(pid, SIGKILL);
    for (const pid_t pid : children_) ::waitpid(pid, nullptr, 0);
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

  void tell(const std::string& text) { (void)put("\n" + text + "\n"); }

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
      ::poll(nullptr, 0, 20);
    }
    say("the show got stuck; this is a fault");
    return false;
  }

  void finish(pid_t pid) {
    ::waitpid(pid, nullptr, 0);
    std::erase(children_, pid);
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
    for (std::string& w : copy) argv.push_back(w.data());
    argv.push_back(nullptr);
    pid_t pid = -1;
    const int failed = by_path ? ::posix_spawn(&pid, self_.c_str(), nullptr, nullptr, argv.data(), environ)
                               : ::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ);
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
  std::string dir_;
  std::vector<pid_t> children_;
  std::vector<pid_t> jobs_;
};

bool act_turns(Show& show) {
  show.tell("1. Two GPUs (simulated ones), three jobs that want a whole one each.");
  const pid_t first = show.start({"run", "--gpus", "1", "--label", "train", "--expect", "3s", "sleep", "3"});
  if (!show.until(1, 0)) return false;
  const pid_t second = show.start({"run", "--gpus", "1", "--label", "render", "--expect", "6s", "sleep", "6"});
  if (!show.until(2, 0)) return false;
  const pid_t third = show.start({"run", "--gpus", "1", "--label", "eval", "sleep", "2"});
  if (!show.until(2, 1)) return false;
  show.status();
  show.tell("   \"eval\" waits its turn, and sleeps while it does. When \"train\" is done it starts at once:");
  show.finish(first);
  if (!show.until(2, 0)) return false;
  show.status();
  show.finish(third);
  show.finish(second);
  return true;
}

bool act_sharing(Show& show) {
  show.tell(
      "2. A share of a card's memory, beside others. Three jobs of 8, 8 and 12 GiB: two fit on\n"
      "   one card, so that the other one stays whole.");
  const pid_t a = show.start({"run", "--vram", "8G", "--label", "chat", "sleep", "2"});
  if (!show.until(1, 0)) return false;
  const pid_t b = show.start({"run", "--vram", "8G", "--label", "embed", "sleep", "2"});
  if (!show.until(2, 0)) return false;
  const pid_t c = show.start({"run", "--vram", "12G", "--label", "big", "sleep", "2"});
  if (!show.until(3, 0)) return false;
  show.status();
  for (const pid_t pid : {a, b, c}) show.finish(pid);
  return true;
}

bool act_death(Show& show) {
  show.tell("3. kill -9 on berth itself. Its command still computes, so the place stays taken:");
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
  show.finish(wrapper);
  show.status();
  show.tell("   Now the command dies as well, and nobody has to clean up: the waiter has its place.");
  (void)put("  $ kill -9 " + std::to_string(job) + "\n");
  show.end_job(job);
  if (!show.until(1, 0)) return false;
  show.status();
  show.finish(next);
  return true;
}

}  // namespace

int demo_command(const Words& words, const char* /*self_path*/) {
  if (!words.empty()) {
    if (words.front() == "--help" || words.front() == "-h")
      return put(help_text("demo")) ? exit_status::ok : exit_status::unavailable;
    return fail_unknown("demo", words.front());
  }
  Show show("/proc/self/exe");
  if (!show.begin()) return exit_status::unavailable;
  (void)put("berth on simulated GPUs: no real card is touched. The leases and processes are real.\n");
  if (!act_turns(show) || !act_sharing(show) || !act_death(show)) return exit_status::unavailable;
  show.tell("That was all. In your own shells:  berth run --cpu 1 -- xz -9 bigfile");
  return exit_status::ok;
}

}  // namespace berth
