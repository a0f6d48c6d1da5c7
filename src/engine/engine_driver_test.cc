// The engine and a driver that does not always agree with the book, in the simulated world.
#include <gtest/gtest.h>

#include <map>

#include "engine/sim_scenario.h"

namespace berth {
namespace {

constexpr int64_t card_bytes = 24;
constexpr int64_t asking_takes_us = 20'000;
constexpr int64_t giving_way_us = 300'000 + 2 * asking_takes_us;  // to one who was refused
constexpr int64_t slowest_look_us = 6'000'000;                    // the slowest pace, and what a look takes

// What lies on the cards without a lease, as it is at this moment.
using Cards = std::map<std::string, int64_t>;

class SimDriver : public Admission {
 public:
  SimDriver(const Cards& cards, SimLedger& ledger, int* questions = nullptr)
      : cards_(cards), ledger_(ledger), questions_(questions) {
    answer();
  }

  void ask() override {
    if (asked_us_ >= 0) return;
    asked_us_ = ledger_.now_monotonic_us();
    if (questions_ != nullptr) ++*questions_;
  }
  [[nodiscard]] int fd() const override { return asked_us_ < 0 ? -1 : 0; }
  [[nodiscard]] int64_t due_us() const override { return asked_us_ < 0 ? -1 : asked_us_ + asking_takes_us; }
  bool take_in() override {
    if (asked_us_ < 0) return true;
    if (ledger_.now_monotonic_us() < due_us()) return false;
    answer();
    return true;
  }
  void ask_and_wait() override {
    ask();
    ledger_.pause(asking_takes_us);
    answer();
  }
  [[nodiscard]] int64_t begun_us() const override { return begun_us_; }
  [[nodiscard]] int64_t taken_us() const override { return taken_us_; }
  [[nodiscard]] std::string refusal(const Snapshot& snapshot, const std::vector<bool>& dead, int self,
                                    const Eligible& device, bool seated) const override {
    const Party& party = snapshot.parties[static_cast<size_t>(self)];
    if (party.gpu.whole && taken_us_ < rule_until_us) return "its own rule";
    const auto there = seen_.find(snapshot.devices[device.device]);
    int64_t taken = there == seen_.end() ? 0 : there->second;
    if (party.gpu.whole) return taken > 0 ? "a stranger" : "";
    for (size_t i = 0; i < snapshot.parties.size(); ++i) {
      const Party& p = snapshot.parties[i];
      const auto granted = snapshot.granted(p);
      if (seated && p.state == PartyState::held && !dead[i] &&
          std::find(granted.begin(), granted.end(), device.device) != granted.end())
        taken += p.gpu.vram_bytes;
    }
    return taken + party.gpu.vram_bytes > card_bytes ? "no room" : "";
  }

  int64_t rule_until_us = -1;  // until then it refuses its own party, which asks for a whole card, and no other

 private:
  void answer() {
    seen_ = cards_;
    begun_us_ = asked_us_ < 0 ? ledger_.now_monotonic_us() : asked_us_;
    taken_us_ = ledger_.now_monotonic_us();
    asked_us_ = -1;
  }

  const Cards& cards_;
  SimLedger& ledger_;
  int* questions_;
  Cards seen_;
  int64_t asked_us_ = -1;
  int64_t begun_us_ = -1;
  int64_t taken_us_ = -1;
};

class EngineAndDriver : public testing::Test {
 protected:
  SimRun run(std::vector<SimJob> jobs, uint64_t seed = 1) {
    scenario_.emplace(PoolConfig{}, std::move(jobs), seed);
    scenario_->admission = [this](SimLedger& ledger, size_t index) {
      auto driver = std::make_unique<SimDriver>(cards_, ledger, &questions_);
      if (index == 0) driver->rule_until_us = began_us_ + rule_of_first_us_;
      return driver;
    };
    scenario_->tells = tells_;
    began_us_ = scenario_->world.now_us();
    for (const auto& [at_us, change] : changes_)
      scenario_->world.at(began_us_ + at_us, [this, change = change] { cards_[change.first] = change.second; });
    return scenario_->run();
  }
  // From `at_us` on, so much of that card is a stranger's.
  void stranger(const std::string& card, int64_t bytes, int64_t at_us = -1) {
    if (at_us < 0)
      cards_[card] = bytes;
    else
      changes_.emplace_back(at_us, std::pair(card, bytes));
  }
  [[nodiscard]] int64_t seated_after_us(const SimRun& r, size_t job) const { return r.jobs[job].seated_us - began_us_; }

