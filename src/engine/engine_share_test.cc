// Fair share and quotas on a simulated pool: who is seated first, and that nobody is forgotten.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "engine/sim_scenario.h"

namespace berth {
namespace {

PoolConfig fair_pool(int64_t cpu) {
  PoolConfig config = pool_of(cpu);
  config.policy.fair_share = true;
  return config;
}

SimJob by(int uid, int64_t comes_us, int64_t holds_us) {
  SimJob out = job(cpus(1), comes_us);
  out.uid = uid;
  out.holds_us = holds_us;
  return out;
}

TEST(EngineFairShare, WhoHadLessLatelyGoesFirst) {
  const std::vector<SimJob> jobs{by(1001, 0, 20 * second_us), by(1003, 1 * second_us, 20 * second_us),
                                 by(1001, 30 * second_us, second_us), by(1002, 31 * second_us, second_us)};
  SimScenario fifo(pool_of(1), jobs, 1);
  EXPECT_EQ(joined(fifo.run().seated), "0 1 2 3");
  SimScenario fair(fair_pool(1), jobs, 1);
  const SimRun run = fair.run();
  EXPECT_EQ(joined(run.seated), "0 1 3 2");
  expect_prompt(run);
}

TEST(EngineFairShare, WhoQueuesManyTakesTurnsWithWhoQueuesFew) {
  std::vector<SimJob> jobs{by(1003, 0, 20 * second_us)};
  for (int i = 1; i <= 6; ++i) jobs.push_back(by(1001, i * second_us, second_us));
  jobs.push_back(by(1002, 7 * second_us, second_us));
  jobs.push_back(by(1002, 8 * second_us, second_us));
  SimScenario scenario(fair_pool(1), jobs, 2);
  const SimRun run = scenario.run();
  EXPECT_EQ(joined(run.seated), "0 1 7 2 8 3 4 5 6");
  expect_prompt(run);
}

TEST(EngineFairShare, WhatADeadOneHadIsChargedByWhoBuriesIt) {
  std::vector<SimJob> jobs{by(1001, 0, 1000 * second_us), by(1003, 51 * second_us, 20 * second_us),
                           by(1001, 52 * second_us, 40 * second_us), by(1001, 60 * second_us, second_us),
                           by(1002, 61 * second_us, second_us)};
  jobs[3].holds_us = second_us;
  SimScenario scenario(fair_pool(1), jobs, 3);
  scenario.world.at(scenario.world.now_us() + 50 * second_us, [&] { scenario.world.kill(0); });
  const SimRun run = scenario.run();
  EXPECT_EQ(run.report.broken, "");
  EXPECT_LT(run.jobs[4].turn, run.jobs[3].turn) << "1001 had 50 s, though nobody gave them back";
}

TEST(EngineFairShare, APriorityGoesFirstAllTheSame) {
  std::vector<SimJob> jobs{by(1001, 0, 20 * second_us), by(1003, 1 * second_us, 20 * second_us),
                           by(1002, 30 * second_us, second_us), by(1001, 31 * second_us, second_us)};
  jobs[3].priority = 1;
  SimScenario scenario(fair_pool(1), jobs, 1);
  EXPECT_EQ(joined(scenario.run().seated), "0 1 3 2");
}

TEST(EngineQuota, WhoIsOverItIsPassedAndSeatedWhenItsUsersOwnIsGone) {
  PoolConfig config = pool_of(2);
  config.policy.quotas = {{"cpu", 1}};
  SimScenario scenario(
      config, {by(1001, 0, 10 * second_us), by(1001, second_us, second_us), by(1002, 2 * second_us, 5 * second_us)}, 1);
  const SimRun run = scenario.run();
  EXPECT_EQ(joined(run.seated), "0 2 1");
  EXPECT_EQ(run.jobs[2].seated_us - run.jobs[0].seated_us, 2 * second_us) << "at once";
  expect_prompt(run);
}

// Kills, whatever order: no promise is broken, no place lies idle, and nobody has more than his quota.
RC_GTEST_PROP(EngineQuotaAlways, NobodyIsForgotten, ()) {
  PoolConfig config = pool_of(*rc::gen::inRange(1, 4));
  config.policy.quotas = {{"cpu", *rc::gen::inRange(1, 3)}};
  config.policy.fair_share = *rc::gen::inRange(0, 2) == 0;
  std::vector<SimJob> jobs;
  for (int i = *rc::gen::inRange(2, 9); i > 0; --i) {
    jobs.push_back(
        by(*rc::gen::inRange(1001, 1004), *rc::gen::inRange(0, 6) * second_us, *rc::gen::inRange(1, 6) * second_us));
    jobs.back().claim = cpus(1);
    jobs.back().priority = *rc::gen::inRange(0, 2);
    if (*rc::gen::inRange(0, 4) == 0) jobs.back().expect_s = *rc::gen::inRange(1, 6);
    if (*rc::gen::inRange(0, 6) == 0) jobs.back().gives_up_us = *rc::gen::inRange(1, 4) * second_us;
  }
  SimScenario scenario(config, jobs, *rc::gen::arbitrary<uint32_t>());
  if (*rc::gen::inRange(0, 2) == 0) {
    const int victim = *rc::gen::inRange(0, static_cast<int>(jobs.size()));
    scenario.world.at(scenario.world.now_us() + *rc::gen::inRange(1, 8) * second_us,
                      [&, victim] { scenario.world.kill(victim); });
  }
  const SimRun run = scenario.run();
  RC_ASSERT(run.report.broken == "");
  RC_ASSERT(run.report.idle_us[0] == 0);
  std::map<int64_t, std::map<int, int>> changes;  // when, of whom
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (run.jobs[i].seated_us < 0 || !run.jobs[i].gave_back) continue;
    ++changes[run.jobs[i].seated_us][jobs[i].uid];
    --changes[run.jobs[i].seated_us + jobs[i].holds_us][jobs[i].uid];
  }
  std::map<int, int> holding;
  for (const auto& [at_us, of] : changes)
    for (const auto& [uid, change] : of) {
      holding[uid] += change;
      RC_ASSERT(holding[uid] <= config.policy.quotas[0].most);
    }
}

}  // namespace
}  // namespace berth
