#include "device/probe_run.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "base/sys.h"
#include "base/text.h"
#include "device/probe.h"

namespace berth {

namespace {

constexpr size_t most_answer_bytes = size_t{16} << 20;
constexpr std::string_view last_line = "end";

Picture ask_drivers(const std::string& root) {
  Picture picture;
  for (Sighting sighting : {probe_nvidia(root), probe_amd(root), probe_intel(root)}) {
    for (Device& device : sighting.devices) {
      device.index = static_cast<int>(picture.devices.size());
      picture.devices.push_back(std::move(device));
    }
    std::move(sighting.complaints.begin(), sighting.complaints.end(), std::back_inserter(picture.complaints));
  }
  LocalProcesses processes;
  for (const Device& device : picture.devices)
    for (const DeviceProcess& process : device.processes)
      read_line_of_descent(process.pid, processes, picture.processes);
  return picture;
}

// The child. Holds nothing that its parent held: who is stuck in a driver must not keep a place alive.
[[noreturn]] void answer(int out_fd, pid_t parent, const std::string& root) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  // Who calls us may have closed its 0, 1 or 2, and the pipe may have got that number.
  const int kept_fd = ::fcntl(out_fd, F_DUPFD, STDERR_FILENO + 2);
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  ::dup2(kept_fd, STDERR_FILENO + 1);
  ::syscall(SYS_close_range, STDERR_FILENO + 2, ~0U, 0);
  ::setpgid(0, 0);  // Ctrl-C and Ctrl-Z are not for us
  struct sigaction normal {};
  normal.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &normal, nullptr);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  Picture picture = ask_drivers(root);
  picture.taken_us = monotonic_us();
  const std::string text = encode_picture(picture);
  for (size_t done = 0; done < text.size();) {
    const ssize_t wrote =
        retry_eintr([&] { return ::write(STDERR_FILENO + 1, text.data() + done, text.size() - done); });
    if (wrote <= 0) break;
    done += static_cast<size_t>(wrote);
  }
  ::close(STDERR_FILENO + 1);  // the answer is told before the driver takes its time over our end
  ::_exit(0);
}

// Children that did not go when they were killed. They go when the driver lets them.
class GivenUp {
 public:
  void add(OwnChild child, int64_t due_us) {
    const std::lock_guard hold(mutex_);
    leave_to_parent();
    stuck_.push_back({std::move(child), due_us});
  }

  // Whether one more question would only be stuck as well. Who was given up before its time may be slow
  // and no more (a cold driver, a library's exit); but not any number of them.
  bool driver_is_stuck() {
    constexpr size_t most_slow = 3;
    const std::lock_guard hold(mutex_);
    forget_the_gone();
    const int64_t now_us = monotonic_us();
    return stuck_.size() >= most_slow ||
           std::any_of(stuck_.begin(), stuck_.end(), [&](const Stuck& one) { return now_us >= one.due_us; });
  }

  bool has(pid_t pid) {
    const std::lock_guard hold(mutex_);
    forget_the_gone();
    return std::any_of(stuck_.begin(), stuck_.end(), [&](const Stuck& one) { return one.child.pid() == pid; });
  }

 private:
  struct Stuck {
    OwnChild child;
    int64_t due_us;  // when it counts as hung
  };

  // What we were forked with. A keeper has closed all that, and given the numbers to others.
  void leave_to_parent() {
    if (std::exchange(maker_, ::getpid()) == ::getpid()) return;
    for (Stuck& one : stuck_) one.child.leave_to_parent();
    stuck_.clear();
  }

  void forget_the_gone() {
    leave_to_parent();
    std::erase_if(stuck_, [](const Stuck& one) {
      if (!one.child.ended_within(0)) return false;
      siginfo_t info{};
      (void)one.child.wait(info, WEXITED | WNOHANG);
      return true;
    });
  }

  std::mutex mutex_;
  std::vector<Stuck> stuck_;
  pid_t maker_ = ::getpid();
};

GivenUp& given_up() {
  static GivenUp* const all = new GivenUp;  // NOLINT: used until the very end of the process
  return *all;
}

void put(std::string& out, std::string_view key, std::string_view value) {
  if (value.empty()) return;
  out += key;
  out += ' ';
  out += printable(value);
  out += '\n';
}

void put(std::string& out, std::string_view key, int64_t value) { put(out, key, std::to_string(value)); }

template <class T>
void put(std::string& out, std::string_view key, const std::optional<T>& value) {
  if (value) put(out, key, static_cast<int64_t>(*value));
}

std::string or_unknown(const std::optional<int64_t>& value) { return value ? std::to_string(*value) : "?"; }

void read_process(std::string_view value, Device& device) {
  const std::vector<std::string> words = split(std::string(value), ' ');
  if (words.size() != 3) return;
  DeviceProcess process;
  process.kind = words[0] == "graphics" ? DeviceProcess::Kind::graphics : DeviceProcess::Kind::compute;
  process.pid = parse_count(words[1]).value_or(0);
  process.vram_bytes = parse_count(words[2]);
  device.processes.push_back(process);
}

