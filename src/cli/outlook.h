// Outlook: who keeps a waiter from its place, how many stand before it, and when its turn should come.
// Pure; for people and programs that ask, not for a decision.
#pragma once

#include <cstdint>
#include <vector>

#include "core/snapshot.h"
#include "sched/plan.h"

namespace berth {

// A holder of what a waiter is short of.
struct Obstacle {
  int holder = 0;                 // index into Snapshot::parties
  std::vector<uint16_t> devices;  // indices into Snapshot::devices; empty: it is about a counter
  uint16_t resource = 0;          // index into Snapshot::resources; where there are no devices
};

struct Outlook {
  Verdict verdict = Verdict::none;
  std::vector<Obstacle>
      obstacles;           // who is asked for it first, the earliest expected end, those whose end nobody knows
  std::vector<int> asked;  // holders that are asked to give way for it; then nobody knows when it starts
  std::vector<int> ahead;  // waiters before it that want something that it wants, in line order
  int over_quota = -1;     // the quota that holds it back, an index into Policy::quotas; -1: none
  int64_t start_us = -1;   // by the clock of Snapshot::now_us; -1: nobody knows
};

// plan() for everybody, and where that knows no start because it counts on an end that nobody knows: when there
// is room at the latest, if those who said how long they take keep to it and the others stay.
[[nodiscard]] Plan plan_with_starts(const Snapshot& group, const std::vector<bool>& absent);

// Of parties[self] among those it competes with: top_level() or inside(). `absent` as in plan().
[[nodiscard]] Outlook outlook(const Snapshot& group, const std::vector<bool>& absent, int self);

}  // namespace berth
