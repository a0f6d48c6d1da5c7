// Who must be told of a change, and whom a waiter has to keep an eye on. Pure, like plan().
//
// The herd problem: when a place falls free, a thousand waiters must not wake. So a waiter deep in
// the line watches only what stands directly before it, and only those at the front watch the
// holders. That is sound where "the one before me still waits" proves "I cannot be seated". It
// proves it when everything the other one may be short of is something I need as well:
//
//   X surely blocks W  <=>  X stands ahead and waits, each counter X claims W claims too, and if
//   X claims GPUs then so does W, every device W may use X may use, and X asks for one device or
//   for whole ones, and whichever of memory and compute X wants of a card W wants as well, unless one of
//   the two wants it whole. (Whatever X is short of is then closed to W; see plan.h.) If X is over quota, W must
//   be of the same user and count against all that X counts against: X closes nothing else (quota.h). And W must
//   not ask from inside of a lease that X cannot be seated beside (precedence.h): such a W passes X as soon as
//   nobody stands between them.
//
// A waiter with two sure blockers watches the two nearest: one of them may be stopped, and a
// stopped process tells nobody anything. A waiter with fewer watches every holder and every earlier
// waiter that may keep it from its seat. In one line of equals these are the first two.
//
// Who watches whom when jobs say how long they take. Then "the one before me still waits" proves nothing:
// a short job may fit into the hole that somebody leaves, past any number of others. So in a timed plan
// the rule looks at things, not at claims: of all who want a counter or a card the first two watch those
// that have some of it, and everybody watches the two nearest before it that want it. Then whoever goes,
// however many at once, somebody who stays was watching one of them; it looks, and rings whoever may sit
// down by then. A waiter that is held back though what it wants is free looks again by itself, when
// time alone could have changed the plan (Plan::look_again_us).
#pragma once

#include <array>
#include <vector>

#include "core/snapshot.h"
#include "sched/plan.h"

namespace berth {

// For each party index the indices of its two nearest sure blockers, nearest first; -1 for none.
using Chains = std::vector<std::array<int, 2>>;
[[nodiscard]] Chains sure_blockers(const Snapshot& snapshot, const Plan& plan);

// True if the two could ever want the same thing of the pool; quotas apart. For a holder its granted devices count, for
// a waiter the devices it may use.
[[nodiscard]] bool contend(const Snapshot& snapshot, int a, int b);

struct Watch {
  // Watch the lives of these. While all of them live and those who wait go on waiting, self cannot be
  // seated; of one that may sit down or sits down, self is told.
  std::vector<int> parties;
  // What may keep self from a seat, near or far: it contends with self, or with somebody ahead that
  // does, and so on. Far ones count because the near one may be stopped: it would not notice that
  // its turn has come, and so would not be passed over.
  std::vector<int> ahead;     // waiters, in line order
  std::vector<int> holders;   // unordered
  std::vector<int> entitled;  // of those ahead: free to sit down and not yet seated. Ring them
  // When to look again though nobody rang, and then ring whoever may sit down; -1: no need.
  int64_t look_again_us = -1;
};

// Requires plan.verdicts[self] == Verdict::wait.
[[nodiscard]] Watch watch(const Snapshot& snapshot, const Plan& plan, int self);

// Who must be rung when the pool changes is found in two halves, so that one snapshot serves both:
// the first before the change is made to it, the second after. `changed` lists the indices that
// vanish, are seated, step aside or shrink; nobody in it is ever returned.
//
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
