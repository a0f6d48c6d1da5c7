// Who must be rung when the pool changes. Pure, like plan(); watch.h says who keeps an eye on whom.
//
// They are found in two halves, so that one snapshot serves both: the first before the change is made to it,
// the second after. `changed` lists the indices that vanish, are seated, step aside or shrink; nobody in it is
// ever returned.
#pragma once

#include <vector>

#include "core/snapshot.h"
#include "sched/chains.h"
#include "sched/plan.h"

namespace berth {

// Those whose watch the change touches, of whom the plan after it may say nothing new:
//   - where a holder goes or shrinks, the waiters that were watching holders;
//   - where a waiter leaves the line, those that counted it among their two nearest sure blockers;
//   - where a lease goes that somebody asks from inside of, everybody: the order of the line hangs on it.
[[nodiscard]] std::vector<int> dependents(const Snapshot& before, const Plan& plan_before, const Chains& chains_before,
                                          const std::vector<int>& changed);

// Everybody who may sit down afterwards, and the `keepers` nearest behind each that contend with it,
// who will look after it in case it is stopped.
inline constexpr int usual_keepers = 2;
[[nodiscard]] std::vector<int> entitled_and_keepers(const Snapshot& after, const Plan& plan_after,
                                                    const std::vector<int>& changed, int keepers = usual_keepers);

// Whether a waiter that others may count on blocks them no longer: it may sit down now, or is over quota.
[[nodiscard]] bool lets_go(const Plan& plan_before, const Plan& plan_after, int waiter);

// Those that counted on a waiter's waiting that may sit down now: it blocks them no longer, and will be a
// holder before they look. And on one that is over quota now.
[[nodiscard]] std::vector<int> heirs(const Snapshot& before, const Plan& plan_before, const Chains& chains_before,
                                     const Plan& plan_after);

// Those that have `self`, which comes into the line, among those that they watch from now on: what they
// watch is not what others think they watch any more.
[[nodiscard]] std::vector<int> overtaken(const Snapshot& after, const Plan& plan_after, int self);

// Those whose watch a newcomer changes without standing in their way: it sat down at once in a timed plan
// and has to be watched, or it is the first that said how long it takes. `plan_before` is without it.
[[nodiscard]] std::vector<int> newcomer_concerns(const Snapshot& after, const Plan& plan_before, const Plan& plan_after,
                                                 int self);

}  // namespace berth
