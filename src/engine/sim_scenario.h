// Jobs in a simulated pool, for tests of the engine: what each asks for, when it comes and how long
// it stays; and how each ended.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "ledger/sim_ledger.h"

namespace berth {

struct SimJob {
  Claim claim;
  int64_t comes_us = 0;
  int64_t holds_us = 1'000'000;
  int64_t expect_s = 0;  // what it says of that
  int priority = 0;
  bool no_wait = false;
  int64_t gives_up_us = -1;    // after it came; negative: never
  int64_t cancelled_us = -1;   // when its cancel descriptor becomes readable
  int64_t steps_aside_us = 0;  // on being cancelled it stops for so long, as under SIGTSTP; 0: it gives up
  bool sleeps_on = false;      // on being cancelled it does nothing, as under SIGWINCH
  int uid = 1001;
  std::string may_run_on;  // "0-3": it is to have that many of these processors for its own as it claims cpu
};

struct SimOutcome {
  bool returned = false;  // from acquire()
  Ending ending = Ending::busy;
  std::string error;
  int64_t seated_us = -1;  // virtual time
  int turn = -1;           // the how-many-eth to be seated
  std::vector<std::string> devices;
  std::string processors;
  bool gave_back = false;
  bool left_behind = false;  // after acquire() said no, or release() said yes, its record still stood
};

// Takes the lowest ones that it may use.
class LowestProcessors : public ProcessorChoice {
 public:
  explicit LowestProcessors(const std::string& list) : may_use_(processor_set(*parse_processors(list))) {}
  [[nodiscard]] ProcessorSet choose(int64_t count, const ProcessorSet& taken,
                                    const std::vector<std::string>&) const override {
    ProcessorSet out;
    const ProcessorSet free = may_use_ & ~taken;
    for (size_t i = 0; i < free.size() && static_cast<int64_t>(out.count()) < count; ++i) out[i] = free[i];
    return static_cast<int64_t>(out.count()) == count ? out : ProcessorSet();
  }

 private:
  ProcessorSet may_use_;
};

struct SimRun {
  SimReport report;
  std::vector<SimOutcome> jobs;
  std::vector<std::string> seated;  // "0 2 1": indices in the order of being seated
  std::vector<int> steps;           // that each party took
};

class SimScenario {
 public:
  SimScenario(PoolConfig config, std::vector<SimJob> jobs, uint64_t seed)
      : world(std::move(config), seed), jobs_(std::move(jobs)), outcomes_(jobs_.size()) {
    for (size_t i = 0; i < jobs_.size(); ++i) {
      world.add(jobs_[i].uid, [this, i](SimLedger& ledger) { work(ledger, i); });
      if (jobs_[i].cancelled_us >= 0)
        world.at(world.now_us() + jobs_[i].cancelled_us, [this, i] { world.cancel(static_cast<int>(i)); });
    }
  }

  SimRun run() {
    SimRun out;
    out.report = world.run();
    out.jobs = outcomes_;
    for (size_t i = 0; i < jobs_.size(); ++i) out.steps.push_back(world.party(static_cast<int>(i)).steps);
    std::vector<size_t> by_turn(jobs_.size(), jobs_.size());
    for (size_t i = 0; i < jobs_.size(); ++i)
      if (outcomes_[i].turn >= 0) by_turn[static_cast<size_t>(outcomes_[i].turn)] = i;
    for (const size_t i : by_turn)
      if (i < jobs_.size()) out.seated.push_back(std::to_string(i));
    return out;
  }

  // Who speaks for the driver to job number `index`; none: only the book counts.
  std::function<std::unique_ptr<Admission>(SimLedger&, size_t index)> admission;

  // Who speaks for the machine; none: nobody.
  std::function<std::unique_ptr<MachineWord>(SimLedger&, size_t index)> machine;
  // What job number `index` does when it is told that it waits; see Engine::on_waiting().
  std::function<int64_t(SimLedger&, size_t index, const Waiting&)> tells;

  // May be changed until run().
  std::vector<SimJob>& jobs() { return jobs_; }

  SimWorld world;

 private:
  bool stands(const SimLedger& ledger) const {
    const auto& all = world.entries();
    return std::any_of(all.begin(), all.end(), [&](const SimEntry& e) { return e.id == ledger.party().id; });
  }

