// Who waits for whom and who ends after whom, among those who are left of a reduction. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sched/deadlock.h"
#include "sched/reduction.h"

namespace berth {

class WaitGraph {
 public:
  // `in`: of whom it is, all of them left. The others have to outlive it.
  WaitGraph(const Snapshot& all, const Families& families, const Reduction& reduction, std::vector<bool> in, Work& work)
      : all_(all),
        families_(families),
        reduction_(reduction),
        in_(std::move(in)),
        work_(work),
        edges_(all.parties.size()) {}

  // Those are in no cycle, and not on the way from one to another.
  void drop_whom_nobody_waits_for();
  [[nodiscard]] bool has(int party) const { return in_[static_cast<size_t>(party)]; }
  // The shortest way from self back to self; empty: there is none, or no work left to find it.
  [[nodiscard]] std::vector<CycleWait> cycle_of(int self);

 private:
  struct Edge {
    int to;
    std::string wants;  // "": a lease, which ends after that one
  };

  const std::vector<Edge>& from(int party);
  void find_edges(int party, std::vector<Edge>& out);
  const Plan& plan_of(const Group& group);

  const Snapshot& all_;
  const Families& families_;
  const Reduction& reduction_;
  std::vector<bool> in_;
  Work& work_;
  std::vector<std::optional<std::vector<Edge>>> edges_;  // by party; found when asked for
  std::map<const Group*, Plan> plans_;
};

}  // namespace berth
