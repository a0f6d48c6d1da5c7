// Processors of one's own in the simulated world: never of two owners, and whoever lacks them waits and wakes.
#include <gtest/gtest.h>

#include "engine/sim_scenario.h"

namespace berth {
namespace {

SimJob pinned(int64_t count, std::string may_run_on, int64_t comes_us) {
  SimJob out = job(cpus(count), comes_us);
  out.may_run_on = std::move(may_run_on);
  return out;
}

TEST(EngineProcessors, AreNobodyElses) {
  SimScenario scenario(pool_of(4), {pinned(2, "0-3", 1), pinned(1, "0-3", 2), job(cpus(1), 3), pinned(1, "0-3", 4)}, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[0].processors, "0-1");
  EXPECT_EQ(run.jobs[1].processors, "2");
  EXPECT_EQ(run.jobs[2].processors, "");
  EXPECT_EQ(run.jobs[3].processors, "0") << "the first to be free again";
}

// The book has room; but what it may run on is another's. It holds up nobody, and comes in as soon as that one ends.
TEST(EngineProcessors, WaitForWhoHasTheOnesThatItMayUse) {
  std::vector<SimJob> jobs{pinned(1, "0", 1), pinned(1, "0", 2), job(cpus(1), 3)};
  jobs[0].holds_us = 60 * second_us;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimScenario scenario(pool_of(4), jobs, seed);
    const SimRun run = scenario.run();
    EXPECT_EQ(run.report.broken, "");
    EXPECT_EQ(joined(run.seated), "0 2 1");
    EXPECT_LT(run.jobs[2].seated_us, run.jobs[0].seated_us + second_us);
    EXPECT_GE(run.jobs[1].seated_us, run.jobs[0].seated_us + 60 * second_us);
    EXPECT_LT(run.jobs[1].seated_us, run.jobs[0].seated_us + 60 * second_us + 50'000)
        << "it is woken, and need not look";
  }
}

TEST(EngineProcessors, AreRefusedAtOnceWithNoWait) {
  std::vector<SimJob> jobs{pinned(1, "0", 1), pinned(1, "0", 2)};
  jobs[1].no_wait = true;
  SimScenario scenario(pool_of(4), jobs, 1);
  const SimRun run = scenario.run();
  EXPECT_EQ(run.jobs[1].ending, Ending::busy);
}

// Kills at every step of either of them: the dead own nothing, and the living never the same.
TEST(EngineProcessors, OfTheDeadAreFree) {
  const std::vector<SimJob> jobs{pinned(2, "0-1", 1), pinned(2, "0-1", 2), pinned(1, "1-2", 3), pinned(1, "0-3", 4)};
  SimScenario whole(pool_of(8), jobs, 7);
  const std::vector<int> steps = whole.run().steps;
  for (int victim = 0; victim < static_cast<int>(jobs.size()); ++victim) {
    for (int step = 1; step <= steps[static_cast<size_t>(victim)]; ++step) {
      SimScenario scenario(pool_of(8), jobs, 7);
      scenario.world.fate = [&](const SimParty& party, int nth, std::string_view) {
        return party.index == victim && nth == step ? SimFate{SimFate::die, 0} : SimFate{};
      };
      const SimRun run = scenario.run();
      ASSERT_EQ(run.report.broken, "") << victim << " killed at step " << step;
      for (size_t i = 0; i < jobs.size(); ++i) {
        if (static_cast<int>(i) == victim) continue;
        ASSERT_TRUE(run.jobs[i].returned && run.jobs[i].ending == Ending::seated)
            << i << " after " << victim << " was killed at step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace berth
