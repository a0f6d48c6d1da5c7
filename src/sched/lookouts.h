// Who watches whom when jobs say how long they take: see the last part of what watch.h says.
#pragma once

#include <vector>

#include "core/snapshot.h"
#include "sched/items.h"
#include "sched/plan.h"

namespace berth {

// Appends, for each item of parties[of], the two nearest waiters that want it: behind it if it stands in line, else
// from the front.
void add_watchers(const Snapshot& snapshot, const Items& items, const Plan& plan, int of, std::vector<int>& out);

// The two that stand first for each item.
[[nodiscard]] std::vector<int> lookouts(const Snapshot& snapshot, const Plan& plan);

struct TimedWatch {
  std::vector<int> nearest;    // waiters before it, for each item that it wants the two nearest
  bool first_of_some = false;  // of some item fewer than two want some before it
};
[[nodiscard]] TimedWatch timed_watch(const Snapshot& snapshot, const Plan& plan, int self);

}  // namespace berth
