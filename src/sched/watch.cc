#include "sched/watch.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "sched/items.h"
#include "sched/lookouts.h"
#include "sched/precedence.h"
#include "sched/quota.h"
#include "sched/shape.h"

namespace berth {

namespace {

// Everything that may keep self from its seat: what it wants itself, what those ahead want that
// contend with it, and so on. Counters and devices that one claim ahead names belong together, so the
// groups they fall into are found in one walk (union-find), however many parties and names there are.
class Reach {
 public:
  Reach(const Snapshot& snapshot, const Plan& plan, int self) : items_(snapshot), up_(items_.size()) {
    std::iota(up_.begin(), up_.end(), 0U);
    for (const int other : plan.line) {
      if (other != self && plan.verdict_of(other) == Verdict::impossible) continue;
      const std::optional<uint32_t> group = join(other);
      if (other != self) continue;
      own_ = group;
      break;
    }
  }
  [[nodiscard]] bool touches(int party) {
    bool found = false;
    if (own_)
      items_.each(party, [&](size_t item) { found = found || root(static_cast<uint32_t>(item)) == root(*own_); });
    return found;
  }

 private:
  uint32_t root(uint32_t item) {
    while (up_[item] != item) item = up_[item] = up_[up_[item]];
    return item;
  }
  std::optional<uint32_t> join(int party) {
    std::optional<uint32_t> first;
    items_.each(party, [&](size_t number) {
      const auto item = static_cast<uint32_t>(number);
      if (!first)
        first = item;
      else
        up_[root(item)] = root(*first);
    });
    return first;
  }

  const Items items_;
  std::vector<uint32_t> up_;  // by item: towards the one that stands for its group
  std::optional<uint32_t> own_;
};

}  // namespace

Watch watch(const Snapshot& snapshot, const Plan& plan, int self) {
  Watch out;
  Reach reach(snapshot, plan, self);
  for (const int other : plan.line) {
    if (other == self) break;
    if (plan.verdict_of(other) == Verdict::impossible) continue;
    if (!reach.touches(other)) continue;
    out.ahead.push_back(other);
    if (plan.verdict_of(other) == Verdict::seat) out.entitled.push_back(other);
  }
  for (size_t i = 0; i < snapshot.parties.size(); ++i) {
    if (snapshot.parties[i].state != PartyState::held) continue;
    if (reach.touches(static_cast<int>(i))) out.holders.push_back(static_cast<int>(i));
  }

  if (plan.timed) {
    const TimedWatch timed = timed_watch(snapshot, plan, self);
    out.parties = out.entitled;
    out.parties.insert(out.parties.end(), timed.nearest.begin(), timed.nearest.end());
    // Fewer than two before it: it is one of the two that watch those who have some of this, and of what
    // those before it wait for: they may be stopped, and not see that their turn has come.
    if (timed.first_of_some) out.parties.insert(out.parties.end(), out.holders.begin(), out.holders.end());
    const auto& held = plan.held_back;
    if (timed.first_of_some || std::find(held.begin(), held.end(), self) != held.end())
      out.look_again_us = plan.look_again_us;
    return out;
  }
  const Quotas quotas(snapshot);
  const Shape mine = shape_of(snapshot, quotas, self);
  const auto passes = passing(snapshot, self);
  for (auto it = out.ahead.rbegin(); it != out.ahead.rend() && out.parties.size() < 2; ++it) {
    if (plan.verdict_of(*it) != Verdict::wait) continue;
    Shape other = shape_of(snapshot, quotas, *it);
    other.over_quota = plan.is_over_quota(*it);
    if (surely_blocks(other, mine) && !(passes && passes(*it))) out.parties.push_back(*it);
  }
  if (out.parties.size() == 2) return out;
  out.parties = out.holders;
  out.parties.insert(out.parties.end(), out.ahead.begin(), out.ahead.end());
  return out;
}

}  // namespace berth
