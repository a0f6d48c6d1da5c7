// The simulator's parties look only when they are told to; that must come to what everybody sees.
#include "sim/replay.h"

#include <gtest/gtest.h>

#include "sim/baselines.h"
#include "sim/sources.h"

namespace berth::sim {
namespace {

void expect_same(const Trace& trace, Manner manner = {}) {
  const Schedule rung = replay(trace, manner);
  manner.looking = Looking::at_changes;
  const Schedule seen = replay(trace, manner);
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

TEST(Replay, WhoIsRungSeesAllThatMattersUnderQuotasAndFairShare) {
  Manner manner;
  manner.policy.quotas = {{"gpus", 8}, {"cpu", 64}};
  manner.policy.fair_share = true;
  for (const Kind kind : {Kind::lab, Kind::agents, Kind::hog})
    for (const Saying saying : {Saying::as_given, Saying::learned})
      for (uint64_t seed = 1; seed <= 3; ++seed) {
        Trace trace = generate(kind, 150, seed);
        scale_to_load(trace, 1.2);
        estimate(trace, Estimates::none, seed);
        for (size_t i = 0; i < trace.jobs.size(); i += 7) trace.jobs[i].priority = static_cast<int>(i % 3);
        manner.saying = saying;
        expect_same(trace, manner);
      }
}

TEST(Replay, LearnsFromWhatHasEndedOfTheSameUserAndLabel) {
  const auto trace = parse_trace(R"(pool cpu=2
0   60 - 0 v long  cpu=1
0   10 - 0 u short cpu=1
20  10 - 0 u short cpu=1
40  10 - 0 u short cpu=1
100 60 - 0 v long  cpu=1
200 60 - 0 v long  cpu=1
400 60 - 0 v long  cpu=1
401 50 - 0 v wide  cpu=2
402 10 - 0 u short cpu=1
403 10 - 0 w short cpu=1
)");
  ASSERT_TRUE(trace.ok());
  const Schedule silent = replay(*trace, {});
  const Schedule learned = replay(*trace, {.saying = Saying::learned});
  EXPECT_EQ(silent.jobs[8].start_us, 510'000'000) << "nobody knows how long anybody takes, and it came last";
  EXPECT_EQ(learned.jobs[8].start_us, 402'000'000) << "it is known to be gone in time";
  EXPECT_EQ(learned.jobs[9].start_us, 510'000'000) << "of another user's nothing is known";
}

TEST(Replay, FairShareServesThoseWhoAskForLittle) {
  Trace trace = generate(Kind::hog, 400, 1);
  scale_to_load(trace, 1.2);
  estimate(trace, Estimates::exact, 1);
  Manner fair;
  fair.policy.fair_share = true;
  fair.policy.max_debt_s = 86'400;
  const Score without = score(trace, replay(trace, {}));
  const Score with = score(trace, replay(trace, fair));
  EXPECT_LT(with.others_wait_s, 0.7 * without.others_wait_s);
}

TEST(Baselines, GiveNoMoreThanThereIs) {
  const Trace trace = generate(Kind::lab, 200, 1);
  for (const Baseline b : {Baseline::flock, Baseline::small_first, Baseline::fifo, Baseline::easy, Baseline::shortest})
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