  void work(SimLedger& ledger, size_t index) {
    const SimJob& job = jobs_[index];
    SimOutcome& outcome = outcomes_[index];
    if (job.comes_us > 0) ledger.pause(job.comes_us);
    Engine engine(ledger, [] { return PoolConfig{}; });
    if (job.steps_aside_us > 0) {
      engine.on_cancel([&] {
        ledger.forget_cancel();
        (void)engine.step_aside();
        ledger.stop_myself(job.steps_aside_us);
        world.cancel(static_cast<int>(index));  // SIGCONT is heard like any other signal
        (void)engine.step_back();
        ledger.forget_cancel();
        return Engine::OnCancel::look;
      });
    }
    if (job.sleeps_on) {
      engine.on_cancel([&] {
        ledger.forget_cancel();
        return Engine::OnCancel::sleep_on;
      });
    }
    Request request;
    request.claim = job.claim;
    request.priority = job.priority;
    request.expect_s = job.expect_s;
    request.priority_cap = max_priority_magnitude;
    WaitRule rule;
    rule.no_wait = job.no_wait;
    if (job.gives_up_us >= 0) rule.deadline_us = ledger.now_monotonic_us() + job.gives_up_us;
    const std::unique_ptr<Admission> word = admission ? admission(ledger, index) : nullptr;
    if (word) engine.heed(*word);
    const std::unique_ptr<MachineWord> figures = machine ? machine(ledger, index) : nullptr;
    if (figures) engine.heed(*figures);
    std::optional<LowestProcessors> processors;
    if (!job.may_run_on.empty()) engine.heed(processors.emplace(job.may_run_on));
    request.pins = processors.has_value();
    if (tells) engine.on_waiting([&](const Waiting& waiting) { return tells(ledger, index, waiting); });
    const auto got = engine.acquire(request, rule);
    engine.heed_nobody();
    outcome.returned = true;
    outcome.left_behind = (!got.ok() || got->ending != Ending::seated) && stands(ledger);
    if (!got.ok()) {
      outcome.error = got.error().message;
      return;
    }
    outcome.ending = got->ending;
    if (got->ending != Ending::seated) return;
    outcome.turn = turns_++;
    outcome.seated_us = ledger.now_monotonic_us();
    for (const DeviceRef& d : got->devices) outcome.devices.push_back(d.uuid);
    outcome.processors = show_processors(engine.record().processors);
    ledger.pause(job.holds_us);
    const auto released = engine.release();
    outcome.gave_back = released.ok() && *released;
    outcome.left_behind = outcome.gave_back && stands(ledger);
  }

  std::vector<SimJob> jobs_;
  std::vector<SimOutcome> outcomes_;
  int turns_ = 0;
};

// ---- shorthand ----

inline constexpr int64_t second_us = 1'000'000;
// Past one stopped waiter: 100 ms for its bell, and what it takes to notice (facts/reliability.md).
inline constexpr int64_t past_a_stopped_one_us = 250'000;

inline Claim cpus(int64_t amount) { return {{{"cpu", amount}}, {}, {}}; }

inline Claim gpus(int count, std::vector<std::string> on = {"A", "B"}) {
  Claim claim;
  claim.gpu.count = count;
  for (std::string& uuid : on) claim.eligible.push_back({std::move(uuid), 24});
  return claim;
}

inline Claim vram(int64_t bytes, std::vector<std::string> on = {"A", "B"}) {
  Claim claim = gpus(1, std::move(on));
  claim.gpu.whole = false;
  claim.gpu.vram_bytes = bytes;
  return claim;
}

inline SimJob job(Claim claim, int64_t comes_us = 0) {
  SimJob out;
  out.claim = std::move(claim);
  out.comes_us = comes_us;
  return out;
}

// Chance: below(n) is one of 0 to n - 1.
class Below {
 public:
  explicit Below(uint64_t seed) : random_(seed) {}
  int64_t operator()(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }

 private:
  std::mt19937_64 random_;
};

// Where chance has it, somebody is killed and somebody stopped. `below` outlives the run.
inline void befall(SimScenario& scenario, Below& below) {
  const int64_t most_kills = below(2);
  const int64_t most_stops = below(2);
  scenario.world.fate = [&below, kills = most_kills, stops = most_stops](const SimParty&, int,
                                                                         std::string_view) mutable -> SimFate {
    if (kills > 0 && below(60) == 0) return --kills, SimFate{SimFate::die, below(2) * 500'000};
    if (stops > 0 && below(40) == 0) return --stops, SimFate{SimFate::stop, (1 + below(30)) * 100'000};
    return {};
  };
}

inline PoolConfig pool_of(int64_t cpu) { return {{{"cpu", cpu}, {"ram", 100}}, {}}; }

inline std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : " ") + w;
  return out;
}

// No promise was broken, and nobody who could sit down was kept waiting.
inline void expect_prompt(const SimRun& run) {
  EXPECT_EQ(run.report.broken, "");
  EXPECT_EQ(run.report.idle_us[0], 0) << "a free place lay idle though nobody was stopped";
  EXPECT_LE(run.report.idle_us[1], past_a_stopped_one_us);
  if (run.report.idle_us[3] == 0) {
    EXPECT_EQ(run.report.rescues, 0) << "a safety tick was needed";
  }
}

}  // namespace berth