void read_fact(std::string_view key, const std::string& value, ProcessFacts& facts) {
  const auto number = [&] { return parse_signed(value).value_or(0); };
  if (key == "parent") facts.parent = number();
  if (key == "uid") facts.uid = static_cast<uid_t>(number());
  if (key == "started") facts.started_us = number();
  if (key == "command") facts.command = value;
  if (key == "line") facts.command_line = value;
  if (key == "environment") facts.environment_known = true;
  if (key == "lease") facts.lease_id = value;
  if (key == "ending") facts.ending = true;
}

void read_line(std::string_view key, const std::string& value, Device& device) {
  const auto number = [&] { return parse_signed(value).value_or(0); };
  if (key == "index") device.index = static_cast<int>(number());
  if (key == "vendor_index") device.vendor_index = static_cast<int>(number());
  if (key == "name") device.name = value;
  if (key == "vendor") device.vendor = value;
  if (key == "simulated") device.simulated = true;
  if (key == "pci") device.pci_address = value;
  if (key == "total") device.vram_total_bytes = number();
  if (key == "used") device.vram_used_bytes = number();
  if (key == "util") device.util_pct = static_cast<int>(number());
  if (key == "unified") device.unified_memory = true;
  if (key == "mig_parent") device.mig_parent = value;
  if (key == "mode") device.compute_mode = static_cast<ComputeMode>(std::clamp<int64_t>(number(), 0, 2));
  if (key == "numa") device.numa_node = static_cast<int>(number());
  if (key == "peer") device.peers.push_back(value);
  if (key == "host_pids") device.host_pids = true;
  if (key == "processes_known") device.processes_known = true;
  if (key == "process") read_process(value, device);
  if (key == "trouble") device.trouble = value;
}

}  // namespace

std::string encode_picture(const Picture& picture) {
  std::string out;
  for (const std::string& complaint : picture.complaints) put(out, "complaint", complaint);
  for (const Device& d : picture.devices) {
    put(out, "device", d.uuid.empty() ? "?" : d.uuid);
    put(out, "index", d.index);
    put(out, "vendor_index", d.vendor_index);
    put(out, "name", d.name);
    put(out, "vendor", d.vendor);
    if (d.simulated) put(out, "simulated", 1);
    put(out, "pci", d.pci_address);
    put(out, "total", d.vram_total_bytes);
    put(out, "used", d.vram_used_bytes);
    put(out, "util", d.util_pct);
    if (d.unified_memory) put(out, "unified", 1);
    put(out, "mig_parent", d.mig_parent);
    put(out, "mode", static_cast<int64_t>(d.compute_mode));
    put(out, "numa", d.numa_node);
    for (const std::string& peer : d.peers) put(out, "peer", peer);
    if (d.host_pids) put(out, "host_pids", 1);
    if (d.processes_known) put(out, "processes_known", 1);
    for (const DeviceProcess& p : d.processes)
      put(out, "process",
          std::string(p.kind == DeviceProcess::Kind::graphics ? "graphics " : "compute ") + std::to_string(p.pid) +
              " " + or_unknown(p.vram_bytes));
    put(out, "trouble", d.trouble);
  }
  put(out, "taken", picture.taken_us);
  for (const auto& [pid, facts] : picture.processes) {
    put(out, "pid", pid);
    put(out, "parent", facts.parent);
    put(out, "uid", static_cast<int64_t>(facts.uid));
    put(out, "started", facts.started_us);
    put(out, "command", facts.command);
    put(out, "line", facts.command_line);
    if (facts.environment_known) put(out, "environment", 1);
    put(out, "lease", facts.lease_id);
    if (facts.ending) put(out, "ending", 1);
  }
  out += last_line;
  out += '\n';
  return out;
}

Picture decode_picture(std::string_view text) {
  Picture picture;
  ProcessFacts* process = nullptr;  // that the lines speak of now; null: of a device
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, space);
    const std::string value(line.substr(space + 1));
    if (key == "taken") {
      picture.taken_us = parse_count(value).value_or(0);
    } else if (key == "complaint") {
      picture.complaints.push_back(value);
    } else if (key == "device") {
      picture.devices.emplace_back();
      if (value != "?") picture.devices.back().uuid = value;
    } else if (key == "pid") {
      process = &picture.processes[parse_count(value).value_or(0)];
    } else if (process != nullptr) {
      read_fact(key, value, *process);
    } else if (!picture.devices.empty()) {
      read_line(key, value, picture.devices.back());
    }
  }
  return picture;
}

