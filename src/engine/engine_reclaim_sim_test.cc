// Giving way in the simulated world: servers that may be asked, jobs of higher priority that want their
// places, and whatever befalls either of them at any step. A step takes no virtual time, so where nothing
// goes wrong a place changes hands in exactly the time that the server takes to let go of it.
#include <gtest/gtest.h>

#include "engine/sim_scenario.h"

namespace berth {
namespace {

constexpr int64_t hook_us = 200'000;
constexpr int64_t look_us = 5'000'000;  // of its own accord, as the supervisor's

struct Server {
  Claim claim;
  int priority = 0;
  bool heeds = true;
  int64_t ends_us = 60 * second_us;
  int hooks = 0;      // started
  int gave = 0;       // places given away
  int withdrawn = 0;  // asked, and then not any more
  int seats = 0;
  int64_t first_asked_us = -1;
};

class Ground {
 public:
  explicit Ground(PoolConfig config, uint64_t seed) : world(std::move(config), seed) {}

  int serve(Claim claim, int priority = 0) {
    servers_.push_back(std::make_unique<Server>());
    Server* server = servers_.back().get();
    server->claim = std::move(claim);
    server->priority = priority;
    return world.add(1001, [this, server](SimLedger& ledger) { body(ledger, *server); });
  }

  int run(Claim claim, int64_t comes_us, int priority, int64_t holds_us = second_us) {
    jobs_.push_back(std::make_unique<SimOutcome>());
    SimOutcome* outcome = jobs_.back().get();
    return world.add(1002, [=, claim = std::move(claim)](SimLedger& ledger) {
      ledger.pause(comes_us);
      Engine engine(ledger, [] { return PoolConfig{}; });
      Request request;
      request.claim = claim;
      request.priority = priority;
      request.priority_cap = 10;
      const auto got = engine.acquire(request, {});
      outcome->returned = got.ok();
      if (!got.ok() || got->ending != Ending::seated) return;
      outcome->seated_us = ledger.now_monotonic_us() - 1'000'000'000;
      ledger.pause(holds_us);
      (void)engine.release();
    });
  }

  Server& server(size_t i) { return *servers_[i]; }
  SimOutcome& job(size_t i) { return *jobs_[i]; }
  [[nodiscard]] int hooks() const {
    int out = 0;
    for (const auto& s : servers_) out += s->hooks;
    return out;
  }

  SimWorld world;

 private:
  void body(SimLedger& ledger, Server& server) {
    Engine engine(ledger, [] { return PoolConfig{}; });
    Request request;
    request.claim = server.claim;
    request.priority = server.priority;
    request.way.reclaimable = true;
    const auto got = engine.acquire(request, {});
    if (!got.ok() || got->ending != Ending::seated) return;
    ++server.seats;
    const int64_t ends_us = 1'000'000'000 + server.ends_us;
    int64_t look_again_us = -1;
    while (ledger.now_monotonic_us() < ends_us) {
      int64_t due_us = std::min(ends_us, ledger.now_monotonic_us() + look_us);
      if (look_again_us >= 0) due_us = std::min(due_us, look_again_us);
      (void)ledger.wait(due_us, -1);
      if (!heed(ledger, engine, server, look_again_us)) return;
    }
    (void)engine.release();
  }

  // One look, and what follows from it. False: the lease is gone.
  bool heed(SimLedger& ledger, Engine& engine, Server& server, int64_t& look_again_us) {
    const auto asked = engine.heed_requests([&](const Asked& a) {
      Way way = engine.record().way;
      way.yielding = a.asked && server.heeds;
      way.unheeded = a.asked && !server.heeds;
      return way;
    });
    if (!asked.ok()) return false;
    look_again_us = asked->look_again_us;
    if (!asked->asked || !server.heeds || asked->unsettled) return true;
    ++server.hooks;
    if (server.first_asked_us < 0) server.first_asked_us = ledger.now_monotonic_us() - 1'000'000'000;
    ledger.pause(hook_us);
    const auto gave = engine.give_way(Engine::Return::to_the_same_devices);
    if (!gave.ok()) return false;
    if (*gave != GaveWay::gave) {
      ++server.withdrawn;
      return engine.heed_requests([&](const Asked&) { return Way{true}; }).ok();
    }
    ++server.gave;
    for (;;) {
      const auto back = engine.look_for_seat();
      if (!back.ok()) return false;
      if (*back) break;
      do (void)ledger.wait(engine.wake_due_us(), -1);
      while (!engine.woken() && ledger.now_monotonic_us() < engine.wake_due_us());
    }
    ++server.seats;
    look_again_us = ledger.now_monotonic_us();
    return true;
  }

  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<std::unique_ptr<SimOutcome>> jobs_;
};

TEST(ReclaimSim, ThePlaceIsHadAsSoonAsItIsLetGoAndComesBackWhenTheJobIsDone) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Ground ground(pool_of(1), seed);
    ground.serve(cpus(1));
    ground.run(cpus(1), 10 * second_us, 1);
    const SimReport report = ground.world.run();
    ASSERT_EQ(report.broken, "") << "seed " << seed;
    ASSERT_EQ(ground.server(0).first_asked_us, 10 * second_us) << "seed " << seed;
    ASSERT_EQ(ground.job(0).seated_us, 10 * second_us + hook_us) << "seed " << seed;
    ASSERT_EQ(ground.server(0).hooks, 1) << "seed " << seed;
    ASSERT_EQ(ground.server(0).seats, 2) << "seed " << seed;
    ASSERT_EQ(report.rescues, 0) << "seed " << seed;
  }
}

