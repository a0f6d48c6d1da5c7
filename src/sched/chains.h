// On whom a waiter relies while ends are unknown: those of whom each, as long as it waits, proves that the waiter
// cannot be seated (watch.h says when that is so).
#pragma once

#include <array>
#include <vector>

#include "core/snapshot.h"
#include "sched/plan.h"

namespace berth {

// For each party index the indices of its two nearest sure blockers, nearest first; -1 for none.
using Chains = std::vector<std::array<int, 2>>;
[[nodiscard]] Chains sure_blockers(const Snapshot& snapshot, const Plan& plan);

}  // namespace berth
