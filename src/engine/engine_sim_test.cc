// The engine in the simulated world: order, giving up, waking. One behaviour each.
#include <gtest/gtest.h>

#include "engine/sim_scenario.h"

namespace berth {
namespace {

// ---- order ----

TEST(EngineOrder, FirstComeFirstServedAmongEquals) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::vector<SimJob> jobs;
    for (int i = 0; i < 6; ++i) jobs.push_back(job(cpus(1), 10 + i));
    SimScenario scenario(pool_of(1), jobs, seed);
    const SimRun run = scenario.run();
    expect_prompt(run);
    ASSERT_EQ(joined(run.seated), "0 1 2 3 4 5") << "seed " << seed;
    EXPECT_EQ(run.jobs[5].seated_us - run.jobs[0].seated_us, 5 * second_us);
  }
}

TEST(EngineOrder, HigherPriorityGoesFirst) {
  std::vector<SimJob> jobs{job(cpus(1), 1), job(cpus(1), 2), job(cpus(1), 3)};
  jobs[2].priority = 1;
  SimScenario scenario(pool_of(1), jobs, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(joined(run.seated), "0 2 1");
}

TEST(EngineOrder, OneThatNeedsNothingOfWhatTheHeadWaitsForPassesIt) {
  Claim ram{{{"ram", 1}}, {}, {}};
  SimScenario scenario(pool_of(2), {job(cpus(2), 1), job(cpus(2), 2), job(ram, 3), job(cpus(1), 4)}, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(joined(run.seated), "0 2 1 3");
}

TEST(EngineOrder, SharesOfOneCardSitTogetherAndAWholeClaimWaitsForAnEmptyCard) {
  SimScenario scenario({}, {job(vram(8), 1), job(vram(8), 2), job(gpus(1), 3), job(gpus(1), 4)}, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[0].devices, std::vector<std::string>{"A"});
  EXPECT_EQ(run.jobs[1].devices, std::vector<std::string>{"A"});
  EXPECT_EQ(run.jobs[2].devices, std::vector<std::string>{"B"});
  EXPECT_GE(run.jobs[3].seated_us, run.jobs[1].seated_us + second_us);
}

// ---- giving up ----

TEST(EngineGivesUp, AtOnceWithoutWaiting) {
  std::vector<SimJob> jobs{job(cpus(1), 1), job(cpus(1), 2)};
  jobs[1].no_wait = true;
  SimScenario scenario(pool_of(1), jobs, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[1].ending, Ending::busy);
}

TEST(EngineGivesUp, WhenItCanNeverBe) {
  SimScenario scenario(pool_of(1), {job(cpus(2), 1), job(cpus(1), 2)}, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[0].ending, Ending::impossible);
  EXPECT_EQ(run.jobs[1].ending, Ending::seated);
}

TEST(EngineGivesUp, WhenTheTimeIsUpAndLetsThoseBehindIn) {
  std::vector<SimJob> jobs{job(cpus(1), 1), job(cpus(2), 2), job(cpus(1), 3)};
  jobs[1].gives_up_us = second_us / 2;
  SimScenario scenario(pool_of(2), jobs, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[1].ending, Ending::timed_out);
  EXPECT_EQ(run.jobs[2].seated_us - run.jobs[1].seated_us, run.jobs[2].seated_us + 1);
}

TEST(EngineGivesUp, WhenItIsCancelledAndLetsThoseBehindIn) {
  std::vector<SimJob> jobs{job(cpus(1), 1), job(cpus(2), 2), job(cpus(1), 3)};
  jobs[1].cancelled_us = second_us / 2;
  SimScenario scenario(pool_of(2), jobs, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[1].ending, Ending::cancelled);
  EXPECT_LT(run.jobs[2].seated_us, run.jobs[0].seated_us + second_us);
}

// Whoever asks for the lock just as somebody else has it still has to be gone afterwards: in a
// library the process, and so the life, goes on.
TEST(EngineGivesUp, LeavesNoRecordThoughTheLockIsTakenWhenTheTimeIsUp) {
  std::vector<SimJob> jobs{job(cpus(1), 1), job(cpus(1), 2)};
  jobs[1].gives_up_us = second_us - 1;  // at the very moment that the holder gives back
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimScenario scenario(pool_of(1), jobs, seed);
    const SimRun run = scenario.run();
    ASSERT_FALSE(run.jobs[1].left_behind) << "seed " << seed << ", ending " << static_cast<int>(run.jobs[1].ending);
  }
}

TEST(EngineGivesUp, LeavesNoRecordThoughTheLockIsTakenWhenItIsCancelled) {
  std::vector<SimJob> jobs{job(cpus(1), 1), job(cpus(1), 2)};
  jobs[1].cancelled_us = second_us + 1;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimScenario scenario(pool_of(1), jobs, seed);
    const SimRun run = scenario.run();
    ASSERT_FALSE(run.jobs[1].left_behind) << "seed " << seed << ", ending " << static_cast<int>(run.jobs[1].ending);
  }
}

