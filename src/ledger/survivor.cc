#include "ledger/survivor.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "base/own_fd.h"
#include "base/pid_namespace.h"
#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

// When a process was started; nullopt: it does not run (any more), or `unsure` was set.
std::optional<int64_t> start_ticks(pid_t pid, bool& unsure) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const OwnFd fd(retry_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  std::array<char, 1024> text{};
  const ssize_t got = fd.valid() ? retry_eintr([&] { return ::read(fd.get(), text.data(), text.size()); }) : -1;
  if (got < 0 && !says_gone(errno)) unsure = true;
  const std::string_view stat(text.data(), got > 0 ? static_cast<size_t>(got) : 0);
  const size_t name_end = stat.rfind(')');  // the name may hold anything
  if (name_end == std::string_view::npos) return std::nullopt;
  const std::vector<std::string> fields = split(std::string(stat.substr(name_end + 1)), ' ');
  constexpr size_t state = 0;
  constexpr size_t threads = 17;
  constexpr size_t start = 19;
  if (fields.size() <= start || fields[state] == "X") return std::nullopt;
  // Dead, or only its first thread is, and others run on.
  if (fields[state] == "Z" && parse_count(fields[threads]).value_or(0) <= 1) return std::nullopt;
  return parse_count(fields[start]);
}

}  // namespace

bool says_gone(int failed) { return failed == ENOENT || failed == ESRCH || failed == ENOTDIR || failed == ELOOP; }

std::string encode_survivors(const std::vector<pid_t>& pids) {
  const uint64_t numbers = own_pid_namespace();
  if (numbers == 0) return "";  // nobody here can tell who a pid is
  std::string out;
  size_t count = 0;
  for (const pid_t pid : pids) {
    bool unsure = false;
    const auto start = start_ticks(pid, unsure);
    if (!start || count >= max_survivors) continue;
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
