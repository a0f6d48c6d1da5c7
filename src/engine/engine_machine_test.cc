// The engine on a machine that is short of memory, in the simulated world.
#include <gtest/gtest.h>

#include "engine/sim_scenario.h"

namespace berth {
namespace {

constexpr int64_t slowest_look_us = 6'000'000;  // of one at the front that is out
constexpr int64_t courtesy_us = 300'000;

Claim mib(int64_t amount) { return {{{"ram", amount}}, {}, {}}; }

// A machine of `total`, of which strangers have what they have at this moment; what a lease claims it uses at
// once. Where it thrashes, nobody who claims memory comes in.
struct SimFigures {
  int64_t total = 100;
  int64_t strangers = 0;
  bool thrashes = false;
};

class SimMachine : public MachineWord {
 public:
  SimMachine(const SimFigures& now, int* looks) : now_(now), looks_(looks) {}
  void look() override {
    seen_ = now_;
    if (looks_ != nullptr) ++*looks_;
  }
  [[nodiscard]] std::string refusal(const Snapshot& snapshot, const std::vector<bool>& dead, int index,
                                    Stand stand) const override {
    const int64_t asked = ram_of(snapshot, snapshot.parties[static_cast<size_t>(index)]);
    if (asked == 0) return "";
    const bool seated = stand == Stand::seat;
    if (stand != Stand::in_line && seen_.thrashes) return "it thrashes";
    int64_t left = seen_.total - seen_.strangers;
    for (size_t i = 0; seated && i < snapshot.parties.size(); ++i)
      if (snapshot.parties[i].state == PartyState::held && !dead[i]) left -= ram_of(snapshot, snapshot.parties[i]);
    return asked > left ? "no memory" : "";
  }

 private:
  static int64_t ram_of(const Snapshot& snapshot, const Party& party) {
    for (const Amount& a : snapshot.counters(party))
      if (snapshot.resources[a.resource].name == "ram") return a.amount;
    return 0;
  }
  const SimFigures& now_;
  int* looks_;
  SimFigures seen_;
};

class EngineAndMachine : public testing::Test {
 protected:
  SimRun run(std::vector<SimJob> jobs, uint64_t seed = 1) {
    scenario_.emplace(pool_of(4), std::move(jobs), seed);
    scenario_->machine = [this](SimLedger&, size_t) { return std::make_unique<SimMachine>(figures_, &looks_); };
    began_us_ = scenario_->world.now_us();
    for (const auto& [at_us, figures] : changes_)
      scenario_->world.at(began_us_ + at_us, [this, now = figures] { figures_ = now; });
    return scenario_->run();
  }
  void from(int64_t at_us, SimFigures figures) { changes_.emplace_back(at_us, figures); }
  [[nodiscard]] int64_t seated_after_us(const SimRun& r, size_t job) const { return r.jobs[job].seated_us - began_us_; }

