// One suite, two ledgers: what an engine does in one process, on a simulated pool and on a real one.
#include "engine/engine.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ledger/local_ledger.h"
#include "ledger/sim_ledger.h"

namespace berth {
namespace {

PoolConfig two_cpus() { return {{{"cpu", 2}, {"ram", 100}}, {}}; }

class SimDoors {
 public:
  Ledger& open() {
    doors_.push_back(&world_.by_hand(static_cast<int>(::geteuid())));
    return *doors_.back();
  }
  // As the end of its process.
  void die(size_t which) { world_.kill(doors_[which]->party().index); }
  void pass(int64_t us) { doors_.front()->pause(us); }

 private:
  SimWorld world_{two_cpus(), 1};
  std::vector<SimLedger*> doors_;
};

class LocalDoors {
 public:
  LocalDoors() {
    std::string path = "/dev/shm/berth-test-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    path_ = path;
  }
  ~LocalDoors() {
    doors_.clear();
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  LocalDoors(const LocalDoors&) = delete;
  LocalDoors& operator=(const LocalDoors&) = delete;

  Ledger& open() {
    doors_.push_back(std::make_unique<Door>(path_));
    return doors_.back()->ledger;
  }
  void die(size_t which) { doors_[which]->ledger.abandon(); }
  static void pass(int64_t us) { ::usleep(static_cast<useconds_t>(us)); }

 private:
  struct Door {
    explicit Door(const std::string& path)
        : pool(std::move(LocalPool::open(path, LocalPool::IfMissing::create).value())), ledger(pool) {}
    LocalPool pool;
    LocalLedger ledger;
  };
  std::string path_;
  std::vector<std::unique_ptr<Door>> doors_;
};

template <class Doors>
class EngineOn : public testing::Test {
 protected:
  struct Job {
    Ledger& ledger;
    Engine engine;
    explicit Job(Ledger& door) : ledger(door), engine(door, two_cpus) {}

    Ending asks(int64_t cpus, const WaitRule& rule = {.no_wait = true, .deadline_us = -1}) {
      Request request;
      request.claim.counters = {{"cpu", cpus}};
      auto got = engine.acquire(request, rule);
      EXPECT_TRUE(got.ok()) << (got.ok() ? "" : got.error().message);
      if (got.ok()) last = std::move(*got);
      return last.ending;
    }
    Acquired last;
  };
  Job& job() {
    jobs_.push_back(std::make_unique<Job>(doors_.open()));
    return *jobs_.back();
  }
  Snapshot look(Ledger& ledger) {
    auto seen = ledger.read();
    EXPECT_TRUE(seen.ok());
    return seen.ok() ? *seen : Snapshot{};
  }

