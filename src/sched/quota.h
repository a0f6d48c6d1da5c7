// Quotas: what each user may have, as counters of his own that every claim of his names as well.
//
// They come before all else in a plan: of a user's holders, and then of those that wait, in the order of the line,
// each takes its part of what is left to the user. Who finds too little left is over quota: it waits, takes and
// closes nothing that others want, keeps its place in the line, and closes those quotas to its user's own behind
// it. So among a user's own the order holds, and nobody else is held up.
//
// While parties only go, nobody who is within its quota comes to be over it; sched/watch.h builds on that.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/snapshot.h"

namespace berth {

class Quotas {
 public:
  // What a party takes of one quota of its user's.
  struct Use {
    uint32_t item = 0;   // stands for user and quota, 0 to items()
    uint16_t quota = 0;  // index into Policy::quotas
    int64_t amount = 0;
  };

  Quotas() = default;
  // Where the pool has no quotas this costs nothing, and nobody uses any.
  explicit Quotas(const Snapshot& snapshot);

  [[nodiscard]] bool any() const { return !runs_.empty(); }
  [[nodiscard]] size_t items() const { return items_; }
  [[nodiscard]] std::span<const Use> of(int party) const {
    if (runs_.empty()) return {};
    const Run run = runs_[static_cast<size_t>(party)];
    return std::span<const Use>(uses_).subspan(run.first, run.count);
  }

 private:
  std::vector<Use> uses_;
  std::vector<Run> runs_;  // by party
  size_t items_ = 0;
};

// Whether they are one user's and count against the same quota.
[[nodiscard]] bool share_a_quota(const Snapshot& snapshot, const Party& a, const Party& b);

// What a claim takes of a quota.
[[nodiscard]] int64_t quota_use(const Snapshot& snapshot, const Party& party, const Quota& quota);

}  // namespace berth
