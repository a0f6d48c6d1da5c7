// Whom a waiter has to keep an eye on. Pure, like plan(). rings.h says who must be told of a change.
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

#include <cstdint>
#include <vector>

#include "core/snapshot.h"
#include "sched/plan.h"

namespace berth {

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

}  // namespace berth
