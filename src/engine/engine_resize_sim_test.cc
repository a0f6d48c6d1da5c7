// Resizing in the simulated world: leases change their size while others come, wait, go and are killed.
#include <gtest/gtest.h>

#include <random>

#include "engine/sim_scenario.h"

namespace berth {
namespace {

PartyKey key_of(SimScenario& scenario, int job) {
  const SimParty& party = scenario.world.party(job);
  return PartyKey::of(party.id, std::to_string(party.uid));
}

TEST(EngineResizes, LessIsFreeAtOnceForWhoeverFits) {
  SimScenario scenario(pool_of(4), {job(cpus(4), 1), job(cpus(3), 2), job(cpus(1), 3)}, 1);
  scenario.world.add(1001, [&](SimLedger& ledger) {
    for (const int64_t amount : {3, 1}) {
      ledger.pause(second_us / 4);
      Engine engine(ledger, [] { return PoolConfig{}; });
      const auto resized = engine.resize(key_of(scenario, 0), {{{"cpu", amount}}, 0, 0, 0});
      ASSERT_TRUE(resized.ok());
      EXPECT_TRUE(resized->fits);
    }
  });
  const SimRun run = scenario.run();
  expect_prompt(run);
  // The one that wants 3 is first in line, and keeps the one that is free for itself.
  EXPECT_EQ(run.jobs[1].seated_us - run.jobs[0].seated_us, second_us / 2 - 1);
}

TEST(EngineResizes, MoreIsGivenOnlyBehindThoseWhoWaitForIt) {
  SimScenario scenario(pool_of(4), {job(cpus(2), 1), job(cpus(3), 2)}, 1);
  scenario.world.add(1001, [&](SimLedger& ledger) {
    ledger.pause(second_us / 4);
    Engine engine(ledger, [] { return PoolConfig{}; });
    const auto grow = [&](int64_t amount) { return engine.resize(key_of(scenario, 0), {{{"cpu", amount}}, 0, 0, 0}); };
    EXPECT_FALSE(grow(3)->fits);
    EXPECT_FALSE(grow(5)->shortfalls.empty());
    scenario.world.kill(1);
    EXPECT_TRUE(grow(3)->fits);
    EXPECT_EQ(engine.resize(key_of(scenario, 1), {{{"cpu", 1}}, 0, 0, 0}).error().kind, ErrorKind::usage);
  });
  expect_prompt(scenario.run());
}

TEST(EngineResizes, OnlyOnesOwn) {
  SimScenario scenario(pool_of(4), {job(cpus(2), 1)}, 1);
  scenario.world.add(1002, [&](SimLedger& ledger) {
    ledger.pause(second_us / 4);
    Engine engine(ledger, [] { return PoolConfig{}; });
    EXPECT_EQ(engine.resize(key_of(scenario, 0), {{{"cpu", 1}}, 0, 0, 0}).error().kind, ErrorKind::not_yours);
  });
  expect_prompt(scenario.run());
}

// The world checks after every step that nothing is granted twice and that nobody who may sit down sleeps on.
TEST(EngineResizes, AnythingAtAnyTimeWhoeverDies) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    const auto any = [&](int most) { return 1 + static_cast<int>(random() % static_cast<unsigned>(most)); };
    std::vector<SimJob> jobs;
    for (int i = 0; i < 7; ++i) {
      jobs.push_back(random() % 2 == 0 ? job(cpus(any(4)), i) : job(vram(any(16)), i));
      jobs.back().holds_us = any(4) * second_us / 2;
    }
    SimScenario scenario(pool_of(4), jobs, seed);
    for (int resizer = 0; resizer < 2; ++resizer)
      scenario.world.add(1001, [&, resizer](SimLedger& ledger) {
        std::mt19937_64 own(seed * 2 + static_cast<uint64_t>(resizer));
        for (int i = 0; i < 12; ++i) {
          ledger.pause(static_cast<int64_t>(own() % 400'000));
          Engine engine(ledger, [] { return PoolConfig{}; });
          ClaimWish wish;
          if (own() % 2 == 0)
            wish.counters = {{"cpu", static_cast<int64_t>(1 + own() % 4)}};
          else
            wish.vram_bytes = static_cast<int64_t>(1 + own() % 24);
          (void)engine.resize(key_of(scenario, static_cast<int>(own() % 7)), wish);
        }
      });
    if (seed % 3 == 0) {
      const int victim = static_cast<int>(random() % 9);
      const auto at_us = static_cast<int64_t>(random() % 2'000'000);
      scenario.world.at(scenario.world.now_us() + at_us, [&, victim] { scenario.world.kill(victim); });
    }
    const SimRun run = scenario.run();
    ASSERT_EQ(run.report.broken, "") << "seed " << seed;
    ASSERT_EQ(run.report.rescues, 0) << "seed " << seed;
  }
}

}  // namespace
}  // namespace berth
