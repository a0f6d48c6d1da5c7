// Where traces come from: made up by a seed, or converted from what others have recorded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sim/trace.h"

namespace berth::sim {

// A box of eight cards of 80 GiB, 96 processors and 768 GiB.
[[nodiscard]] Box eight_cards();

enum class Kind : uint8_t {
  lab,     // a dozen people, by day more than by night: training on 1 to 8 cards, notebooks, evaluation
  agents,  // agents that build, test and load small models, minutes each, beside training and wide evaluations
  hog,     // a lab in which one user hands in half of the work, in arrays
  sweep,   // arrays of equal single-card jobs, and larger ones in between
};

// So many jobs, arriving so that the load is 1; times as truth, no estimates.
[[nodiscard]] Trace generate(Kind kind, size_t jobs, uint64_t seed);

// openb_pod_list_default.csv of Alibaba's cluster-trace-gpu-v2023: every `every`-th task of those that
// ran, beginning with number `from`, on a box of eight cards of 80 GiB with 128 processors and 1 TiB.
// A part of a card is the same part of its compute and of its memory. The first tenth of the tasks came
// over four fifths of the recorded time and is left out; who ran longer than a day is taken to have
// run a day.
[[nodiscard]] Result<Trace> convert_openb(std::string_view csv, size_t every, size_t from);

// The Standard Workload Format (Feitelson's archive): a processor is a "cpu" of the box, which has as many
// as the header's MaxProcs; memory is left out. The estimate is the requested time.
[[nodiscard]] Result<Trace> convert_swf(std::string_view text);

}  // namespace berth::sim
