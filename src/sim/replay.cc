#include "sim/replay.h"

#include <algorithm>
#include <deque>
#include <map>
#include <queue>
#include <utility>

#include "sched/estimate.h"
#include "sched/fair_share.h"
#include "sched/plan.h"
#include "sched/rings.h"
#include "sched/watch.h"

namespace berth::sim {

namespace {

// Virtual time 0 of the trace; 0 in a snapshot means that nobody knows the time.
constexpr int64_t epoch_us = 1'000'000'000;

class Replay {
 public:
  Replay(const Trace& trace, const Manner& manner)
      : trace_(trace), looking_(manner.looking), saying_(manner.saying), alarm_(trace.jobs.size(), -1) {
    pool_.policy = manner.policy;
    out_.jobs.resize(trace.jobs.size());
    for (const NamedAmount& c : trace.box.capacities) pool_.resources.push_back({c.name, c.amount});
    for (int card = 0; card < trace.box.gpus; ++card) pool_.devices.push_back("GPU-" + std::to_string(card));
    for (size_t i = 0; i < trace.jobs.size(); ++i) all_.push_back(party_of(i));
  }

  Schedule run() {
    for (size_t i = 0; i < all_.size(); ++i) events_.push({all_[i].arrival_us, Event::arrival, static_cast<int>(i)});
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      set_clock(event.at_us);
      if (event.kind == Event::arrival) arrive(event.job);
      if (event.kind == Event::end) leave(event.job);
      if (event.kind == Event::alarm && alarm_[static_cast<size_t>(event.job)] == event.at_us) {
        alarm_[static_cast<size_t>(event.job)] = -1;
        ring(event.job);
        // Time alone may have turned the plan in somebody's favour who does not know it.
        if (looking_ == Looking::when_rung) ring_all(entitled_and_keepers(pool_, look(), {}));
      }
      // Who goes at the same moment has gone before anybody has the lock.
      if (!events_.empty() && events_.top().at_us == event.at_us) continue;
      if (looking_ == Looking::when_rung)
        answer_rings();
      else
        everybody_looks();
    }
    return std::move(out_);
  }

 private:
  struct Event {
    enum Kind { end, arrival, alarm };
    int64_t at_us;
    Kind kind;
    int job;
    bool operator<(const Event& other) const {  // the top of the queue is the greatest
      if (at_us != other.at_us) return at_us > other.at_us;
      return kind != other.kind ? kind > other.kind : job > other.job;
    }
  };

  Party party_of(size_t job) {
    const TraceJob& from = trace_.jobs[job];
    Party party;
    size_t rest = job;
    party.id.text.fill('a');
    for (size_t digit = PartyId::size; digit-- > 4; rest /= 26)
      party.id.text[digit] = static_cast<char>('a' + rest % 26);
    const size_t uid = 1000 + users_.emplace(from.user, users_.size()).first->second;
    static_cast<PartyKey&>(party) = PartyKey::of(party.id, std::to_string(uid));
    // No two of one moment: a newcomer comes after everybody who is there.
    last_arrival_us_ = std::max(last_arrival_us_ + 1, epoch_us + from.arrival_us);
    party.arrival_us = last_arrival_us_;
    party.priority = from.priority;
    party.expect_s = from.expect_s;
    party.gpu = from.gpu;
    party.entry = static_cast<uint32_t>(job);
    party.counters.first = static_cast<uint32_t>(pool_.amounts.size());
    for (const NamedAmount& want : from.counters)
      for (size_t r = 0; r < pool_.resources.size(); ++r)
        if (pool_.resources[r].name == want.name) pool_.amounts.push_back({static_cast<uint16_t>(r), want.amount});
    party.counters.count = static_cast<uint32_t>(pool_.amounts.size()) - party.counters.first;
    party.eligible.first = static_cast<uint32_t>(pool_.eligibles.size());
    if (from.gpu.count > 0)
      for (int card = 0; card < trace_.box.gpus; ++card)
        pool_.eligibles.push_back(
            {static_cast<uint16_t>(card), static_cast<uint8_t>(card), 0, 0, trace_.box.vram_bytes});
    party.eligible.count = static_cast<uint32_t>(pool_.eligibles.size()) - party.eligible.first;
    return party;
  }

  // How long the last of its user and label ran.
  std::vector<int64_t>& ran_before(int job) {
    const TraceJob& of = trace_.jobs[static_cast<size_t>(job)];
    return ran_[{of.user, of.label}];
  }

  void set_clock(int64_t at_us) {
    if (pool_.now_us != at_us) known_ = false;
    pool_.now_us = at_us;
  }

  const Plan& look() {
    ++out_.looks;
    if (!std::exchange(known_, true)) {
      plan_ = plan(pool_);
      ++out_.plans;
    }
    return plan_;
  }

  [[nodiscard]] int index_of(int job) const {
    for (size_t i = 0; i < pool_.parties.size(); ++i)
      if (pool_.parties[i].entry == static_cast<uint32_t>(job)) return static_cast<int>(i);
    return -1;
  }

  void ring(int job) {
    if (std::find(rung_.begin(), rung_.end(), job) == rung_.end()) rung_.push_back(job);
  }
  void ring_all(const std::vector<int>& parties) {
    for (const int party : parties) ring(static_cast<int>(pool_.parties[static_cast<size_t>(party)].entry));
  }

