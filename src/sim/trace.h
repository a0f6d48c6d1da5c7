// Trace: jobs as they come, for the simulator. A plain value, and its text.
//
//   # berth trace 1
//   pool cpu=96 ram=768G gpus=8x80G
//   # arrival run expect priority user label claim
//   0      3600 4000 0 alice train  gpus=2 cpu=8 ram=32G
//   12.5   60   -    0 bob   embed  gpus=1 vram=8G compute=20
//
// One job a line, words apart by blanks: when it comes and how long it truly runs, in seconds; how long
// it says it will take, or "-"; priority; user and label; then what it claims, as the words of berth run:
// cpu, ram and any counter of the pool; gpus whole, or with vram and compute shares of each. '#' begins a
// comment. Jobs need not be in order. A claim that the pool could never meet is an error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/claim.h"

namespace berth::sim {

struct TraceJob {
  int64_t arrival_us = 0;
  int64_t run_us = 0;
  int64_t expect_s = 0;  // 0: it does not say
  int priority = 0;
  std::string user = "-";
  std::string label = "-";
  std::vector<NamedAmount> counters;
  GpuClaim gpu;
};

// One box: its counters and so many equal cards.
struct Box {
  std::vector<NamedAmount> capacities;
  int gpus = 0;
  int64_t vram_bytes = 0;  // of each
};

struct Trace {
  Box box;
  std::vector<TraceJob> jobs;  // by arrival
};

[[nodiscard]] Result<Trace> parse_trace(std::string_view text);
[[nodiscard]] std::string show_trace(const Trace& trace);

// Whether an empty box has room for it.
[[nodiscard]] bool possible(const Box& box, const TraceJob& job);

// How much of the box's scarcest resource the jobs ask for while they come, in parts of one: their
// work over what the box can do between the first arrival and the last.
[[nodiscard]] double offered_load(const Trace& trace);
// Stretches or squeezes the arrivals so that the offered load is this.
void scale_to_load(Trace& trace, double load);

// What jobs say of themselves: the truth, nothing, or the truth times 3^u, u uniform in [-1, 1].
enum class Estimates : uint8_t { as_given, none, exact, wrong };
void estimate(Trace& trace, Estimates estimates, uint64_t seed);

// How much of one resource a job takes, in parts of the box, for each of them: the counters, then the cards.
[[nodiscard]] std::vector<double> shares(const Box& box, const TraceJob& job);

}  // namespace berth::sim
