#include "run/ram_watch.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/process_memory.h"
#include "base/small_file.h"
#include "base/sys.h"

namespace berth {

namespace {

// Often at first, when a job loads what it works on.
constexpr int64_t first_pace_us = 100'000;
constexpr int64_t usual_pace_us = 1'000'000;
constexpr int64_t shares_pace_us = 25'000;

std::string file_of(pid_t pid, const char* name) { return "/proc/" + std::to_string(pid) + "/" + name; }

int64_t sum_of_shares(const std::vector<pid_t>& tree) {
  int64_t sum = 0;
  for (const pid_t pid : tree)
    if (const auto text = read_text(file_of(pid, "smaps_rollup"))) sum += bytes_in_rollup(*text).value_or(0);
  return sum;
}

}  // namespace

RamWatch::RamWatch(int64_t claimed_bytes, std::function<std::vector<pid_t>()> tree,
                   std::function<void(int64_t)> on_overuse)
    : claimed_bytes_(claimed_bytes),
      tree_(std::move(tree)),
      on_overuse_(std::move(on_overuse)),
      pace_us_(first_pace_us),
      unknown_pace_us_(shares_pace_us),
      next_us_(monotonic_us() + first_pace_us) {}

// nullopt: not known yet.
std::optional<int64_t> RamWatch::used_bytes(const RamScope* scope) {
  if (scope != nullptr) return scope->used_bytes();
  if (shares_) {
    const int64_t sum = *shares_;
    if (sum < 0) return std::nullopt;
    shares_.reset();
    return sum;
  }
  const std::vector<pid_t> tree = tree_();
  int64_t sum = 0;
  for (const pid_t pid : tree)
    if (const auto text = read_text(file_of(pid, "status"))) sum += bytes_in_status(*text).value_or(0);
  if (sum <= claimed_bytes_) return sum;
  auto shares = std::make_shared<std::atomic<int64_t>>(-1);
  try {
    std::thread([shares, tree] { *shares = sum_of_shares(tree); }).detach();
    shares_ = std::move(shares);
  } catch (const std::system_error&) {  // no thread left: at the next look
  }
  return std::nullopt;
}

void RamWatch::act(const RamScope* scope) {
  if (monotonic_us() < next_us_) return;
  const auto used = used_bytes(scope);
  int64_t& pace_us = used ? pace_us_ : unknown_pace_us_;
  pace_us = std::min(usual_pace_us, pace_us * 2);
  if (used) unknown_pace_us_ = shares_pace_us;
  next_us_ = monotonic_us() + pace_us;
  if (used) last_bytes_ = *used;
  if (!used || *used <= claimed_bytes_ || *used <= reported_bytes_ + reported_bytes_ / 8) return;
  reported_bytes_ = *used;
  on_overuse_(*used);
}

}  // namespace berth
