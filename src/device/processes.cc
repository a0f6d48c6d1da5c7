#include "device/processes.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/pid_namespace.h"
#include "base/process_stat.h"
#include "base/small_file.h"
#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

constexpr uint64_t exiting = 0x4;  // PF_EXITING, include/linux/sched.h

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
  struct stat st {};
  // Its environment first: where that is empty because the process ends, its state says so afterwards.
  const auto environment = read_text(dir + "/environ", size_t{1} << 20);
  const bool denied =
      !environment && (environment.error().sys_errno == EACCES || environment.error().sys_errno == EPERM);
  const auto text = read_text(dir + "/stat");
  const auto stat = text ? parse_process_stat(*text) : std::nullopt;
  if (::stat(dir.c_str(), &st) != 0 || !stat) return std::nullopt;
  ProcessFacts out;
  out.parent = stat->parent;
  out.uid = st.st_uid;
  out.started_us = boot_us_ + stat->start_ticks * 1'000'000 / std::max<int64_t>(1, ::sysconf(_SC_CLK_TCK));
  out.command = printable(stat->name);
  out.ending = stat->state == 'Z' || stat->state == 'X' || (stat->flags & exiting) != 0;
  const auto words = read_text(dir + "/cmdline", 512);
  std::string line = words ? *words : "";
  while (!line.empty() && line.back() == '\0') line.pop_back();
  std::replace(line.begin(), line.end(), '\0', ' ');
  out.command_line = line.empty() ? out.command : printable(line);
  const std::string variables = environment ? *environment : "";
  out.environment_known = !denied && !(variables.empty() && out.ending);
  out.lease_id = variable(variables, "BERTH_ID");
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