  std::function<int64_t(SimLedger&, size_t, const Waiting&)> tells_;
  Cards cards_;
  std::vector<std::pair<int64_t, std::pair<std::string, int64_t>>> changes_;
  std::optional<SimScenario> scenario_;
  int64_t began_us_ = 0;
  int64_t rule_of_first_us_ = -1;
  int questions_ = 0;  // that were asked by all, after the first look
};

TEST_F(EngineAndDriver, ARefusalIsRememberedUntilItIsTakenBack) {
  stranger("A", 21);
  stranger("B", 21);
  stranger("B", 0, 30 * second_us);
  std::vector<std::string> refusals;
  tells_ = [&](SimLedger&, size_t, const Waiting& waiting) {
    if (!waiting.asks_driver) refusals.push_back(waiting.refusal);
    return int64_t{-1};
  };
  const SimRun r = run({job(gpus(1))});
  EXPECT_EQ(joined(r.jobs[0].devices), "B");
  EXPECT_GE(refusals.size(), 10U) << "some looks come long after the driver's last answer";
  EXPECT_EQ(std::count(refusals.begin(), refusals.end(), "a stranger"), static_cast<long>(refusals.size()));
}

TEST_F(EngineAndDriver, AWholeCardIsOneThatNoStrangerUses) {
  stranger("A", 21);
  const SimRun r = run({job(gpus(1))});
  EXPECT_EQ(joined(r.jobs[0].devices), "B");
  EXPECT_EQ(seated_after_us(r, 0), 0);
}

TEST_F(EngineAndDriver, WhoIsRefusedWaitsWithoutHoldingUpThoseWhoFit) {
  stranger("A", 21);
  stranger("A", 0, 3 * second_us);
  const SimRun r = run({job(gpus(1, {"A"})), job(vram(1, {"A"}), 1000), job(vram(1, {"A"}), 2000)});
  EXPECT_EQ(seated_after_us(r, 1), 1000);
  EXPECT_EQ(seated_after_us(r, 2), 2000);
  EXPECT_GE(seated_after_us(r, 0), 3 * second_us);
  EXPECT_LE(seated_after_us(r, 0), 3 * second_us + slowest_look_us);
  EXPECT_EQ(r.report.broken, "");
}

TEST_F(EngineAndDriver, WhoIsRefusedKeepsItsPlaceInLine) {
  stranger("A", 21);
  stranger("A", 0, 3 * second_us);
  // The small one takes the card for long; the next small one comes after the stranger has gone and the
  // large one has noticed, and stands behind it.
  std::vector<SimJob> jobs{job(gpus(1, {"A"})), job(vram(2, {"A"}), 1000), job(vram(2, {"A"}), 10 * second_us)};
  jobs[1].holds_us = 12 * second_us;
  const SimRun r = run(jobs);
  EXPECT_EQ(joined(r.seated), "1 0 2");
}

TEST_F(EngineAndDriver, WhoIsRefusedForLongAsksSeldom) {
  stranger("A", 21);
  stranger("A", 0, 60 * second_us);
  const SimRun r = run({job(gpus(1, {"A"}))});
  EXPECT_LE(seated_after_us(r, 0), 60 * second_us + slowest_look_us);
  EXPECT_LE(questions_, 8 + 12);  // until the slowest pace is reached, and at it
  EXPECT_GE(questions_, 12);
}

TEST_F(EngineAndDriver, OfManyWhoAreRefusedTheFirstAsksMostAndTellsTheOthers) {
  stranger("A", 21);
  stranger("A", 0, 60 * second_us);
  std::vector<SimJob> jobs;
  for (int i = 0; i < 8; ++i) {
    jobs.push_back(job(vram(4, {"A"}), i * 1000));
    jobs.back().holds_us = 100 * second_us;
  }
  const SimRun r = run(jobs);
  EXPECT_LE(questions_, 150);
  // 24 are six times four; the last two wait for the first.
  for (size_t i = 0; i < 6; ++i) EXPECT_LE(seated_after_us(r, i), 60 * second_us + slowest_look_us) << i;
  for (size_t i = 6; i < 8; ++i) EXPECT_GE(seated_after_us(r, i), 160 * second_us) << i;
}

// Its driver is asked now and then only. Who comes meanwhile, and sees the stranger gone, tells it.
TEST_F(EngineAndDriver, WhoIsRefusedIsNotOvertakenByThoseWhoLookedLater) {
  stranger("A", 21);
  stranger("A", 0, 60 * second_us);
  std::vector<SimJob> jobs;
  for (int i = 0; i < 4; ++i) jobs.push_back(job(gpus(1, {"A"}), i * 1000));
  for (int i = 0; i < 4; ++i) jobs.push_back(job(vram(14, {"A"}), 60 * second_us + 1000 + i * 1000));
  const SimRun r = run(jobs);
  EXPECT_EQ(joined(r.seated), "0 1 2 3 4 5 6 7");
  EXPECT_LE(seated_after_us(r, 0), 60 * second_us + giving_way_us);
}

// It may be refused all the same, by what it alone knows of.
TEST_F(EngineAndDriver, WhoIsRefusedByItsOwnRulesHoldsUpNobodyForLong) {
  rule_of_first_us_ = 20 * second_us;
  std::vector<SimJob> jobs{job(gpus(1, {"A"}))};
  for (int i = 1; i < 4; ++i) jobs.push_back(job(vram(4, {"A"}), i * second_us));
  const SimRun r = run(jobs);
  for (size_t i = 1; i < 4; ++i)
    EXPECT_LE(seated_after_us(r, i), static_cast<int64_t>(i) * second_us + giving_way_us) << i;
  EXPECT_GE(seated_after_us(r, 0), 20 * second_us);
}

TEST_F(EngineAndDriver, ALeaseThatStillLoadsCountsInFull) {
  stranger("A", 10);
  std::vector<SimJob> jobs{job(vram(8, {"A"})), job(vram(14, {"A"}), 1000)};
  jobs[0].holds_us = 5 * second_us;
  const SimRun r = run(jobs);
  EXPECT_EQ(seated_after_us(r, 0), 0);
  EXPECT_GE(seated_after_us(r, 1), 5 * second_us);
  EXPECT_LE(seated_after_us(r, 1), 5 * second_us + slowest_look_us);
}

TEST_F(EngineAndDriver, WhatALeaseLeavesBehindIsWaitedFor) {
  std::vector<SimJob> jobs{job(gpus(1, {"A"})), job(gpus(1, {"A"}), 1000)};
  jobs[0].holds_us = 2 * second_us;
  stranger("A", 20, 2 * second_us - 1);  // as the lease ends it shows, and goes a second later
  stranger("A", 0, 3 * second_us);
  const SimRun r = run(jobs);
  EXPECT_GE(seated_after_us(r, 1), 3 * second_us);
  EXPECT_LE(seated_after_us(r, 1), 3 * second_us + 2 * second_us);
}

TEST_F(EngineAndDriver, WhatHappensOnOtherCardsDelaysNobody) {
  // The last may use both; A falls free after a second, and on B there are short jobs all the time.
  std::vector<SimJob> jobs{job(gpus(1, {"A"})), job(gpus(1, {"B"})), job(gpus(1, {"A", "B"}), second_us / 2)};
  jobs[0].holds_us = second_us;
  jobs[1].holds_us = second_us + 1000;
  for (int i = 0; i < 300; ++i) {
    jobs.push_back(job(gpus(1, {"B"}), second_us + 2000 + i * 15'000));
    jobs.back().holds_us = 10'000;
  }
  const SimRun r = run(jobs);
  EXPECT_EQ(joined(r.jobs[2].devices), "A");
  EXPECT_LE(seated_after_us(r, 2), second_us + 5 * asking_takes_us);
}

TEST_F(EngineAndDriver, NoWaitIsBusyWhereTheDriverSaysNo) {
  stranger("A", 21);
  std::vector<SimJob> jobs{job(gpus(1, {"A"}))};
  jobs[0].no_wait = true;
  EXPECT_EQ(run(jobs).jobs[0].ending, Ending::busy);
}

TEST_F(EngineAndDriver, MoreThanThePoolHasIsImpossibleWhateverTheDriverSays) {
  stranger("A", 21);
  EXPECT_EQ(run({job(vram(25, {"A"}))}).jobs[0].ending, Ending::impossible);
}

// Strangers come and go while parties are killed and stopped. The world judges the book; here it is
// judged that nobody sits down on a card that was full when its driver was asked, and that all end.
TEST_F(EngineAndDriver, AtRandomNobodyIsForgotten) {
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    Below below(seed * 7907 + 3);
    cards_.clear();
    changes_.clear();
    for (int64_t i = below(6); i > 0; --i) stranger(below(2) == 0 ? "A" : "B", below(25), below(40) * 100'000);
    stranger("A", 0, 5 * second_us);
    stranger("B", 0, 5 * second_us);
    std::vector<SimJob> jobs;
    for (int64_t i = 2 + below(5); i > 0; --i) {
      Claim claim = below(2) == 0 ? gpus(static_cast<int>(1 + below(2))) : vram(4 * (1 + below(6)));
      if (claim.gpu.count == 1 && below(2) == 0) claim.eligible.erase(claim.eligible.begin() + below(2));
      jobs.push_back(job(std::move(claim), below(30) * 100'000));
      jobs.back().holds_us = (1 + below(20)) * 100'000;
      jobs.back().priority = static_cast<int>(below(2));
    }
    scenario_.emplace(PoolConfig{}, jobs, seed);
    scenario_->admission = [this](SimLedger& ledger, size_t) { return std::make_unique<SimDriver>(cards_, ledger); };
    began_us_ = scenario_->world.now_us();
    for (const auto& [at_us, change] : changes_)
      scenario_->world.at(began_us_ + at_us, [this, change = change] { cards_[change.first] = change.second; });
    befall(*scenario_, below);
    const SimRun r = scenario_->run();
    ASSERT_EQ(r.report.broken, "") << "seed " << seed;
    // Asking, and giving way to those who ask, is all that an entitled one may be busy with while nobody is
    // stopped.
    ASSERT_LE(r.report.idle_us[0], 3 * asking_takes_us + giving_way_us) << "seed " << seed;
    ASSERT_LE(r.report.ended_us, began_us_ + 200 * second_us) << "seed " << seed;
    int unfinished = 0;
    for (const SimOutcome& o : r.jobs) unfinished += o.returned && o.error.empty() ? 0 : 1;
    ASSERT_LE(unfinished, 1) << "seed " << seed;  // the one that was killed
  }
}

}  // namespace
}  // namespace berth
