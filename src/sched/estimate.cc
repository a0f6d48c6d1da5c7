#include "sched/estimate.h"

#include <algorithm>
#include <vector>

namespace berth {

std::optional<int64_t> estimate_s(std::span<const int64_t> durations_us) {
  if (durations_us.size() < static_cast<size_t>(least_samples)) return std::nullopt;
  std::vector<int64_t> sorted(durations_us.begin(), durations_us.end());
  std::sort(sorted.begin(), sorted.end());
  const int64_t quartile_us = sorted[(sorted.size() * 3 + 3) / 4 - 1];
  return std::clamp<int64_t>((quartile_us + 999'999) / 1'000'000, 1, longest_estimate_s);
}

}  // namespace berth
