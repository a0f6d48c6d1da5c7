// The engine in the simulated world, killed and stopped at every step of everybody, and at random.
#include <gtest/gtest.h>

#include <ostream>

#include "engine/sim_scenario.h"

namespace berth {
namespace {

// ---- every step of everybody ----

struct Family {
  const char* name;
  PoolConfig config;
  std::vector<SimJob> jobs;
};

std::vector<Family> small_families() {
  const Claim ram{{{"ram", 100}}, {}, {}};
  const Claim both{{{"cpu", 1}, {"ram", 1}}, {}, {}};
  std::vector<Family> out{
      {"equals", pool_of(1), {job(cpus(1)), job(cpus(1)), job(cpus(1))}},
      {"four equals, two places", pool_of(2), {job(cpus(1)), job(cpus(1)), job(cpus(1)), job(cpus(1), 5)}},
      {"large and small", pool_of(2), {job(cpus(1)), job(cpus(2)), job(cpus(1)), job(cpus(1))}},
      {"crossed", pool_of(1), {job(cpus(1)), job(both), job(ram), job(both)}},
      {"cards", {}, {job(vram(16)), job(vram(16)), job(gpus(2)), job(vram(8))}},
      {"impatient", pool_of(1), {job(cpus(1)), job(cpus(1)), job(cpus(1))}},
      {"of two users", pool_of(1), {job(cpus(1)), job(cpus(1)), job(cpus(1)), job(cpus(1))}},
      {"with estimates", pool_of(3), {job(cpus(2)), job(cpus(3)), job(cpus(1), 5), job(both, 9)}},
      {"overdue", pool_of(3), {job(cpus(1)), job(cpus(2), 1), job(cpus(3), 2), job(cpus(1), 3)}},
  };
  out[5].jobs[1].gives_up_us = second_us / 2;
  out[5].jobs[2].cancelled_us = second_us / 4;
  for (size_t i = 0; i < 4; ++i) out[6].jobs[i].uid = 1001 + static_cast<int>(i % 2);
  for (Family& f : out)
    for (SimJob& j : f.jobs) j.holds_us = second_us / 10;
  out[5].jobs[0].holds_us = second_us;
  for (SimJob& j : out[7].jobs) j.expect_s = 1;
  out[7].jobs[0].holds_us = 3 * second_us / 2;
  out[8].jobs[0].holds_us = 3 * second_us;
  out[8].jobs[0].expect_s = 2;
  out[8].jobs[1].holds_us = out[8].jobs[3].holds_us = second_us;
  out[8].jobs[1].expect_s = out[8].jobs[3].expect_s = 1;
  return out;
}

// Runs a family once undisturbed to count its steps, and then once for each of them with `dealt`
// befalling the party whose step it is. Promises are checked in each.
template <class Check>
void at_every_step(const Family& family, uint64_t seed, SimFate dealt, Check check) {
  SimScenario undisturbed(family.config, family.jobs, seed);
  const SimRun calm = undisturbed.run();
  ASSERT_EQ(calm.report.broken, "") << family.name;
  for (size_t party = 0; party < family.jobs.size(); ++party) {
    for (int at = 1; at <= calm.steps[party]; ++at) {
      SimScenario scenario(family.config, family.jobs, seed);
      scenario.world.fate = [&](const SimParty& p, int nth, std::string_view) {
        return p.index == static_cast<int>(party) && nth == at ? dealt : SimFate{};
      };
      const SimRun run = scenario.run();
      check(run, party);
      if (testing::Test::HasFailure()) {
        ADD_FAILURE() << family.name << ", seed " << seed << ", party " << party << ", step " << at;
        return;
      }
    }
  }
}

TEST(EngineKills, AtAnyStepOfAnybodyHarmsNobodyElse) {
  for (const Family& family : small_families()) {
    for (uint64_t seed = 0; seed < 40; ++seed) {
      at_every_step(family, seed, {SimFate::die, 0}, [&](const SimRun& run, size_t killed) {
        expect_prompt(run);
        for (size_t i = 0; i < run.jobs.size(); ++i)
          if (i != killed) {
            EXPECT_TRUE(run.jobs[i].returned && run.jobs[i].error.empty()) << run.jobs[i].error;
          }
      });
      if (HasFailure()) return;
    }
  }
}

TEST(EngineKills, AChildThatLivesOnKeepsThePlaceAndItsDeathFreesIt) {
  for (const Family& family : small_families()) {
    for (uint64_t seed = 0; seed < 10; ++seed) {
      at_every_step(family, seed, {SimFate::die, second_us / 3},
                    [&](const SimRun& run, size_t) { expect_prompt(run); });
      if (HasFailure()) return;
    }
  }
}

TEST(EngineStops, AtAnyStepOfAnybodyDelayOthersByNoMoreThanItsTime) {
  for (const Family& family : small_families()) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      at_every_step(family, seed, {SimFate::stop, 3 * second_us / 2},
                    [&](const SimRun& run, size_t) { expect_prompt(run); });
      if (HasFailure()) return;
    }
  }
}