Result<ProbeRun> ProbeRun::start(const std::string& sysfs_root) {
  if (given_up().driver_is_stuck())
    return Error{ErrorKind::probe, 0, "a GPU driver does not answer, and cannot even be interrupted"};
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return sys_error(errno, "cannot ask the GPU drivers");
  OwnFd answer_fd(ends[0]);
  const OwnFd child_fd(ends[1]);
  const int flags = ::fcntl(child_fd.get(), F_GETFL);
  if (flags >= 0) ::fcntl(child_fd.get(), F_SETFL, flags & ~O_NONBLOCK);
  const int64_t begun_us = monotonic_us();
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) answer(child_fd.get(), parent, sysfs_root);
  if (child < 0) return sys_error(errno, "cannot ask the GPU drivers");
  return ProbeRun(OwnChild(child), std::move(answer_fd), begun_us);
}

ProbeRun::ProbeRun(ProbeRun&& other) noexcept
    : child_(std::move(other.child_)),
      answer_(std::move(other.answer_)),
      begun_us_(other.begun_us_),
      text_(std::move(other.text_)) {}

ProbeRun& ProbeRun::operator=(ProbeRun&& other) noexcept {
  if (this != &other) {
    give_up();
    child_ = std::move(other.child_);
    answer_ = std::move(other.answer_);
    begun_us_ = other.begun_us_;
    text_ = std::move(other.text_);
  }
  return *this;
}

ProbeRun::~ProbeRun() { give_up(); }

int ProbeRun::reap() {
  constexpr int patience_ms = 200;
  if (!child_.ended_within(patience_ms)) return 0;
  siginfo_t info{};
  const bool told = child_.wait(info, WEXITED | WNOHANG) == 0 && info.si_pid == child_.pid();
  child_.reset();
  return told && info.si_code != CLD_EXITED ? info.si_status : 0;
}

// A child that sits in the driver dies when the driver lets it go; nobody waits for that.
void ProbeRun::give_up() {
  answer_.reset();
  if (!child_.valid()) return;
  child_.send(SIGKILL);
  (void)reap();
  if (!child_.valid()) return;
  constexpr int64_t never = INT64_MAX;
  given_up().add(std::move(child_), is_complete() ? never : begun_us_ + probe_limit_us());
}

bool ProbeRun::is_complete() const { return text_.ends_with("\n" + std::string(last_line) + "\n"); }

bool is_given_up_probe(pid_t pid) { return given_up().has(pid); }

bool ProbeRun::take_in() {
  std::array<char, 16384> part{};
  while (text_.size() < most_answer_bytes) {
    const ssize_t got = retry_eintr([&] { return ::read(answer_.get(), part.data(), part.size()); });
    if (got > 0) text_.append(part.data(), static_cast<size_t>(got));
    if (got > 0 && is_complete()) return true;  // its end may stay open for as long as a driver needs to let it go
    if (got == 0) return true;
    if (got < 0) return errno != EAGAIN;
  }
  return true;
}

Result<Picture> ProbeRun::finish() {
  // It has said all, so it is on its way out; who lingers there (a library's exit in the driver)
  // is not waited for.
  if (is_complete()) {
    Picture picture = decode_picture(text_);
    picture.begun_us = begun_us_;
    give_up();
    return picture;
  }
  std::string how = "it ended without an answer";
  const int signal = reap();
  if (signal != 0) how = "it was ended by signal " + std::to_string(signal);
  give_up();
  return Error{ErrorKind::probe, 0, "the GPU drivers could not be asked: " + how};
}

Result<Picture> probe_devices(const char* sim_gpus, const std::string& sysfs_root, int64_t limit_us) {
  if (sim_gpus != nullptr && *sim_gpus != '\0') {
    auto devices = simulated_devices(sim_gpus);
    if (!devices) return devices.error();
    const int64_t now_us = monotonic_us();
    return Picture{std::move(*devices), {}, now_us, now_us, {}};
  }
  auto run = ProbeRun::start(sysfs_root);
  if (!run) return run.error();
  const int64_t due_us = run->begun_us() + limit_us;
  while (!run->take_in()) {
    const int64_t left_us = due_us - monotonic_us();
    if (left_us <= 0)
      return Error{ErrorKind::probe, 0,
                   "a GPU driver has not answered for " + show_duration((limit_us + 999'999) / 1'000'000) +
                       "; nvidia-smi hangs as well? Then the driver is stuck, and the machine may need a restart"};
    pollfd fd{run->fd(), POLLIN, 0};
    (void)::poll(&fd, 1, static_cast<int>((left_us + 999) / 1000));
  }
  return run->finish();
}

int64_t probe_limit_us() {
  constexpr int64_t usual_us = 10'000'000;
  constexpr int64_t longest_ms = 3'600'000;
  const char* text = std::getenv("BERTH_PROBE_LIMIT");
  const auto limit_ms = parse_duration_ms(text == nullptr ? "" : text);
  return limit_ms && *limit_ms > 0 ? std::min(*limit_ms, longest_ms) * 1000 : usual_us;
}

std::string sysfs_root() {
  const char* root = std::getenv("BERTH_SYSFS_ROOT");
  return root == nullptr ? "" : root;
}

}  // namespace berth
