// What berth's plan is compared with, on the same trace and with the same choice of cards.
#pragma once

#include "sim/schedule.h"

namespace berth::sim {

enum class Baseline : uint8_t {
  flock,        // at every end all who wait try, in the random order in which the kernel wakes them
  small_first,  // every ten seconds all who wait try, the smallest first
  fifo,         // strictly in order: nobody passes anybody
  shortest,     // at every end all who wait try, the least work first: it knows all runs and heeds nobody's turn
  easy,         // EASY: the first in line has a reservation, anybody may pass who does not delay it
};

[[nodiscard]] Schedule run_baseline(const Trace& trace, Baseline baseline, uint64_t seed);

}  // namespace berth::sim