TEST(EngineGivesBack, ThoughItIsCancelledAndTheLockIsTaken) {
  std::vector<SimJob> jobs{job(cpus(1), 1), job(cpus(1), 1)};
  jobs[0].cancelled_us = second_us / 2;  // a signal for the job, of which the waiting is long over
  jobs[1].cancelled_us = second_us / 2;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimScenario scenario(pool_of(2), jobs, seed);
    const SimRun run = scenario.run();
    for (const SimOutcome& o : run.jobs) ASSERT_FALSE(o.left_behind) << "seed " << seed;
  }
}

// ---- lost turns ----

// The first in line lacks ram, and has the small card set aside for it. The next waits for that very
// card. Who then sits down on the large one moves what is set aside, and so frees the small one.
TEST(EngineWakes, WhomANewcomersSeatHelps) {
  const auto on = [](Claim claim) {
    claim.eligible = {{"A", 24}, {"B", 16}};
    return claim;
  };
  Claim large = on(vram(16));
  large.counters = {{"ram", 100}};
  Claim small = vram(8);
  small.eligible = {{"B", 16}};
  const Claim ram{{{"ram", 1}}, {}, {}};
  std::vector<SimJob> jobs{job(ram, 1), job(large, 2), job(small, 3), job(on(vram(8)), 4)};
  jobs[0].holds_us = jobs[3].holds_us = 60 * second_us;
  SimScenario scenario(pool_of(1), jobs, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(joined(run.seated), "0 3 2 1");
  EXPECT_EQ(run.jobs[2].seated_us, run.jobs[3].seated_us);
}

// The same, where the newcomer only stands in line, but before the others.
TEST(EngineWakes, WhomANewcomersReservationHelps) {
  const auto on = [](Claim claim) {
    claim.eligible = {{"A", 24}, {"B", 16}};
    return claim;
  };
  Claim large = on(vram(16));
  large.counters = {{"ram", 100}};
  Claim small = vram(8);
  small.eligible = {{"B", 16}};
  Claim first = on(vram(8));
  first.counters = {{"ram", 100}};
  const Claim ram{{{"ram", 1}}, {}, {}};
  std::vector<SimJob> jobs{job(ram, 1), job(large, 2), job(small, 3), job(first, 4)};
  jobs[0].holds_us = 60 * second_us;
  jobs[3].priority = 2;
  SimScenario scenario(pool_of(1), jobs, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[2].seated_us - run.jobs[0].seated_us, 3);
}

TEST(EngineWakes, ThoseWhoseLeaseWasEvictedAndThoseBehindThem) {
  SimScenario scenario(pool_of(1), {job(cpus(1), 1), job(cpus(1), 2), job(cpus(1), 3)}, 1);
  scenario.world.add(0, [&](SimLedger& ledger) {
    ledger.pause(second_us / 2);
    Engine engine(ledger, [] { return PoolConfig{}; });
    const auto key_of = [&](int job) {
      const SimParty& party = scenario.world.party(job);
      return PartyKey::of(party.id, std::to_string(party.uid));
    };
    EXPECT_TRUE(engine.evict(key_of(1)).ok());
    EXPECT_TRUE(engine.evict(key_of(0)).ok());
    EXPECT_EQ(engine.evict(key_of(0)).error().kind, ErrorKind::not_found);
  });
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[1].error, "our place in line was removed from the pool");
  EXPECT_EQ(run.jobs[2].seated_us - run.jobs[0].seated_us, second_us / 2 - 1);
}

