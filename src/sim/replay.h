// Replay: a trace through the real plan(), with a clock turned by hand.
//
// The parties act as real ones do. Each comes into the line at its time, and from then on looks at the pool
// only when it is rung, by those who change the pool and as sched/watch.h says, or at the time that its last
// look told it to look again; it seats itself if the plan does, and leaves when its time is over. The
// engine's order of things is kept (engine.cc); death, silence and locks are not simulated here.
//
// A plan is a function of the pool and the time: those who look at the same pool at the same time get the
// one that the first of them made.
#pragma once

#include "core/policy.h"
#include "sim/schedule.h"

namespace berth::sim {

enum class Looking : uint8_t {
  when_rung,   // as real parties
  at_changes,  // everybody, whenever anything changes: what the rings have to live up to
};

// What a job says of how long it takes: what the trace says, or what berth run --expect learned would find
// out from those of its user and label that have ended by then.
enum class Saying : uint8_t { as_given, learned };

struct Manner {
  Looking looking = Looking::when_rung;
  Saying saying = Saying::as_given;
  Policy policy{};
};

[[nodiscard]] Schedule replay(const Trace& trace, const Manner& manner);

}  // namespace berth::sim
