// How long a job will take, by how long those of its kind took before. Pure; where that is kept is
// history/learned.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace berth {

inline constexpr int least_samples = 3;
inline constexpr int most_samples = 20;
inline constexpr int64_t longest_estimate_s = int64_t{366} * 86'400;

// The third quartile, in seconds rounded up, at least 1; nullopt of too few.
[[nodiscard]] std::optional<int64_t> estimate_s(std::span<const int64_t> durations_us);

}  // namespace berth
