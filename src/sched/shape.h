// What a party can be short of, and whether two of them are in each other's way. For a holder its granted devices
// count, for a waiter the devices it may use.
#pragma once

#include <cstdint>
#include <vector>

#include "core/index_set.h"
#include "core/snapshot.h"
#include "sched/quota.h"

namespace berth {

// What a claim can be short of, without the amounts. Waiters of one shape block each other alike,
// so chains are found per shape and not per pair.
struct Shape {
  IndexSet counters;
  bool gpu = false;
  bool one_or_whole = false;
  bool whole = false;
  bool vram = false;  // of a share: which of a card's two quantities it wants
  bool compute = false;
  IndexSet devices;
  std::vector<uint32_t> quotas;  // items, sorted
  bool over_quota = false;
  friend bool operator==(const Shape&, const Shape&) = default;
};

// Of party `index` of the snapshot that `quotas` is of; but for over_quota, which the plan knows.
[[nodiscard]] Shape shape_of(const Snapshot& snapshot, const Quotas& quotas, int index);

// Whether one who waits behind cannot be seated while one of shape `ahead` waits before it: see watch.h.
[[nodiscard]] bool surely_blocks(const Shape& ahead, const Shape& behind);

[[nodiscard]] bool shapes_contend(const Shape& a, const Shape& b);

// True if the two could ever want the same thing of the pool; quotas apart.
[[nodiscard]] bool contend(const Snapshot& snapshot, int a, int b);

}  // namespace berth
