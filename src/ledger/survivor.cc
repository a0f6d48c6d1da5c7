#include "ledger/survivor.h"

#include <cerrno>
#include <optional>

#include "base/pid_namespace.h"
#include "base/process_stat.h"
#include "base/small_file.h"
#include "base/text.h"

namespace berth {

namespace {

// When a process was started; nullopt: it does not run (any more), or `unsure` was set.
std::optional<int64_t> start_ticks(pid_t pid, bool& unsure) {
  const auto text = read_text("/proc/" + std::to_string(pid) + "/stat");
  if (!text && !says_gone(text.error().sys_errno)) unsure = true;
  const auto stat = text ? parse_process_stat(*text) : std::nullopt;
  return stat && stat->runs() ? std::optional(stat->start_ticks) : std::nullopt;
}

}  // namespace

bool says_gone(int failed) { return failed == ENOENT || failed == ESRCH || failed == ENOTDIR || failed == ELOOP; }

std::string encode_survivors(const std::vector<pid_t>& pids) {
  const uint64_t numbers = own_pid_namespace();
  if (numbers == 0) return "";  // nobody here can tell who a pid is
  std::string out;
  size_t count = 0;
  for (const pid_t pid : pids) {
    if (count >= max_survivors) break;
    bool unsure = false;
    const auto start = start_ticks(pid, unsure);
    if (!start) continue;
    out += " " + std::to_string(pid) + ":" + std::to_string(*start);
    ++count;
  }
  return out.empty() ? "" : std::to_string(numbers) + out;
}

StillRunning still_running(std::string_view text) {
  StillRunning out;
  const std::vector<std::string> words = split(std::string(text), ' ');
  const uint64_t numbers = own_pid_namespace();
  if (words.empty() || numbers == 0 || words.front() != std::to_string(numbers)) return out;
  for (size_t i = 1; i < words.size() && i <= max_survivors; ++i) {
    const size_t colon = words[i].find(':');
    if (colon == std::string::npos) continue;
    const auto pid = parse_count(words[i].substr(0, colon));
    const auto start = parse_count(words[i].substr(colon + 1));
    if (!pid || !start || *pid == 0 || *pid > INT32_MAX) continue;
    if (start_ticks(static_cast<pid_t>(*pid), out.unsure) == start) out.pids.push_back(static_cast<pid_t>(*pid));
  }
  return out;
}

}  // namespace berth
