#include "sched/chains.h"

#include <algorithm>
#include <functional>

#include "sched/precedence.h"
#include "sched/quota.h"
#include "sched/shape.h"

namespace berth {

namespace {

// The two nearest sure blockers of one who would pass some of those ahead (precedence.h), by position in the line;
// `shapes` of those before it.
std::array<int, 2> blockers_of_passer(const Plan& plan, const std::vector<Shape>& shapes, const Shape& own,
                                      const std::function<bool(int)>& passes) {
  std::array<int, 2> nearest{-1, -1};
  size_t found = 0;
  for (size_t position = shapes.size(); position-- > 0 && found < nearest.size();) {
    const int ahead = plan.line[position];
    if (plan.verdict_of(ahead) == Verdict::wait && surely_blocks(shapes[position], own) && !passes(ahead))
      nearest[found++] = static_cast<int>(position);
  }
  return nearest;
}

}  // namespace

Chains sure_blockers(const Snapshot& snapshot, const Plan& plan) {
  struct Kind {
    Shape shape;
    std::array<int, 2> last{-1, -1};  // positions in the line, nearest first
  };
  std::vector<Kind> kinds;
  Chains chains(snapshot.parties.size(), {-1, -1});
  if (plan.timed) return chains;
  const Quotas quotas(snapshot);
  const bool any_passes =
      std::any_of(plan.line.begin(), plan.line.end(), [&](int index) { return snapshot.at(index).seconds; });
  std::vector<Shape> shapes;  // of those before, where somebody may pass them
  for (size_t position = 0; position < plan.line.size(); ++position) {
    const int self = plan.line[position];
    Shape shape = shape_of(snapshot, quotas, self);
    shape.over_quota = plan.is_over_quota(self);
    std::array<int, 2> nearest{-1, -1};
    Kind* own = nullptr;
    for (Kind& kind : kinds) {
      if (kind.shape == shape) own = &kind;
      if (kind.last[0] < nearest[1] || !surely_blocks(kind.shape, shape)) continue;
      for (const int p : kind.last) {
        if (p > nearest[0])
          nearest = {p, nearest[0]};
        else if (p > nearest[1])
          nearest[1] = p;
      }
    }
    if (any_passes) {
      if (const auto passes = passing(snapshot, self)) nearest = blockers_of_passer(plan, shapes, shape, passes);
      shapes.push_back(shape);
    }
    for (size_t i = 0; i < 2; ++i)
      if (nearest[i] >= 0) chains[static_cast<size_t>(self)][i] = plan.line[static_cast<size_t>(nearest[i])];
    if (plan.verdict_of(self) != Verdict::wait) continue;
    if (own == nullptr) own = &kinds.emplace_back(Kind{shape, {-1, -1}});
    own->last = {static_cast<int>(position), own->last[0]};
  }
  return chains;
}

}  // namespace berth