  Doors doors_;
  std::vector<std::unique_ptr<Job>> jobs_;
};

class DoorNames {
 public:
  template <class Doors>
  static std::string GetName(int) {
    return std::is_same_v<Doors, SimDoors> ? "Sim" : "Local";
  }
};
using AllDoors = testing::Types<SimDoors, LocalDoors>;
TYPED_TEST_SUITE(EngineOn, AllDoors, DoorNames);

TYPED_TEST(EngineOn, APlaceIsTakenAndGivenBack) {
  auto& first = this->job();
  EXPECT_EQ(first.asks(2), Ending::seated);
  EXPECT_EQ(this->look(first.ledger).parties.at(0).state, PartyState::held);
  EXPECT_TRUE(first.engine.release().value());
  EXPECT_FALSE(first.engine.seated());
  EXPECT_TRUE(this->look(first.ledger).parties.empty());
  EXPECT_TRUE(first.engine.release().value()) << "twice is once";
  EXPECT_EQ(first.asks(1), Ending::seated) << "and it may come again";
}

TYPED_TEST(EngineOn, WhoDoesNotWaitIsToldThatItIsBusyAndLeavesNothing) {
  auto& first = this->job();
  auto& second = this->job();
  EXPECT_EQ(first.asks(2), Ending::seated);
  EXPECT_EQ(second.asks(1), Ending::busy);
  EXPECT_EQ(second.last.snapshot.parties.size(), 2U);
  EXPECT_EQ(this->look(second.ledger).parties.size(), 1U);
}

TYPED_TEST(EngineOn, WhoWaitsInVainLeavesNothing) {
  auto& first = this->job();
  auto& second = this->job();
  EXPECT_EQ(first.asks(2), Ending::seated);
  EXPECT_EQ(second.asks(1, {.no_wait = false, .deadline_us = second.ledger.now_monotonic_us() + 5'000}),
            Ending::timed_out);
  EXPECT_EQ(this->look(second.ledger).parties.size(), 1U);
}

TYPED_TEST(EngineOn, WhatCanNeverBeIsSaidSoWithItsReason) {
  auto& first = this->job();
  EXPECT_EQ(first.asks(3), Ending::impossible);
  ASSERT_EQ(first.last.shortfalls.size(), 1U);
  EXPECT_EQ(first.last.shortfalls[0].what, "cpu");
  EXPECT_EQ(first.last.shortfalls[0].there, 2);
}

TYPED_TEST(EngineOn, ThePlaceOfTheDeadIsFree) {
  auto& first = this->job();
  auto& second = this->job();
  EXPECT_EQ(first.asks(2), Ending::seated);
  this->doors_.die(0);
  EXPECT_EQ(second.asks(2, {.no_wait = false, .deadline_us = second.ledger.now_monotonic_us() + 5'000'000}),
            Ending::seated);
  EXPECT_EQ(this->look(second.ledger).parties.size(), 1U) << "and its record is gone";
}

TYPED_TEST(EngineOn, APlaceThatIsStillUsedIsNotGivenBack) {
  auto& first = this->job();
  EXPECT_EQ(first.asks(2), Ending::seated);
  EXPECT_FALSE(first.engine.release([] { return true; }).value());
  EXPECT_EQ(this->look(first.ledger).parties.size(), 1U);
}

TYPED_TEST(EngineOn, APlaceIsGivenBackByDyingWhereTheLockIsNotToBeHad) {
  auto& first = this->job();
  auto& second = this->job();
  EXPECT_EQ(first.asks(2), Ending::seated);
  ASSERT_EQ(second.ledger.lock(-1).value(), LockOutcome::locked);
  EXPECT_TRUE(first.engine.release().value());
  EXPECT_FALSE(first.engine.seated());
  const Snapshot seen = this->look(second.ledger);
  ASSERT_EQ(seen.parties.size(), 1U) << "without the lock no record is touched";
  EXPECT_EQ(second.ledger.life(seen.parties[0]), Life::dead);
  EXPECT_FALSE(second.ledger.ring(seen.parties[0]).answered);
  second.ledger.unlock();
  EXPECT_EQ(second.asks(2, {.no_wait = false, .deadline_us = second.ledger.now_monotonic_us() + 5'000'000}),
            Ending::seated);
  EXPECT_EQ(this->look(second.ledger).parties.size(), 1U) << "the dead record is gone";
  EXPECT_EQ(first.asks(1), Ending::busy) << "and it may come again";
}

TYPED_TEST(EngineOn, ALivingPartyIsHeardAliveAndNotReaped) {
  auto& first = this->job();
  auto& second = this->job();
  EXPECT_EQ(first.asks(1), Ending::seated);
  Ledger& door = second.ledger;
  ASSERT_EQ(door.lock(-1).value(), LockOutcome::locked);
  const Snapshot seen = this->look(door);
  EXPECT_EQ(door.life(seen.parties.at(0)), Life::alive);
  EXPECT_TRUE(door.watch(seen, {0}).empty());
  EXPECT_FALSE(door.reap(seen.parties.at(0)));
  EXPECT_EQ(door.ring(seen.parties.at(0)).unread, 1);
  EXPECT_EQ(door.ring(seen.parties.at(0)).unread, 2);
  this->doors_.die(0);
  EXPECT_EQ(door.life(seen.parties.at(0)), Life::dead);
  EXPECT_FALSE(door.ring(seen.parties.at(0)).answered);
  EXPECT_EQ(door.watch(seen, {0}), (std::vector<int>{0}));
  EXPECT_TRUE(door.reap(seen.parties.at(0)));
  EXPECT_TRUE(this->look(door).parties.empty());
  door.unlock();
}

TYPED_TEST(EngineOn, AnEvictedLeaseIsGoneAndItsOwnerMayStillRelease) {
  auto& first = this->job();
  auto& second = this->job();
  EXPECT_EQ(first.asks(2), Ending::seated);
  EXPECT_TRUE(second.engine.evict(PartyKey::of(first.engine.record().id, first.engine.record().dir)).ok());
  EXPECT_EQ(second.asks(2), Ending::seated);
  EXPECT_TRUE(first.engine.release().value());
  EXPECT_EQ(this->look(second.ledger).parties.size(), 1U) << "the place of another is not given back";
}

TYPED_TEST(EngineOn, ThePoolsFiguresAreChangedForAll) {
  auto& first = this->job();
  auto& second = this->job();
  EXPECT_EQ(first.asks(2), Ending::seated);
  EXPECT_EQ(second.asks(1), Ending::busy);
  const auto grown = second.engine.configure([](PoolConfig& config) {
    config.capacities.at(0).amount = 3;
    return success();
  });
  EXPECT_TRUE(grown.ok());
  EXPECT_EQ(second.asks(1), Ending::seated);
}

TYPED_TEST(EngineOn, WhatAUserHadIsKeptWhereThePolicyAsksForIt) {
  auto& first = this->job();
  auto& second = this->job();
  EXPECT_EQ(first.asks(2), Ending::seated);
  EXPECT_TRUE(first.engine.release().value());
  EXPECT_EQ(second.ledger.use_account(), "");
  EXPECT_TRUE(second.engine
                  .configure([](PoolConfig& config) {
                    config.policy.fair_share = true;
                    return success();
                  })
                  .ok());
  EXPECT_EQ(second.asks(1), Ending::seated);
  EXPECT_EQ(second.engine.record().debt_us, 0);
  this->doors_.pass(1'000);
  EXPECT_TRUE(second.engine.release().value());
  EXPECT_TRUE(first.ledger.use_account().starts_with("berth-use=1 at=")) << first.ledger.use_account();
  EXPECT_NE(first.ledger.use_account().find(" cpu="), std::string::npos) << first.ledger.use_account();
  EXPECT_EQ(first.asks(1), Ending::seated);
  EXPECT_GT(first.engine.record().debt_us, 0);
}

}  // namespace
}  // namespace berth