TEST(EngineWakes, ThoseWhomALargerPoolHelps) {
  SimScenario scenario(pool_of(1), {job(cpus(1), 1), job(cpus(1), 2), job(cpus(1), 3)}, 1);
  scenario.world.add(0, [&](SimLedger& ledger) {
    ledger.pause(second_us / 2);
    Engine engine(ledger, [] { return PoolConfig{}; });
    const auto grown = engine.configure([](PoolConfig& config) {
      config.capacities[0].amount = 3;
      return success();
    });
    EXPECT_TRUE(grown.ok());
  });
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[2].seated_us - run.jobs[0].seated_us, second_us / 2 - 1);
}

// The pool is made too small for one who waits, and then the holder that it watched goes; later the
// pool grows again. A wait that returns at once for ever shows as too many steps.
TEST(EngineWakes, NotWithoutEndWhoCanNeverBeSeatedAnyMore) {
  SimScenario scenario(pool_of(2), {job(cpus(1), 1), job(cpus(2), 2)}, 1);
  scenario.world.add(0, [&](SimLedger& ledger) {
    Engine engine(ledger, [] { return PoolConfig{}; });
    for (const int64_t amount : {1, 2}) {
      ledger.pause(5 * second_us);
      EXPECT_TRUE(engine
                      .configure([&](PoolConfig& config) {
                        config.capacities[0].amount = amount;
                        return success();
                      })
                      .ok());
      if (amount == 1) scenario.world.kill(0);
    }
  });
  SimJob& holder = scenario.jobs()[0];
  holder.holds_us = 60 * second_us;
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[1].seated_us - scenario.world.now_us(), -second_us);
}

// ---- stopped waiters ----

// Stops that party for good at its first step from `from_us` on.
void stop_at(SimScenario& scenario, int party, int64_t at_us, int64_t for_us) {
  SimWorld& world = scenario.world;
  world.at(world.now_us() + at_us, [&world, party, for_us] { world.stop(party, for_us); });
}

TEST(EngineStops, AStoppedWaiterIsPassedOverWithinItsTimeAndKeepsItsPlace) {
  SimScenario scenario(pool_of(1), {job(cpus(1), 1), job(cpus(1), 2), job(cpus(1), 3), job(cpus(1), 4)}, 1);
  stop_at(scenario, 1, 10, second_us + second_us / 2);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(joined(run.seated), "0 2 1 3");
}

TEST(EngineStops, TwoStoppedWaitersAreBothPassedOver) {
  SimScenario scenario(pool_of(1), {job(cpus(1), 1), job(cpus(1), 2), job(cpus(1), 3), job(cpus(1), 4)}, 1);
  stop_at(scenario, 1, 10, 10 * second_us);
  stop_at(scenario, 2, 10, 10 * second_us);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(joined(run.seated), "0 3 1 2");
}

TEST(EngineStops, SteppingAsideLetsThoseBehindInAtOnceAndComingBackFindsTheOldPlace) {
  std::vector<SimJob> jobs{job(cpus(1), 1), job(cpus(1), 2), job(cpus(1), 3), job(cpus(1), 4)};
  jobs[1].cancelled_us = 10;
  jobs[1].steps_aside_us = second_us + second_us / 2;
  SimScenario scenario(pool_of(1), jobs, 1);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(joined(run.seated), "0 2 1 3");
  EXPECT_EQ(run.jobs[2].seated_us - run.jobs[0].seated_us, second_us);
}

// The last waits behind the second for ram, and the second for a cpu of which the holder dies. The
// second should tell, but it is stopped.
TEST(EngineStops, AHolderThatDiesIsSeenPastTheStoppedWaiterThatWatchedIt) {
  const Claim both{{{"cpu", 1}, {"ram", 1}}, {}, {}};
  const Claim ram{{{"ram", 100}}, {}, {}};
  SimScenario scenario(pool_of(1), {job(cpus(1), 1), job(both, 2), job(ram, 3)}, 1);
  stop_at(scenario, 1, 10, 60 * second_us);
  scenario.world.at(scenario.world.now_us() + 100, [&] { scenario.world.kill(0); });
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_LE(run.jobs[2].seated_us, scenario.world.now_us());
}

