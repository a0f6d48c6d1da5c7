#include "sched/rings.h"

#include <array>

#include "sched/items.h"
#include "sched/lookouts.h"
#include "sched/quota.h"
#include "sched/shape.h"

namespace berth {

namespace {

// The order in which indices are handed out to be rung: as they stand in the line.
class RingList {
 public:
  RingList(const Plan& plan, const std::vector<int>& changed) : plan_(plan), wanted_(plan.verdicts.size(), false) {
    changed_.assign(plan.verdicts.size(), false);
    for (const int c : changed) changed_[static_cast<size_t>(c)] = true;
  }
  void add(int index) {
    if (!changed_[static_cast<size_t>(index)]) wanted_[static_cast<size_t>(index)] = true;
  }
  [[nodiscard]] std::vector<int> in_line_order() const {
    std::vector<int> out;
    for (const int index : plan_.line)
      if (wanted_[static_cast<size_t>(index)]) out.push_back(index);
    return out;
  }

 private:
  const Plan& plan_;
  std::vector<bool> wanted_;
  std::vector<bool> changed_;
};

// Whether one of these is a lease that somebody inside of it stands where he stands for (precedence.h).
bool order_hangs_on(const Snapshot& snapshot, const std::vector<int>& changed) {
  for (const Party& p : snapshot.parties) {
    if (!p.seconds) continue;
    for (const int c : changed)
      if (snapshot.at(c).state == PartyState::held && snapshot.at(c) == p.with_key()) return true;
  }
  return false;
}

}  // namespace

std::vector<int> dependents(const Snapshot& before, const Plan& plan_before, const Chains& chains,
                            const std::vector<int>& changed) {
  RingList rings(plan_before, changed);
  if (changed.empty() || plan_before.line.empty()) return {};
  if (order_hangs_on(before, changed)) {
    for (const int waiter : plan_before.line) rings.add(waiter);
    return rings.in_line_order();
  }
  if (plan_before.timed) {
    const Items items(before);
    std::vector<int> watchers;
    for (const int c : changed) add_watchers(before, items, plan_before, c, watchers);
    for (const int w : watchers) rings.add(w);
    return rings.in_line_order();
  }
  const Quotas quotas(before);
  for (const int c : changed) {
    const bool was_holder = before.at(c).state == PartyState::held;
    const Shape shape = shape_of(before, quotas, c);
    for (const int waiter : plan_before.line) {
      const std::array<int, 2>& chain = chains[static_cast<size_t>(waiter)];
      if (was_holder) {
        if (chain[1] < 0 && shapes_contend(shape, shape_of(before, quotas, waiter))) rings.add(waiter);
      } else if (chain[0] == c || chain[1] == c) {
        rings.add(waiter);
      }
    }
  }
  return rings.in_line_order();
}

std::vector<int> entitled_and_keepers(const Snapshot& after, const Plan& plan_after, const std::vector<int>& changed,
                                      int keepers_each) {
  RingList rings(plan_after, changed);
  for (size_t position = 0; position < plan_after.line.size(); ++position) {
    const int entitled = plan_after.line[position];
    if (plan_after.verdict_of(entitled) != Verdict::seat) continue;
    rings.add(entitled);
    int keepers = keepers_each;
    for (size_t next = position + 1; next < plan_after.line.size() && keepers > 0; ++next) {
      const int behind = plan_after.line[next];
      if (plan_after.verdict_of(behind) == Verdict::impossible ||
          !(contend(after, entitled, behind) || share_a_quota(after, after.at(entitled), after.at(behind))))
        continue;
      rings.add(behind);
      --keepers;
    }
  }
  return rings.in_line_order();
}

bool lets_go(const Plan& plan_before, const Plan& plan_after, int waiter) {
  if (plan_before.verdict_of(waiter) != Verdict::wait) return false;
  return plan_after.verdict_of(waiter) == Verdict::seat ||
         (plan_after.is_over_quota(waiter) && !plan_before.is_over_quota(waiter));
}

std::vector<int> heirs(const Snapshot& before, const Plan& plan_before, const Chains& chains_before,
                       const Plan& plan_after) {
  std::vector<int> out;
  const auto turned = [&](int index) { return index >= 0 && lets_go(plan_before, plan_after, index); };
  const Items items(before);
  for (const int waiter : plan_before.line) {
    if (plan_before.timed) {
      if (turned(waiter)) add_watchers(before, items, plan_before, waiter, out);
      continue;
    }
    const std::array<int, 2>& chain = chains_before[static_cast<size_t>(waiter)];
    if (turned(chain[0]) || turned(chain[1])) out.push_back(waiter);
  }
  return out;
}

std::vector<int> overtaken(const Snapshot& after, const Plan& plan_after, int self) {
  std::vector<int> out;
  if (plan_after.line.empty() || plan_after.line.back() == self) return out;
  if (plan_after.timed) {
    add_watchers(after, Items(after), plan_after, self, out);
    return out;
  }
  const Chains chains = sure_blockers(after, plan_after);
  for (const int waiter : plan_after.line) {
    const std::array<int, 2>& chain = chains[static_cast<size_t>(waiter)];
    if (chain[0] == self || chain[1] == self) out.push_back(waiter);
  }
  return out;
}

std::vector<int> newcomer_concerns(const Snapshot& after, const Plan& plan_before, const Plan& plan_after, int self) {
  std::vector<int> out;
  if (!plan_after.timed) return out;
  if (!plan_before.timed) out = lookouts(after, plan_after);
  if (after.at(self).state == PartyState::held) add_watchers(after, Items(after), plan_after, self, out);
  return out;
}

}  // namespace berth
