// The simulator's parties look only when they are told to; that must come to what everybody sees.
#include "sim/replay.h"

#include <gtest/gtest.h>

#include "sim/baselines.h"
#include "sim/sources.h"

namespace berth::sim {
namespace {

void expect_same(const Trace& trace) {
  const Schedule rung = replay(trace, Looking::when_rung);
  const Schedule seen = replay(trace, Looking::at_changes);
  EXPECT_EQ(fault(trace, rung), "");
  for (size_t i = 0; i < trace.jobs.size(); ++i) ASSERT_EQ(rung.jobs[i].start_us, seen.jobs[i].start_us) << "job " << i;
}

TEST(Replay, WhoIsRungSeesAllThatMatters) {
  for (const Kind kind : {Kind::lab, Kind::agents, Kind::sweep})
    for (const Estimates estimates : {Estimates::exact, Estimates::wrong, Estimates::none})
      for (uint64_t seed = 1; seed <= 3; ++seed) {
        Trace trace = generate(kind, 150, seed);
        scale_to_load(trace, 1.2);
        estimate(trace, estimates, seed);
        for (size_t i = 0; i < trace.jobs.size(); i += 7) trace.jobs[i].priority = static_cast<int>(i % 3);
        for (size_t i = 0; i < trace.jobs.size(); i += 5) trace.jobs[i].expect_s = 0;
        expect_same(trace);
      }
}

TEST(Baselines, GiveNoMoreThanThereIs) {
  const Trace trace = generate(Kind::lab, 200, 1);
  for (const Baseline b : {Baseline::flock, Baseline::small_first, Baseline::fifo, Baseline::easy})
    EXPECT_EQ(fault(trace, run_baseline(trace, b, 1)), "");
}

TEST(Trace, SurvivesBeingWrittenAndRead) {
  Trace trace = generate(Kind::agents, 50, 3);
  estimate(trace, Estimates::exact, 1);
  const std::string text = show_trace(trace);
  const auto again = parse_trace(text);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(show_trace(*again), text);
  for (const char* bad : {"0 1 - 0 u l cpu=1\n", "pool cpu=1\n0 1 - 0 u l cpu=2\n", "pool cpu=1\n0 x - 0 u l cpu=1\n",
                          "pool cpu=1\n0 1 - 0 u l\n", "pool gpus=1\n"})
    EXPECT_FALSE(parse_trace(bad).ok()) << bad;
}

TEST(Swf, TakesProcessorsTimesAndRequests) {
  const auto trace = convert_swf("; MaxProcs: 64\n1 10 0 100 4 -1 -1 8 200 -1 1 3 1 1 1 -1 -1 -1\n2 20 0 -1 4\n");
  ASSERT_TRUE(trace.ok());
  ASSERT_EQ(trace->jobs.size(), 1U);
  EXPECT_EQ(trace->box.capacities[0].amount, 64);
  EXPECT_EQ(trace->jobs[0].counters[0].amount, 8);
  EXPECT_EQ(trace->jobs[0].run_us, 100'000'000);
  EXPECT_EQ(trace->jobs[0].expect_s, 200);
}

}  // namespace
}  // namespace berth::sim
