// Schedule: when each job of a trace ran and on which cards, however that was decided; and what it is worth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/trace.h"

namespace berth::sim {

struct Placement {
  int64_t start_us = -1;  // -1: it never ran
  std::vector<int> cards;
};

struct Schedule {
  std::string name;
  std::vector<Placement> jobs;  // as in the trace
  int64_t looks = 0;            // times that a party looked at the pool
  int64_t plans = 0;            // times that a plan was made
};

struct Score {
  double utilisation = 0;  // of the scarcest resource, from the first arrival to the last end
  double makespan_s = 0;   // the same span
  double mean_wait_s = 0;
  double worst_wait_s = 0;
  double p95_wait_s = 0;
  double fairness = 1;       // Jain's index of the users' mean slowdowns (waits under 10 s of run count as 10 s)
  double others_wait_s = 0;  // mean of the mean waits of all users but the one who asks for most
  double over_bound = 1;     // makespan over the lower bound for any schedule of this trace
};

[[nodiscard]] Score score(const Trace& trace, const Schedule& schedule);

// No schedule ends sooner: every job needs its time after it came, and for each resource what comes after
// any moment needs the room that the box has.
[[nodiscard]] double makespan_bound_s(const Trace& trace);

// "" if at no time more was given than there is, and nobody ran before it came.
[[nodiscard]] std::string fault(const Trace& trace, const Schedule& schedule);

// One row a card and a counter, one box a job, as a picture.
[[nodiscard]] std::string draw(const Trace& trace, const Schedule& schedule);

}  // namespace berth::sim