  SimFigures figures_;
  std::vector<std::pair<int64_t, SimFigures>> changes_;
  std::optional<SimScenario> scenario_;
  int64_t began_us_ = 0;
  int looks_ = 0;
};

TEST_F(EngineAndMachine, WhoIsOutHoldsUpNobodyAndTakesItsPlaceWhenItMay) {
  figures_.strangers = 50;
  from(3 * second_us, {});
  const SimRun r = run({job(mib(60)), job(mib(40), 1000), job(cpus(4), 2000), job(cpus(4), 3000)});
  EXPECT_EQ(seated_after_us(r, 1), 1000);
  EXPECT_EQ(seated_after_us(r, 2), 2000);
  EXPECT_EQ(seated_after_us(r, 3), 2000 + second_us);
  EXPECT_GE(seated_after_us(r, 0), 3 * second_us);
  EXPECT_LE(seated_after_us(r, 0), 3 * second_us + slowest_look_us);
  EXPECT_EQ(r.report.broken, "");
  EXPECT_EQ(r.report.idle_us[0], 0);
}

// What it had set aside in line falls to those behind in the moment in which it is out.
TEST_F(EngineAndMachine, WhoIsOutWhenItsTurnComesLetsOthersPassAtOnce) {
  figures_.thrashes = true;
  from(5 * second_us, {});
  Claim both = mib(60);
  both.counters.push_back({"cpu", 4});
  std::vector<SimJob> jobs{job(cpus(4)), job(both, 1000)};
  for (int i = 0; i < 4; ++i) jobs.push_back(job(cpus(1), 2000 + i));
  const SimRun r = run(jobs);
  for (size_t i = 2; i < 6; ++i) EXPECT_EQ(seated_after_us(r, i), second_us) << i;
  EXPECT_GE(seated_after_us(r, 1), 5 * second_us);
  EXPECT_EQ(r.report.rescues, 0);
}

TEST_F(EngineAndMachine, NobodyComesInWhileItThrashesThoughTheBookHasRoom) {
  figures_.thrashes = true;
  from(10 * second_us, {});
  std::vector<SimJob> jobs;
  for (int i = 0; i < 8; ++i) jobs.push_back(job(mib(10), i * 1000));
  const SimRun r = run(jobs);
  for (size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_GE(seated_after_us(r, i), 10 * second_us);
    EXPECT_LE(seated_after_us(r, i), 10 * second_us + 4 * slowest_look_us) << i;
  }
}

// Whoever looks first when it is over tells those before it.
TEST_F(EngineAndMachine, WhoIsOutIsNotOvertaken) {
  figures_.thrashes = true;
  from(10 * second_us, {});
  std::vector<SimJob> jobs;
  for (int i = 0; i < 6; ++i) jobs.push_back(job(mib(100), i * 1000));
  const SimRun r = run(jobs);
  EXPECT_EQ(joined(r.seated), "0 1 2 3 4 5");
}

// A large one is not starved by small ones: what leases use is waited for in line.
TEST_F(EngineAndMachine, WhoWaitsForLeasesStandsInLine) {
  figures_.total = 90;  // less than the book says
  std::vector<SimJob> jobs{job(mib(50)), job(mib(80), 1000)};
  for (int i = 0; i < 20; ++i) jobs.push_back(job(mib(10), 2000 + i * second_us / 4));
  const SimRun r = run(jobs);
  EXPECT_LE(seated_after_us(r, 1), 3 * second_us);
  EXPECT_EQ(r.report.broken, "");
}

TEST_F(EngineAndMachine, TheEndOfALeaseIsHeardOf) {
  figures_.total = 90;
  std::vector<SimJob> jobs{job(mib(45)), job(mib(50), 1000)};
  jobs[0].holds_us = 20 * second_us + 77;
  const SimRun r = run(jobs);
  EXPECT_EQ(seated_after_us(r, 1), 20 * second_us + 77);
}

TEST_F(EngineAndMachine, WhoIsOutForLongLooksSeldom) {
  figures_.strangers = 90;
  from(120 * second_us, {});
  const SimRun r = run({job(mib(60))});
  EXPECT_GE(seated_after_us(r, 0), 120 * second_us);
  EXPECT_LE(looks_, 90);
}

TEST_F(EngineAndMachine, NoWaitIsBusy) {
  figures_.strangers = 90;
  std::vector<SimJob> jobs{job(mib(60))};
  jobs[0].no_wait = true;
  EXPECT_EQ(run(jobs).jobs[0].ending, Ending::busy);
}

TEST_F(EngineAndMachine, WhoIsStoppedWhileItIsOutComesBack) {
  figures_.strangers = 50;
  from(3 * second_us, {});
  std::vector<SimJob> jobs{job(mib(60)), job(mib(60), 1000)};
  jobs[0].cancelled_us = second_us;
  jobs[0].steps_aside_us = 5 * second_us;
  const SimRun r = run(jobs);
  EXPECT_LE(seated_after_us(r, 1), 3 * second_us + slowest_look_us);
  EXPECT_GE(seated_after_us(r, 0), 6 * second_us);
  EXPECT_EQ(r.report.broken, "");
}

// Memory comes and goes while parties are killed and stopped: who claims none is delayed by nobody who is
// out, nothing is granted twice, and all end.
TEST_F(EngineAndMachine, AtRandomNobodyIsForgottenOrHeldUp) {
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    Below below(seed * 6151 + 11);
    changes_.clear();
    figures_ = {100, below(100), below(4) == 0};
    for (int64_t i = below(6); i > 0; --i) from(below(50) * 100'000, {100 - below(30), below(100), below(3) == 0});
    from(5 * second_us, {});
    std::vector<SimJob> jobs;
    for (int64_t i = 2 + below(7); i > 0; --i) {
      Claim claim = below(2) == 0 ? mib(10 * (1 + below(10))) : cpus(1 + below(4));
      if (below(3) == 0) claim.counters.push_back({claim.counters[0].name == "cpu" ? "ram" : "cpu", 1 + below(4)});
      jobs.push_back(job(std::move(claim), below(30) * 100'000));
      jobs.back().holds_us = (1 + below(20)) * 100'000;
      jobs.back().priority = static_cast<int>(below(2));
      if (below(4) == 0) jobs.back().expect_s = 1 + below(3);
    }
    std::vector<SimJob> copy = jobs;
    scenario_.emplace(pool_of(4), std::move(copy), seed);
    scenario_->machine = [this](SimLedger&, size_t) { return std::make_unique<SimMachine>(figures_, nullptr); };
    began_us_ = scenario_->world.now_us();
    for (const auto& [at_us, figures] : changes_)
      scenario_->world.at(began_us_ + at_us, [this, now = figures] { figures_ = now; });
    befall(*scenario_, below);
    const SimRun r = scenario_->run();
    ASSERT_EQ(r.report.broken, "") << "seed " << seed;
    // One that gives way to another is entitled, and waits for it.
    ASSERT_LE(r.report.idle_us[0], 8 * courtesy_us) << "seed " << seed;
    ASSERT_LE(r.report.ended_us, began_us_ + 60 * second_us) << "seed " << seed;
    int unfinished = 0;
    for (const SimOutcome& o : r.jobs) unfinished += o.returned && o.error.empty() ? 0 : 1;
    ASSERT_LE(unfinished, 1) << "seed " << seed;  // the one that was killed
  }
}

}  // namespace
}  // namespace berth