// Three wait behind the stopped one. The two nearest wait for a card as well, that nobody gives back
// for long; the third could sit down.
TEST(EngineStops, AllWhoCouldSitDownAreRungAndNotOnlyTheTwoNearest) {
  const Claim both{{{"cpu", 2}, {"ram", 100}}, {}, {}};
  Claim cpu_and_card = gpus(1, {"A"});
  cpu_and_card.counters = {{"cpu", 1}};
  const Claim ram{{{"ram", 1}}, {}, {}};
  std::vector<SimJob> jobs{job(gpus(1, {"A"}), 1), job(cpus(2), 2),      job(both, 3),
                           job(cpu_and_card, 4),   job(cpu_and_card, 5), job(ram, 6)};
  jobs[0].holds_us = 30 * second_us;
  SimScenario scenario(pool_of(2), jobs, 1);
  stop_at(scenario, 2, 10, 60 * second_us);
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_LE(run.jobs[5].seated_us - run.jobs[1].seated_us, second_us + past_a_stopped_one_us);
}

// As `fg` after Ctrl-Z, just when others have the lock.
TEST(EngineStops, WhoSteppedAsideIsBackInLineThoughTheLockIsTakenWhenItContinues) {
  std::vector<SimJob> jobs{job(cpus(1), 1), job(cpus(1), 2), job(cpus(1), 3)};
  jobs[1].cancelled_us = 10;
  jobs[1].steps_aside_us = second_us - 9;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimScenario scenario(pool_of(1), jobs, seed);
    const SimRun run = scenario.run();
    ASSERT_EQ(run.report.broken, "") << "seed " << seed;
    ASSERT_EQ(run.jobs[1].ending, Ending::seated) << "seed " << seed;
  }
}

// The dead of another user lie in the pool until somebody may remove them. They count as nothing for
// who found them dead, and must count as nothing when those who wait are told of a change.
TEST(EngineStops, SteppingAsideLetsInWhoKnowsThatTheHolderIsDeadThoughItsRecordCannotBeRemoved) {
  const Claim both{{{"cpu", 1}, {"ram", 100}}, {}, {}};
  const Claim ram{{{"ram", 100}}, {}, {}};
  std::vector<SimJob> jobs{job(ram, 1), job(cpus(1), 2), job(both, 3), job(ram, 4)};
  jobs[0].uid = 1002;
  jobs[1].holds_us = 60 * second_us;
  jobs[2].cancelled_us = second_us;
  jobs[2].steps_aside_us = 30 * second_us;
  SimScenario scenario(pool_of(1), jobs, 1);
  scenario.world.at(scenario.world.now_us() + 100, [&] { scenario.world.kill(0); });
  const SimRun run = scenario.run();
  expect_prompt(run);
  EXPECT_EQ(run.jobs[3].seated_us - run.jobs[1].seated_us, second_us - 2);
}

// Whoever tells people of a wait is woken for it, and that is all that happens then.
TEST(EngineOrder, AWakeUpToTellOfAWaitIsNoLookAtThePool) {
  constexpr int64_t pace_us = 70'000;
  std::vector<int> calls(2, 0);
  const auto run = [&](bool tells) {
    SimScenario scenario(pool_of(1), {job(cpus(1)), job(cpus(1), 1000)}, 1);
    if (tells)
      scenario.tells = [&](SimLedger& ledger, size_t index, const Waiting&) {
        ++calls[index];
        return ledger.now_monotonic_us() + pace_us;
      };
    return scenario.run();
  };
  const SimRun quiet = run(false);
  const SimRun telling = run(true);
  expect_prompt(telling);
  EXPECT_EQ(telling.jobs[1].seated_us - telling.jobs[0].seated_us, quiet.jobs[1].seated_us - quiet.jobs[0].seated_us);
  EXPECT_GE(calls[1], 14) << "a second of waiting, at its pace";
  EXPECT_EQ(calls[0], 0);
  EXPECT_EQ(telling.steps[1] - quiet.steps[1], calls[1] - 1) << "one sleep each, and nothing else";
}

TEST(EngineOrder, ACancelThatMeansNothingIsNoLookAtThePool) {
  const auto run = [](int64_t cancelled_us) {
    SimJob waiter = job(cpus(1), 1000);
    waiter.cancelled_us = cancelled_us;
    waiter.sleeps_on = true;
    return SimScenario(pool_of(1), {job(cpus(1)), waiter}, 1).run();
  };
  const SimRun quiet = run(-1);
  const SimRun disturbed = run(500'000);
  expect_prompt(disturbed);
  EXPECT_EQ(disturbed.jobs[1].seated_us - disturbed.jobs[0].seated_us,
            quiet.jobs[1].seated_us - quiet.jobs[0].seated_us);
  EXPECT_EQ(disturbed.steps[1] - quiet.steps[1], 1) << "it sleeps again, and nothing else";
}

}  // namespace
}  // namespace berth
