#include "device/processes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/own_fd.h"
#include "base/pid_namespace.h"
#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

constexpr uint64_t initial_pid_namespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO, linux/proc_ns.h

// `denied` is set where it is there and not for us.
std::string read_all(const std::string& path, size_t limit, bool* denied = nullptr) {
  const OwnFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (denied != nullptr) *denied = !fd.valid() && (errno == EACCES || errno == EPERM);
  std::string out;
  std::array<char, 4096> part{};
  while (fd.valid() && out.size() < limit) {
    const ssize_t got = retry_eintr([&] { return ::read(fd.get(), part.data(), part.size()); });
    if (got <= 0) break;
    out.append(part.data(), static_cast<size_t>(got));
  }
  return out;
}

// "pid (comm) state ppid ..."; comm may hold anything, so the last ')' ends it. proc(5).
bool parse_stat(const std::string& stat, ProcessFacts& out, int64_t& start_ticks) {
  constexpr int64_t exiting = 0x4;  // PF_EXITING, include/linux/sched.h
  const size_t open = stat.find('(');
  const size_t close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close + 2 >= stat.size()) return false;
  out.command = printable(std::string_view(stat).substr(open + 1, close - open - 1));
  const std::vector<std::string> fields = split(stat.substr(close + 2), ' ');
  if (fields.size() < 20) return false;
  out.parent = parse_count(fields[1]).value_or(0);
  out.ending = fields[0] == "Z" || fields[0] == "X" || (parse_count(fields[6]).value_or(0) & exiting) != 0;
  start_ticks = parse_count(fields[19]).value_or(0);
  return true;
}

std::string variable(const std::string& environment, std::string_view name) {
  for (size_t at = 0; at < environment.size();) {
    const size_t end = std::min(environment.find('\0', at), environment.size());
    const std::string_view entry = std::string_view(environment).substr(at, end - at);
    if (entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=')
      return std::string(entry.substr(name.size() + 1));
    at = end + 1;
  }
  return "";
}

}  // namespace

LocalProcesses::LocalProcesses() : pid_namespace_(own_pid_namespace()) {
  timespec boot{};
  if (::clock_gettime(CLOCK_BOOTTIME, &boot) == 0)
    boot_us_ = wall_us() - (boot.tv_sec * int64_t{1'000'000} + boot.tv_nsec / 1000);
}

std::optional<ProcessFacts> LocalProcesses::facts(int64_t pid) {
  if (pid <= 0) return std::nullopt;
  const std::string dir = "/proc/" + std::to_string(pid);
  ProcessFacts out;
  int64_t start_ticks = 0;
  struct stat st {};
  // Its environment first: where that is empty because the process ends, its state says so afterwards.
  bool denied = false;
  const std::string environment = read_all(dir + "/environ", size_t{1} << 20, &denied);
  if (::stat(dir.c_str(), &st) != 0 || !parse_stat(read_all(dir + "/stat", 4096), out, start_ticks))
    return std::nullopt;
  out.uid = st.st_uid;
  out.started_us = boot_us_ + start_ticks * 1'000'000 / std::max<int64_t>(1, ::sysconf(_SC_CLK_TCK));
  std::string line = read_all(dir + "/cmdline", 512).substr(0, 512);
  while (!line.empty() && line.back() == '\0') line.pop_back();
  std::replace(line.begin(), line.end(), '\0', ' ');
  out.command_line = line.empty() ? out.command : printable(line);
  out.environment_known = !denied && !(environment.empty() && out.ending);
  out.lease_id = variable(environment, "BERTH_ID");
  return out;
}

bool LocalProcesses::sees_everybody() const { return pid_namespace_ == initial_pid_namespace; }

ReadProcesses::ReadProcesses(const KnownProcesses& known) : known_(known), pid_namespace_(own_pid_namespace()) {}

std::optional<ProcessFacts> ReadProcesses::facts(int64_t pid) {
  const auto found = known_.find(pid);
  return found == known_.end() ? std::nullopt : std::optional(found->second);
}

bool ReadProcesses::sees_everybody() const { return pid_namespace_ == initial_pid_namespace; }

void read_line_of_descent(int64_t pid, ProcessTable& processes, KnownProcesses& known) {
  for (int step = 0; step < most_forebears && pid > 1 && !known.contains(pid); ++step) {
    auto facts = processes.facts(pid);
    if (!facts) return;
    const int64_t parent = facts->parent;
    known.emplace(pid, std::move(*facts));
    pid = parent;
  }
}

}  // namespace berth