// ---- at random ----

struct Weather {
  const char* name;
  bool kills, stops, cards, leavers, estimates;
  friend std::ostream& operator<<(std::ostream& out, const Weather& w) { return out << w.name; }
};

class EngineAtRandom : public testing::TestWithParam<Weather> {
 protected:
  // Everything about run number `seed`, the fates included, comes from this.
  static SimRun run_one(const Weather& weather, uint64_t seed) {
    Below below(seed * 7919 + 1);
    const PoolConfig config{{{"cpu", 1 + below(3)}, {"ram", 2}}, {}};
    std::vector<SimJob> jobs(static_cast<size_t>(2 + below(6)));
    for (SimJob& j : jobs) {
      if (below(3) != 0) j.claim.counters.push_back({"cpu", 1 + below(config.capacities[0].amount)});
      if (j.claim.counters.empty() || below(4) == 0) j.claim.counters.push_back({"ram", 1 + below(2)});
      if (weather.cards && below(2) == 0) {
        j.claim.gpu.count = static_cast<int>(1 + below(2));
        j.claim.gpu.whole = below(2) == 0;
        if (!j.claim.gpu.whole) j.claim.gpu.vram_bytes = 8 * (1 + below(3));
        j.claim.eligible = {{"A", 24}, {"B", 16}};
        if (below(3) == 0) j.claim.eligible.erase(j.claim.eligible.begin() + below(2));
      }
      j.comes_us = below(3) == 0 ? 0 : below(30) * 100'000;
      j.holds_us = (1 + below(50)) * 100'000;
      j.priority = static_cast<int>(below(3));
      if (weather.estimates && below(4) != 0)
        j.expect_s = below(2) == 0 ? (j.holds_us + second_us - 1) / second_us : 1 + below(8);
      j.uid = below(5) == 0 ? 0 : static_cast<int>(1001 + below(2));
      const int64_t manner = weather.leavers ? below(8) : 7;
      if (manner == 0) j.gives_up_us = below(40) * 100'000;
      if (manner == 1) j.no_wait = true;
      if (manner <= 3 && manner >= 2) j.cancelled_us = below(40) * 100'000;
      if (manner == 3) j.steps_aside_us = (1 + below(50)) * 100'000;
    }
    SimScenario scenario(config, jobs, seed);
    int64_t kills = weather.kills ? below(4) : 0;
    int64_t stops = weather.stops ? 1 + below(2) : 0;
    scenario.world.fate = [&](const SimParty&, int, std::string_view) -> SimFate {
      if (kills > 0 && below(60) == 0) {
        --kills;
        return {SimFate::die, below(2) * (1 + below(30)) * 100'000};
      }
      if (stops > 0 && below(40) == 0) {
        --stops;
        return {SimFate::stop, (1 + below(100)) * 100'000};
      }
      return {};
    };
    return scenario.run();
  }
};

TEST_P(EngineAtRandom, NothingIsOverGrantedOrLeftIdle) {
  for (uint64_t seed = 0; seed < 2500; ++seed) {
    const SimRun run = run_one(GetParam(), seed);
    expect_prompt(run);
    if (!GetParam().stops) {
      for (const SimOutcome& o : run.jobs) EXPECT_FALSE(o.left_behind);
    }
    if (HasFailure()) {
      FAIL() << "seed " << seed;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Weather, EngineAtRandom,
                         testing::Values(Weather{"calm", false, false, true, false, false},
                                         Weather{"kills", true, false, true, false, false},
                                         Weather{"stops", false, true, false, false, false},
                                         Weather{"stopsAndCards", false, true, true, false, false},
                                         Weather{"killsAndStops", true, true, true, false, false},
                                         Weather{"leavers", false, false, false, true, false},
                                         Weather{"everything", true, true, true, true, false},
                                         Weather{"estimates", false, false, true, false, true},
                                         Weather{"estimatesAndKills", true, false, true, false, true},
                                         Weather{"estimatesAndStops", false, true, true, false, true},
                                         Weather{"estimatesAndLeavers", false, false, true, true, true},
                                         Weather{"estimatesAndEverything", true, true, true, true, true}),
                         [](const auto& weather) { return weather.param.name; });

}  // namespace
}  // namespace berth