TEST(ReclaimSim, AnOldServerStandsBehindAJobThatItGaveWayTo) {
  PoolConfig config = pool_of(1);
  config.policy.age_s = 1;  // after ten seconds it would stand before the job, by age
  Ground ground(config, 1);
  ground.serve(cpus(1));
  ground.run(cpus(1), 10 * second_us, 1);
  EXPECT_EQ(ground.world.run().broken, "");
  EXPECT_EQ(ground.server(0).hooks, 1);
  EXPECT_EQ(ground.job(0).seated_us, 10 * second_us + hook_us);
}

TEST(ReclaimSim, AnEqualWaits) {
  Ground ground(pool_of(1), 1);
  ground.serve(cpus(1), 1);
  ground.run(cpus(1), 10 * second_us, 1);
  EXPECT_EQ(ground.world.run().broken, "");
  EXPECT_EQ(ground.hooks(), 0);
  EXPECT_EQ(ground.job(0).seated_us, 60 * second_us);
}

TEST(ReclaimSim, OfThreeServersAsManyAreAskedAsAreNeeded) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Ground ground(pool_of(3), seed);
    for (int i = 0; i < 3; ++i) ground.serve(cpus(1));
    ground.run(cpus(1), 10 * second_us, 1, 20 * second_us);
    ground.run(cpus(1), 15 * second_us, 1, 20 * second_us);
    const SimReport report = ground.world.run();
    ASSERT_EQ(report.broken, "") << "seed " << seed;
    ASSERT_EQ(ground.hooks(), 2) << "seed " << seed;
    ASSERT_EQ(ground.job(0).seated_us, 10 * second_us + hook_us) << "seed " << seed;
    ASSERT_EQ(ground.job(1).seated_us, 15 * second_us + hook_us) << "seed " << seed;
  }
}

TEST(ReclaimSim, TwoWaitersAtOnceTakeOneEach) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Ground ground(pool_of(3), seed);
    for (int i = 0; i < 3; ++i) ground.serve(cpus(1));
    ground.run(cpus(1), 10 * second_us, 1);
    ground.run(cpus(1), 10 * second_us, 2);
    ASSERT_EQ(ground.world.run().broken, "") << "seed " << seed;
    ASSERT_EQ(ground.hooks(), 2) << "seed " << seed;
    for (size_t i : {0, 1}) ASSERT_EQ(ground.job(i).seated_us, 10 * second_us + hook_us) << "seed " << seed;
  }
}

TEST(ReclaimSim, WhoIgnoresItKeepsItsPlaceAndAnotherIsAsked) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Ground ground(pool_of(2), seed);
    ground.serve(cpus(1));
    ground.serve(cpus(1), 1);
    ground.server(0).heeds = false;
    ground.run(cpus(1), 10 * second_us, 2);
    ASSERT_EQ(ground.world.run().broken, "") << "seed " << seed;
    ASSERT_EQ(ground.server(0).gave, 0);
    ASSERT_EQ(ground.server(1).first_asked_us, 10 * second_us) << "seed " << seed;
    ASSERT_EQ(ground.job(0).seated_us, 10 * second_us + hook_us) << "seed " << seed;
  }
}

TEST(ReclaimSim, TheServerComesBackAtOnceWhenTheJobDiesBeforeItSatDown) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Ground ground(pool_of(1), seed);
    ground.serve(cpus(1));
    const int job = ground.run(cpus(1), 10 * second_us, 1);
    ground.world.at(ground.world.now_us() + 10 * second_us + hook_us / 2, [&] { ground.world.kill(job); });
    ASSERT_EQ(ground.world.run().broken, "") << "seed " << seed;
    EXPECT_EQ(ground.server(0).hooks, 1);
    EXPECT_EQ(ground.server(0).withdrawn, 1) << "it kept its place";
  }
}

