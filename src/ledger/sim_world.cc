#include "ledger/sim_world.h"

#include <algorithm>
#include <cstdlib>

#include "ledger/record.h"
#include "ledger/sim_ledger.h"
#include "sched/plan.h"

namespace berth {

namespace {

constexpr int most_steps = 200'000;            // more is a livelock
constexpr int64_t safety_tick_us = 2'000'000;  // nothing shorter is one (src/engine)
constexpr int64_t prompt_us = 250'000;         // who is idle for longer has been forgotten

}  // namespace

SimWorld::SimWorld(PoolConfig config, uint64_t seed) : random_(seed), config_(std::move(config)) {}

SimWorld::~SimWorld() {
  running_ = true;
  for (auto& p : parties_) p->killed = true;
  for (auto& p : parties_)
    if (p->fiber && !p->done() && p->steps > 0) p->fiber->resume();  // unwinds
}

int SimWorld::add(int uid, std::function<void(SimLedger&)> body) {
  auto p = std::make_unique<SimParty>();
  p->index = static_cast<int>(parties_.size());
  p->uid = uid;
  p->ledger = std::make_unique<SimLedger>(*this, *p);
  p->fiber = std::make_unique<Fiber>([this, self = p.get(), body = std::move(body)] {
    try {
      self->ledger->pause(0);  // so that who comes first is open
      body(*self->ledger);
      if (lock_holder_ == self->index) complain("exits with the lock in hand");
      self->life = false;
      self->bell = false;
    } catch (const SimKilled&) {  // NOLINT: kill() has done it all
    }
  });
  parties_.push_back(std::move(p));
  return parties_.back()->index;
}

// ---- the scheduler ----

bool SimWorld::ready(const SimParty& p) const {
  if (p.done()) return false;
  if (p.killed) return true;  // to be unwound
  if (p.stopped()) return false;
  if (p.blocked == SimParty::Blocked::no) return true;
  if (p.deadline_us >= 0 && now_us_ >= p.deadline_us) return true;
  switch (p.blocked) {
    // flock(2) is not fair to one who tries without waiting, so neither is this: whoever runs first.
    case SimParty::Blocked::lock: return lock_holder_ == nobody || (p.cancelled && p.heeds_cancel);
    case SimParty::Blocked::bell: return p.unread > 0 || p.cancelled || somebody_died(p);
    default: return false;
  }
}

SimReport SimWorld::run() {
  std::vector<SimParty*> able;
  running_ = true;
  while (report_.broken.empty()) {
    able.clear();
    for (auto& p : parties_)
      if (ready(*p)) able.push_back(p.get());
    if (able.empty()) {
      if (!pass_time()) break;
      continue;
    }
    if (++report_.steps > most_steps) complain("livelock: too many steps");
    able[random_() % able.size()]->fiber->resume();
  }
  for (const auto& p : parties_)
    if (!p->done() && !p->killed && report_.broken.empty())
      complain("party " + std::to_string(p->index) + " sleeps for ever");
  report_.ended_us = now_us_ - epoch_us;
  running_ = false;
  return report_;
}

// Nobody can move: on to the next thing that time brings. False if there is nothing.
bool SimWorld::pass_time() {
  int64_t next_us = events_.empty() ? -1 : events_.begin()->first;
  const auto sooner = [&](int64_t t) {
    if (t >= 0 && (next_us < 0 || t < next_us)) next_us = t;
  };
  for (const auto& p : parties_) {
    if (p->done()) continue;
    sooner(p->stopped() ? p->stopped_until_us : p->deadline_us);
  }
  if (next_us < 0) return false;
  next_us = std::max(next_us, now_us_);
  measure_idleness(next_us - now_us_);
  const bool somebody_forgotten =
      std::any_of(parties_.begin(), parties_.end(), [](const auto& p) { return p->idle_us > prompt_us; });
  now_us_ = next_us;
  for (const auto& p : parties_) {
    const bool tick = p->blocked == SimParty::Blocked::bell && p->deadline_us == now_us_ && !p->stopped() &&
                      now_us_ - p->blocked_since_us >= safety_tick_us;
    if (tick && somebody_forgotten) ++report_.rescues;
  }
  continue_the_stopped();
  while (!events_.empty() && events_.begin()->first <= now_us_) {
    const auto what = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    what();
  }
  return true;
}

void SimWorld::continue_the_stopped() {
  for (auto& p : parties_)
    if (p->stopped() && p->stopped_until_us <= now_us_) p->stopped_until_us = -1;
}

// ---- steps ----

bool SimWorld::quiet_step(SimParty& self, std::string_view call) noexcept {
  if (self.killed) return false;
  if (!running_) return true;
  if (tracing_)
    report_.trace.push_back(std::to_string(now_us_ - epoch_us) + " party " + std::to_string(self.index) + " " +
                            std::string(call));
  ++self.steps;
  self.fiber->suspend();
  if (self.killed) return false;
  const SimFate dealt = fate ? fate(self, self.steps, call) : SimFate{};
  if (dealt.kind == SimFate::die) kill(self.index, dealt.for_us);
  if (dealt.kind == SimFate::stop) {
    stop(self.index, dealt.for_us);
    self.fiber->suspend();
  }
  return !self.killed;
}

void SimWorld::step(SimParty& self, std::string_view call) {
  if (!quiet_step(self, call)) throw SimKilled{};
}

void SimWorld::block(SimParty& self, SimParty::Blocked in, int64_t deadline_us) {
  self.blocked = in;
  self.deadline_us = deadline_us;
  self.blocked_since_us = now_us_;
  if (running_ && !ready(self)) self.fiber->suspend();
  while (!running_ && !ready(self))
    if (!pass_time()) std::abort();  // a test that waits by hand for what cannot come
  self.blocked = SimParty::Blocked::no;
  self.deadline_us = -1;
  if (self.killed) throw SimKilled{};
}

void SimWorld::kill(int party, int64_t child_lives_us) {
  SimParty& p = *parties_[static_cast<size_t>(party)];
  if (p.killed || p.done()) return;
  if (tracing_) report_.trace.push_back("        kill " + std::to_string(party));
  p.killed = true;
  p.bell = false;
  p.stopped_until_us = -1;
  if (lock_holder_ == party) lock_holder_ = nobody;
  const SimEntry* e = entry(p.id);
  // Who has no place has started no child yet.
  if (child_lives_us <= 0 || e == nullptr || e->name[0] != 'h')
    p.life = false;
  else
    at(now_us_ + child_lives_us, [&p] { p.life = false; });
}

void SimWorld::stop(int party, int64_t for_us) {
  SimParty& p = *parties_[static_cast<size_t>(party)];
  if (tracing_) report_.trace.push_back("        stop " + std::to_string(party));
  if (!p.killed && !p.done()) p.stopped_until_us = now_us_ + for_us;
}

// ---- the pool ----

bool SimWorld::lives(const PartyId& id) const {
  const auto owner = owners_.find(id);
  // A party that came again has a new id; of the old one nothing is left.
  return owner != owners_.end() && parties_[static_cast<size_t>(owner->second)]->id == id &&
         parties_[static_cast<size_t>(owner->second)]->life;
}

bool SimWorld::somebody_died(const SimParty& p) const {
  return std::any_of(p.watched.begin(), p.watched.end(), [&](const PartyId& id) { return !lives(id); });
}

SimEntry* SimWorld::entry(const PartyId& id) {
  for (SimEntry& e : entries_)
    if (e.id == id) return &e;
  return nullptr;
}

SimParty* SimWorld::owner(const PartyId& id) {
  const auto found = owners_.find(id);
  if (found == owners_.end()) return nullptr;
  SimParty* p = parties_[static_cast<size_t>(found->second)].get();
  return p->id == id ? p : nullptr;
}

Snapshot SimWorld::snapshot() {
  Snapshot out;
  for (const NamedAmount& c : config_.capacities) out.resources.push_back({c.name, c.amount});
  out.policy = config_.policy;
  out.now_us = now_us_;
  // A directory has no order that anybody may rely on.
  const size_t first = entries_.empty() ? 0 : random_() % entries_.size();
  for (size_t i = 0; i < entries_.size(); ++i) {
    const SimEntry& e = entries_[(first + i) % entries_.size()];
    Decoded decoded = decode_record(e.name, {}, out);
    if (decoded == Decoded::needs_target) decoded = decode_record(e.name, e.target, out);
    if (decoded != Decoded::ok) complain("a record that cannot be read: " + e.name);
  }
  return out;
}

// ---- the judge ----

void SimWorld::complain(const std::string& what) {
  if (report_.broken.empty()) report_.broken = what + " (at " + std::to_string(now_us_ - epoch_us) + " us)";
}

// Adds up what the living hold. Called whenever somebody sits down.
void SimWorld::check_grants() {
  std::map<std::string, int64_t> taken;
  struct Card {
    int users = 0;
    bool whole = false;
    int64_t vram_bytes = 0;
    int64_t size_bytes = 0;
    int compute_pct = 0;
  };
  std::map<std::string, Card> cards;
  const Snapshot now = snapshot();
  for (const Party& p : now.parties) {
    if (p.state != PartyState::held || p.nested || !lives(p.id)) continue;
    for (const Amount& a : now.counters(p)) taken[now.resources[a.resource].name] += a.amount;
    if (now.granted(p).size() != static_cast<size_t>(p.gpu.count)) complain("a seat with too few devices");
    for (const Eligible& e : now.eligible(p)) cards[now.devices[e.device]].size_bytes = e.vram_bytes;
    for (const uint16_t d : now.granted(p)) {
      Card& card = cards[now.devices[d]];
      ++card.users;
      card.whole |= p.gpu.whole;
      card.vram_bytes += p.gpu.vram_bytes;
      card.compute_pct += p.gpu.compute_pct;
    }
  }
  ProcessorSet owned;
  for (const Party& p : now.parties) {
    if (p.state != PartyState::held || !lives(p.id)) continue;
    const ProcessorSet own = processor_set(now.own_processors(p));
    if ((owned & own).any()) complain("a processor of two owners");
    owned |= own;
  }
  for (const auto& [name, amount] : taken) {
    int64_t there = 0;
    for (const NamedAmount& c : config_.capacities)
      if (c.name == name) there = c.amount;
    if (amount > there) complain("over-granted: " + name);
  }
  for (const auto& [uuid, card] : cards)
    if ((card.whole && card.users > 1) || card.vram_bytes > card.size_bytes || card.compute_pct > 100)
      complain("over-granted: " + uuid);
}

// Who of the living and running could sit down, were the dead and those stopped waiters whose turn
// it is not there; nobody has moved for all of `passed_us`.
void SimWorld::measure_idleness(int64_t passed_us) {
  const Snapshot now = top_level(snapshot());
  std::vector<bool> absent(now.parties.size(), false);
  int stops = 0;
  for (size_t i = 0; i < absent.size(); ++i) {
    absent[i] = !lives(now.parties[i].id);
    const SimParty* p = owner(now.parties[i].id);
    stops += p != nullptr && p->stopped() && now.parties[i].state != PartyState::held ? 1 : 0;
  }
  Plan answer = plan(now, absent);
  for (bool again = true; again; answer = plan(now, absent)) {
    again = false;
    for (size_t i = 0; i < absent.size(); ++i) {
      const SimParty* p = owner(now.parties[i].id);
      // A supervisor that was killed is as silent as one that was stopped.
      if (answer.verdicts[i] == Verdict::seat && (p->stopped() || p->killed)) absent[i] = again = true;
    }
  }
  // Nobody can do anything while one who is stopped sits on the lock.
  const bool locked = lock_holder_ != nobody;
  std::vector<bool> idle(parties_.size(), false);
  for (size_t i = 0; i < absent.size() && !locked; ++i)
    if (answer.verdicts[i] == Verdict::seat) idle[static_cast<size_t>(owner(now.parties[i].id)->index)] = true;
  for (auto& p : parties_) {
    if (!idle[static_cast<size_t>(p->index)]) {
      p->idle_us = 0;
      p->idle_stops = 0;
      continue;
    }
    p->idle_us += passed_us;
    p->idle_stops = std::min(3, std::max(p->idle_stops, stops));
    int64_t& longest = report_.idle_us[static_cast<size_t>(p->idle_stops)];
    longest = std::max(longest, p->idle_us);
  }
}

}  // namespace berth