  void arrive(int job) {
    pool_.parties.push_back(all_[static_cast<size_t>(job)]);
    const int self = static_cast<int>(pool_.parties.size()) - 1;
    Party& own = pool_.parties.back();
    if (saying_ == Saying::learned) own.expect_s = estimate_s(ran_before(job)).value_or(0);
    own.debt_us = debt_us(pool_, self, accounts_[trace_.jobs[static_cast<size_t>(job)].user]);
    std::vector<bool> without(pool_.parties.size(), false);
    without.back() = true;
    if (looking_ == Looking::at_changes) {
      known_ = false;
      return;
    }
    const Plan before = plan(pool_, without);
    ++out_.plans;
    known_ = false;
    const bool at_once = look().verdict_of(self) == Verdict::seat;
    if (at_once) sit_down(self, look().seat_of(self));
    const Plan& after = look();
    const bool helps =
        std::any_of(before.line.begin(), before.line.end(), [&](int waiter) { return lets_go(before, after, waiter); });
    if (helps) {
      ring_all(entitled_and_keepers(pool_, after, {self}));
      ring_all(heirs(pool_, before, sure_blockers(pool_, before), after));
    }
    ring_all(newcomer_concerns(pool_, before, after, self));
    if (at_once) return;
    ring_all(overtaken(pool_, after, self));
    set_alarm(self);
  }

  void leave(int job) {
    const int self = index_of(job);
    if (looking_ == Looking::when_rung) {
      const Plan before = look();
      const Chains chains = sure_blockers(pool_, before);
      ring_all(dependents(pool_, before, chains, {self}));
      std::vector<bool> gone(pool_.parties.size(), false);
      gone[static_cast<size_t>(self)] = true;
      const Plan after = plan(pool_, gone);
      ++out_.plans;
      ring_all(entitled_and_keepers(pool_, after, {self}));
      ring_all(heirs(pool_, before, chains, after));
    }
    const TraceJob& of = trace_.jobs[static_cast<size_t>(job)];
    std::vector<int64_t>& ran = ran_before(job);
    ran.insert(ran.begin(), of.run_us);
    if (ran.size() > most_samples) ran.resize(most_samples);
    if (pool_.policy.fair_share)
      accounts_[of.user] =
          charged(accounts_[of.user], pool_, pool_.parties[static_cast<size_t>(self)], of.run_us, pool_.now_us);
    pool_.parties[static_cast<size_t>(self)] = pool_.parties.back();
    pool_.parties.pop_back();
    known_ = false;
  }

  // A rung party looks, and sits down if it may.
  void answer_rings() {
    while (!rung_.empty()) {
      const int job = rung_.front();
      rung_.pop_front();
      const int self = index_of(job);
      if (self < 0 || pool_.parties[static_cast<size_t>(self)].state != PartyState::waiting) continue;
      if (look().verdict_of(self) != Verdict::seat) {
        set_alarm(self);
        continue;
      }
      const Plan before = plan_;
      const Chains chains = sure_blockers(pool_, before);
      ring_all(dependents(pool_, before, chains, {self}));
      sit_down(self, before.seat_of(self));
      const Plan& after = look();
      ring_all(entitled_and_keepers(pool_, after, {self}));
      ring_all(heirs(pool_, before, chains, after));
    }
  }

  void everybody_looks() {
    for (bool again = true; std::exchange(again, false);) {
      const Plan now = look();
      for (const int self : now.line) {
        if (now.verdict_of(self) != Verdict::seat) continue;
        sit_down(self, now.seat_of(self));
        again = true;
      }
    }
    if (look().look_again_us >= 0) events_.push({plan_.look_again_us, Event::alarm, 0});
  }

  void sit_down(int self, const std::vector<uint16_t>& devices) {
    Party& party = pool_.parties[static_cast<size_t>(self)];
    const auto job = static_cast<int>(party.entry);
    Placement& place = out_.jobs[party.entry];
    place.start_us = pool_.now_us - epoch_us;
    place.cards.assign(devices.begin(), devices.end());
    party.state = PartyState::held;
    party.seated_us = pool_.now_us;
    pool_.grant(static_cast<size_t>(self), devices);
    events_.push({pool_.now_us + trace_.jobs[static_cast<size_t>(job)].run_us, Event::end, job});
    known_ = false;
  }

  // What a real party would put its deadline to.
  void set_alarm(int self) {
    const Party& party = pool_.parties[static_cast<size_t>(self)];
    const Plan& now = look();
    if (now.look_again_us < 0) return;
    const int64_t at_us = watch(pool_, now, self).look_again_us;
    if (at_us < 0 || alarm_[party.entry] == at_us) return;
    alarm_[party.entry] = at_us;
    events_.push({at_us, Event::alarm, static_cast<int>(party.entry)});
  }

  const Trace& trace_;
  Looking looking_;
  Saying saying_;
  Snapshot pool_;
  std::map<std::string, size_t> users_;
  std::map<std::string, UseAccount> accounts_;  // by user
  std::map<std::pair<std::string, std::string>, std::vector<int64_t>> ran_;
  std::vector<Party> all_;
  int64_t last_arrival_us_ = 0;
  std::priority_queue<Event> events_;
  std::vector<int64_t> alarm_;  // by job
  std::deque<int> rung_;        // jobs
  bool known_ = false;          // plan_ is of the pool as it stands
  Plan plan_;
  Schedule out_;
};

}  // namespace

Schedule replay(const Trace& trace, const Manner& manner) {
  Schedule out = Replay(trace, manner).run();
  out.name = manner.looking == Looking::when_rung ? "berth" : "berth, everybody looks";
  return out;
}

}  // namespace berth::sim