TEST(ReclaimSim, AStoppedServerIsGivenUpAndAnotherIsAsked) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Ground ground(pool_of(2), seed);
    const int first = ground.serve(cpus(1));
    ground.serve(cpus(1), 1);
    ground.run(cpus(1), 10 * second_us, 2);
    ground.world.at(ground.world.now_us() + 9 * second_us, [&] { ground.world.stop(first, 30 * second_us); });
    ASSERT_EQ(ground.world.run().broken, "") << "seed " << seed;
    ASSERT_GE(ground.job(0).seated_us, 10 * second_us) << "seed " << seed;
    ASSERT_LE(ground.job(0).seated_us, 16 * second_us) << "seed " << seed;
    ASSERT_EQ(ground.server(0).hooks, 0) << "seed " << seed;
  }
}

// A supervisor that was killed has no bell; its command keeps the place.
TEST(ReclaimSim, AKilledServerWhoseCommandLivesOnIsPassedOver) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Ground ground(pool_of(2), seed);
    const int first = ground.serve(cpus(1));
    ground.serve(cpus(1), 1);
    ground.run(cpus(1), 10 * second_us, 2);
    ground.world.at(ground.world.now_us() + 10 * second_us + hook_us / 2,
                    [&] { ground.world.kill(first, 40 * second_us); });
    ASSERT_EQ(ground.world.run().broken, "") << "seed " << seed;
    ASSERT_GE(ground.job(0).seated_us, 0) << "seed " << seed;
    ASSERT_LE(ground.job(0).seated_us, 16 * second_us) << "seed " << seed;
  }
}

// Every step of every party, once as the place of a death and once of a stop.
TEST(ReclaimSim, WhateverStepIsTheLastOfOneTheOthersGetOn) {
  for (int party = 0; party < 4; ++party) {
    for (const SimFate::Kind kind : {SimFate::die, SimFate::stop}) {
      for (int at = 1; at < 400; ++at) {
        Ground ground(pool_of(2), static_cast<uint64_t>(at));
        ground.serve(cpus(1));
        ground.serve(cpus(1));
        ground.run(cpus(1), second_us, 1);
        ground.run(cpus(2), 2 * second_us, 2);
        for (size_t i : {0, 1}) ground.server(i).ends_us = 20 * second_us;
        bool struck = false;
        ground.world.fate = [&](const SimParty& p, int nth, std::string_view) -> SimFate {
          if (p.index != party || nth != at) return {};
          struck = true;
          return {kind, kind == SimFate::stop ? 3 * second_us : second_us};
        };
        const SimReport report = ground.world.run();
        ASSERT_EQ(report.broken, "") << "party " << party << " at step " << at << (kind == SimFate::die ? " dies" : "");
        for (int job : {2, 3}) {
          if (job == party && kind == SimFate::die) continue;
          ASSERT_GE(ground.job(static_cast<size_t>(job - 2)).seated_us, 0) << "party " << party << " at step " << at;
          ASSERT_LE(ground.job(static_cast<size_t>(job - 2)).seated_us, 12 * second_us)
              << "party " << party << " at step " << at << " kind " << kind << " job " << job;
        }
        if (!struck) break;
      }
    }
  }
}

// A crowd, and at random somebody is killed or stopped.
TEST(ReclaimSim, NothingThatBefallsACrowdOverGrantsOrHangs) {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    std::mt19937_64 dice(seed);
    Ground ground(pool_of(4), seed);
    const int servers = 2 + static_cast<int>(dice() % 3);
    for (int i = 0; i < servers; ++i) {
      ground.serve(cpus(1 + static_cast<int64_t>(dice() % 2)), static_cast<int>(dice() % 3));
      ground.server(static_cast<size_t>(i)).ends_us = 40 * second_us;
      ground.server(static_cast<size_t>(i)).heeds = dice() % 5 != 0;
    }
    for (int i = 0; i < 6; ++i)
      ground.run(cpus(1 + static_cast<int64_t>(dice() % 4)),
                 second_us + static_cast<int64_t>(dice() % 20) * second_us / 4, static_cast<int>(dice() % 5));
    ground.world.fate = [&](const SimParty&, int, std::string_view) -> SimFate {
      const auto roll = dice() % 400;
      if (roll == 0) return {SimFate::die, static_cast<int64_t>(dice() % 3) * second_us};
      if (roll == 1) return {SimFate::stop, static_cast<int64_t>(dice() % 4'000'000)};
      return {};
    };
    const SimReport report = ground.world.run();
    ASSERT_EQ(report.broken, "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace berth
