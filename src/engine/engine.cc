// The order of things.
//
//   acquire:  lock - read - plan -> a seat:  ring those it concerns, rename, unlock.
//                                -> no seat: publish "waiting", take hold of the lives that stand in
//                                   the way, unlock, sleep on them and on the bell; then again.
//   release:  lock - read - plan as it will be - ring - clear the record - unlock - drop the life.
//
// Killed between any two of these steps, a process leaves one of three things: nothing; a record
// whose life is gone, which wakes whoever watched it and counts as nothing from then on; or rings
// without a change, which cost a look each. docs/model proves the same for the wake-ups.
//
// Three facts carry the liveness. Whoever sleeps holds the lives of a set of parties without whose
// going it could not be seated (sched/watch.h). Whoever changes what such a set is made of rings it
// first. And a process that does not answer its bell within 100 ms is planned around by the two
// behind it, which are rung together with it.
#include "engine/engine.h"

#include <algorithm>
#include <limits>

#include "base/text.h"
#include "sched/watch.h"

namespace berth {

namespace {

constexpr int64_t most_ahead_us = 3'600'000'000;  // an arrival further ahead of our clock is nobody's clock
constexpr int64_t answer_age_us = 500'000;        // what a driver said longer ago than this is not believed
constexpr int64_t first_pace_us = 250'000;        // at which a driver that refused is asked again,
constexpr int64_t slowest_pace_us = 5'000'000;    // and what that grows to, for those at the front;
constexpr int most_pace_doublings = 3;            // doubled for every two refused ones ahead
constexpr int64_t rung_pace_us = 100'000;         // and at least, where somebody rings
constexpr int64_t courtesy_us = 300'000;  // for one ahead to find out that its driver refuses it nothing any more,
constexpr int64_t longest_courtesy_us = 2'000'000;
constexpr int64_t courtesy_again_us = 10'000'000;  // and how long it gets none after that
constexpr int64_t answer_time_us = 100'000;        // how long a rung waiter has before it is passed over
constexpr int64_t stale_us = 500'000;              // unanswered rings older than this prove nothing any more
constexpr int64_t safety_tick_us = 2'000'000;      // of the two at the front; doubles with every two behind
constexpr int64_t longest_tick_us = 3'600'000'000;
constexpr int64_t release_patience_us = 2'000'000;  // then the death of our life frees the place as well
constexpr int64_t step_aside_patience_us = 500'000;
constexpr int64_t no_wait_patience_us = 5'000'000;  // for the lock, where nobody wants to wait
constexpr size_t few = 8;          // of so few parties three lives are looked at in passing, of more one:
constexpr int samples_of_few = 3;  // enough to tidy up after crashes, and cheap
constexpr int most_keepers = 16;
constexpr size_t supervised = 4;  // entitled waiters one look takes care of

std::vector<bool> either(const std::vector<bool>& a, const std::vector<bool>& b) {
  std::vector<bool> out(a);
  for (size_t i = 0; i < out.size(); ++i) out[i] = out[i] || b[i];
  return out;
}

// Gives the lock back whichever way a function is left.
class Unlock {
 public:
  explicit Unlock(Ledger& ledger) : ledger_(ledger) {}
  Unlock(const Unlock&) = delete;
  Unlock& operator=(const Unlock&) = delete;
  ~Unlock() { ledger_.unlock(); }

 private:
  Ledger& ledger_;
};

}  // namespace

Result<Snapshot> Engine::read_config_first() {
  auto snapshot = ledger_.read();
  if (!snapshot || ledger_.config() != nullptr) return snapshot;
  const std::string complaint = ledger_.config_complaint();
  if (!complaint.empty())
    return Error{ErrorKind::unavailable, 0,
                 complaint + ": its owner or root mends it with \"berth set\", or removes it"};
  if (auto wrote = ledger_.write_config(defaults_()); !wrote) return wrote.error();
  return ledger_.read();
}

Result<Snapshot> Engine::rivals(Snapshot all) {
  const bool any_nested = std::any_of(all.parties.begin(), all.parties.end(), [](const Party& p) { return p.nested; });
  if (!record_.parent) return any_nested ? top_level(all) : std::move(all);
  // A nested lease stands in its parent's directory, and counts nowhere else.
  const int parent = record_.dir.empty() ? all.find(*record_.parent) : -1;
  if (parent >= 0 && ledger_.ours(all.parties[static_cast<size_t>(parent)]))
    record_.dir = all.parties[static_cast<size_t>(parent)].dir();
  auto within = inside(all, PartyKey::of(*record_.parent, record_.dir));
  if (within) return std::move(*within);
  return Error{ErrorKind::lost, 0, "the lease that this one was inside of is gone"};
}

// Where we stand in the snapshot, and what of us is published there.
bool Engine::find_own_record(Look& look, const PartyKey& who) {
  look.self = look.snapshot.find(who);
  if (look.self < 0) return false;
  look.veto_before = look.snapshot.veto(look.snapshot.parties[static_cast<size_t>(look.self)]);
  look.veto = look.veto_before;
  return true;
}

Result<> Engine::find_self(Look& look) {
  if (entered_) {
    if (find_own_record(look, own_key())) return success();
    return Error{ErrorKind::lost, 0, "our place in line was removed from the pool"};
  }
  const int64_t now_us = ledger_.now_wall_us();
  int64_t latest_us = 0;
  for (const Party& p : look.snapshot.parties)
    if (p.arrival_us < now_us + most_ahead_us) latest_us = std::max(latest_us, p.arrival_us);
  record_.arrival_us = std::min(max_amount, std::max(now_us, latest_us + 1));
  record_.priority = std::min(record_.priority, std::max(priority_cap_, look.snapshot.policy.max_priority));
  record_.state = PartyState::waiting;
  record_.grant.clear();
  record_.veto = 0;
  if (!record_.parent) record_.dir = "0";  // until enter() says where
  // We plan with what others will read of us, not with what we meant.
  if (decode_record(record_name(record_), record_target(record_), look.snapshot) != Decoded::ok)
    return Error{ErrorKind::usage, 0, "the claim is too large to be written down"};
  look.self = static_cast<int>(look.snapshot.parties.size()) - 1;
  return success();
}

Result<Engine::Look> Engine::look() {
  auto all = read_config_first();
  if (!all) return all.error();
  auto snapshot = rivals(std::move(*all));
  if (!snapshot) return snapshot.error();
  Look look;
  look.snapshot = std::move(*snapshot);
  if (auto found = find_self(look); !found) return found.error();
  recall_the_dead(look);
  look.silent.assign(look.snapshot.parties.size(), false);
  if (!entered_) sample_the_dead(look);
  const int64_t began_us = ledger_.now_monotonic_us();
  settle(look);
  look.impossible = look.verdict() == Verdict::impossible;
  if (admission_ != nullptr) {
    heed_driver(look, [this](Look& l) { settle(l); });
    look.gives_way = gives_way(look);
  }
  // Who was not found waiting to sit down this time has answered, one way or another. Counting on
  // would pass it over at once when its next turn comes, before it can have read its bell.
  std::erase_if(patience_, [&](const auto& entry) { return entry.second.last_look_us < began_us; });
  return look;
}

// Death is final: whom we found dead, and could not remove, is dead in every later look.
void Engine::recall_the_dead(Look& look) const {
  look.dead.assign(look.snapshot.parties.size(), false);
  if (known_dead_.empty()) return;
  for (size_t i = 0; i < look.dead.size(); ++i) look.dead[i] = known_dead_.contains(look.snapshot.parties[i]);
}

bool Engine::bury(Look& look, int index) {
  const auto i = static_cast<size_t>(index);
  if (look.dead[i]) return false;
  look.dead[i] = true;
  if (known_dead_.insert(look.snapshot.parties[i]).second) look.newly_dead.push_back(index);
  return true;
}

void Engine::sample_the_dead(Look& look) {
  const size_t count = look.snapshot.parties.size();
  size_t at = static_cast<unsigned char>(record_.id.text[0]) * 7U + static_cast<unsigned char>(record_.id.text[1]);
  int left = count <= few ? samples_of_few : 1;
  for (size_t step = 0; step < count && left > 0; ++step, ++at) {
    const size_t index = at % count;
    if (static_cast<int>(index) == look.self || !ledger_.may_reap(look.snapshot.parties[index])) continue;
    --left;
    if (ledger_.life(look.snapshot.parties[index]) == Life::dead) bury(look, static_cast<int>(index));
  }
}

// Plans, asks the kernel about those the answer hangs on, and plans again until it hangs on the
// living. Every round but the last takes somebody out, so it ends.
void Engine::settle(Look& look) {
  const size_t rounds = look.snapshot.parties.size() + 2;
  for (size_t round = 0; round < rounds; ++round) {
    look.plan = plan(look.snapshot, either(look.dead, look.silent));
    look.look_again_us = -1;
    look.contending_ahead = 0;
    if (look.verdict() != Verdict::wait) {
      (void)ledger_.watch(look.snapshot, {});  // a dead one among them would keep us awake
      return;
    }
    const Watch watched = watch(look.snapshot, look.plan, look.self);
    look.contending_ahead = static_cast<int>(watched.ahead.size());
    bool changed = std::exchange(deep_, false) && look_deeply(look, watched);
    for (const int index : ledger_.watch(look.snapshot, watched.parties)) changed |= bury(look, index);
    if (!changed) changed = supervise(look, watched.entitled);
    // Two or three dead are a crash. More are a graveyard, and are better counted all at once.
    if (changed && round == 3) (void)look_deeply(look, watched);
    if (changed) continue;
    heed_time(look, watched);
    return;
  }
}

// A plan that counts on expected ends says when to look again by the clock of the records. Until then we sleep
// by ours: if somebody sets the other one meanwhile, we look early or late, and no seat hangs on that.
void Engine::heed_time(Look& look, const Watch& watched) {
  if (watched.look_again_us < 0) return;
  const int64_t left_us = std::clamp<int64_t>(watched.look_again_us - look.snapshot.now_us, 0, longest_tick_us);
  const int64_t due_us = ledger_.now_monotonic_us() + left_us;
  look.look_again_us = look.look_again_us < 0 ? due_us : std::min(look.look_again_us, due_us);
}

// Time alone can turn the plan in favour of somebody who does not know it: who looks because its time
// has come rings those who may sit down.
void Engine::ring_entitled(const Look& look) {
  for (const int index : entitled_and_keepers(look.snapshot, look.plan, {look.self}))
    (void)ledger_.ring(look.snapshot.parties[static_cast<size_t>(index)]);
}

// A safety tick that looks no further than the watch set sees what it saw: if everybody it watches is
// stopped, none of them tells of the death of what they watched. So a tick asks about all of them.
bool Engine::look_deeply(Look& look, const Watch& watched) {
  bool changed = false;
  std::vector<int> all = watched.holders;
  all.insert(all.end(), watched.ahead.begin(), watched.ahead.end());
  for (const int index : all) {
    const auto i = static_cast<size_t>(index);
    if (!look.dead[i] && ledger_.life(look.snapshot.parties[i]) == Life::dead) changed |= bury(look, index);
  }
  return changed;
}

// Rings those who could sit down and have not, and decides who has had its time.
bool Engine::supervise(Look& look, const std::vector<int>& entitled) {
  bool changed = false;
  for (size_t i = 0; i < entitled.size() && i < supervised; ++i) {
    const Party& party = look.snapshot.parties[static_cast<size_t>(entitled[i])];
    const Ring ring = ledger_.ring(party);
    if (!ring.answered) {
      changed |= bury(look, entitled[i]);
      continue;
    }
    const int64_t now_us = ledger_.now_monotonic_us();
    const auto known = patience_.find(party);
    const bool fresh = known == patience_.end() || now_us - known->second.last_look_us > stale_us;
    // Fewer unread than we left there, our own ring counted in: it has read its bell since.
    if (fresh || (!ring.full && ring.unread <= known->second.unread)) {
      patience_[party] = {ring.unread, now_us, now_us};
    } else if (now_us - known->second.since_us >= answer_time_us) {
      known->second.last_look_us = now_us;
      look.silent[static_cast<size_t>(entitled[i])] = true;
      changed = true;
      continue;
    }
    Patience& patience = patience_[party];
    patience.last_look_us = now_us;
    const int64_t due_us = patience.since_us + answer_time_us;
    look.look_again_us = look.look_again_us < 0 ? due_us : std::min(look.look_again_us, due_us);
  }
  return changed;
}

// --- The driver's word ---

bool Engine::driver_answered_lately() const {
  return admission_->taken_us() >= 0 && ledger_.now_monotonic_us() - admission_->taken_us() <= answer_age_us;
}

void Engine::refuse(Look& look, const Eligible& device, bool seated) {
  const std::string why = admission_->refusal(look.snapshot, look.dead, look.self, device, seated);
  if (why.empty()) return;
  look.veto |= OrdinalMask{1} << device.ordinal;
  look.refusal = why;
}

void Engine::count_refused_ahead(Look& look) {
  look.refused_ahead = 0;
  for (const int index : look.plan.line) {
    if (index == look.self) return;
    if (!look.snapshot.vetoed(look.snapshot.parties[static_cast<size_t>(index)]).empty()) ++look.refused_ahead;
  }
}

// Since when an answer has to have been asked for, of each device that we may use. Who comes to hold some
// of it is in the book, and the book is believed.
void Engine::note_departures(const Look& look) {
  const Party& self = look.snapshot.parties[static_cast<size_t>(look.self)];
  device_books_.resize(max_claim_devices);
  const auto note = [&](const Eligible& e) {
    std::vector<PartyKey> holders;
    for (size_t i = 0; i < look.snapshot.parties.size(); ++i) {
      const Party& p = look.snapshot.parties[i];
      const auto granted = look.snapshot.granted(p);
      const bool on_it = std::find(granted.begin(), granted.end(), e.device) != granted.end();
      if (p.state == PartyState::held && on_it && !look.dead[i]) holders.push_back(p.key());
    }
    DeviceBook& book = device_books_[e.ordinal];
    const bool somebody_left = std::any_of(book.holders.begin(), book.holders.end(), [&](const PartyKey& was) {
      return std::find(holders.begin(), holders.end(), was) == holders.end();
    });
    if (somebody_left) book.left_us = ledger_.now_monotonic_us();
    book.holders = std::move(holders);
  };
  for (const Eligible& e : look.snapshot.eligible(self)) note(e);
  for (const Eligible& e : look.snapshot.vetoed(self)) note(e);
}

// Where the driver has been asked lately, the veto is made anew: first the devices on which we could not
// be even if no lease stood in our way, then those on which the plan seats us and the driver does not,
// until both agree. Planning again around each costs nobody anything: nothing of it is published yet.
void Engine::heed_driver(Look& look, const std::function<void(Look&)>& replan) {
  if (record_.claim.gpu.count == 0) return;
  const auto self = static_cast<size_t>(look.self);
  note_departures(look);

  if (!driver_answered_lately()) {
    look.impossible = look.verdict() == Verdict::impossible && look.veto == 0;
    look.asks_driver = look.verdict() == Verdict::seat;
    count_refused_ahead(look);
    return;
  }
  look.veto = 0;
  look.snapshot.set_veto(self, 0);
  const std::vector<Eligible> all(look.snapshot.eligible(look.snapshot.parties[self]).begin(),
                                  look.snapshot.eligible(look.snapshot.parties[self]).end());
  replan(look);
  look.impossible = look.verdict() == Verdict::impossible;
  if (look.impossible) return;
  for (const Eligible& device : all) refuse(look, device, /*seated=*/false);
  for (size_t round = 0; round <= max_claim_devices; ++round) {
    look.snapshot.set_veto(self, look.veto);
    replan(look);
    count_refused_ahead(look);
    if (look.verdict() != Verdict::seat) return;
    const OrdinalMask known = look.veto;
    const auto& seat = look.plan.seat_of(look.self);
    for (const Eligible& device : all) {
      if (std::find(seat.begin(), seat.end(), device.device) == seat.end()) continue;
      // A device whose lease ended after the question may still be full of what that lease left there.
      look.asks_driver = look.asks_driver || admission_->begun_us() < device_books_[device.ordinal].left_us;
      refuse(look, device, /*seated=*/true);
    }
    if (look.asks_driver) {
      look.veto = known;
      return;
    }
    if (look.veto == known) return;
  }
}

// Who was refused looks at the driver now and then only, and we have just done so. Where it would be let
// in by now it is told, and has the time of two questions before we take what it stands in line for. Only
// its own rules (--min-free) are not known to us: it may be refused all the same, so this is not for ever.
bool Engine::gives_way(Look& look) {
  if (record_.claim.gpu.count == 0 || look.asks_driver || look.verdict() != Verdict::seat) return false;
  const int64_t now_us = ledger_.now_monotonic_us();
  const int64_t question_us = admission_->taken_us() - admission_->begun_us();
  const int64_t time_us = std::min(longest_courtesy_us, courtesy_us + 2 * question_us);
  const auto& seat = look.plan.seat_of(look.self);
  bool waits = false;
  for (const int index : look.plan.line) {
    if (index == look.self) break;
    const auto i = static_cast<size_t>(index);
    const Party& party = look.snapshot.parties[i];
    const auto vetoed = look.snapshot.vetoed(party);
    const bool let_in = !look.dead[i] && std::any_of(vetoed.begin(), vetoed.end(), [&](const Eligible& e) {
      return std::find(seat.begin(), seat.end(), e.device) != seat.end() &&
             admission_->refusal(look.snapshot, look.dead, index, e, /*seated=*/false).empty();
    });
    if (!let_in) continue;
    const auto known = courtesies_.find(party);
    if (known == courtesies_.end() || now_us > known->second + courtesy_again_us) {
      (void)ledger_.ring(party);
      courtesies_[party] = now_us + time_us;
    }
    const int64_t until_us = courtesies_[party];
    if (now_us >= until_us) continue;
    waits = true;
    look.look_again_us = look.look_again_us < 0 ? until_us : std::min(look.look_again_us, until_us);
  }
  return waits;
}

// For one who does not stand in line. False: it was cancelled.
bool Engine::ask_now() {
  admission_->ask();
  while (admission_->fd() >= 0) {
    const Wake wake = ledger_.wait(admission_->due_us(), admission_->fd());
    if (wake.cancelled && !(on_cancel_ && on_cancel_())) return false;
    if ((wake.answered || wake.timed_out) && admission_->take_in()) return true;
  }
  return true;
}

// Sleeps until there is a reason to look at the pool again. A driver that refused us is asked again in
// between, and its answer is such a reason.
Wake Engine::sleep(const Look& look, int64_t next_us) {
  if (admission_ == nullptr || record_.claim.gpu.count == 0) return ledger_.wait(next_us, -1);
  const auto earlier = [](int64_t a, int64_t b) { return b >= 0 && b < a ? b : a; };
  if (look.asks_driver) {
    admission_->ask();
    if (admission_->fd() < 0) return Wake{};  // it could not even be asked, and that is an answer
  }
  if (look.veto == 0) {
    ask_again_us_ = -1;
    ask_pace_us_ = first_pace_us;
  } else if (ask_again_us_ < 0) {
    const int64_t slowest_us = slowest_pace_us << std::min(look.refused_ahead / 2, most_pace_doublings);
    ask_again_us_ = ledger_.now_monotonic_us() + ask_pace_us_;
    ask_pace_us_ = std::min(slowest_us, ask_pace_us_ * 3 / 2);
  }
  for (;;) {
    if (ask_again_us_ >= 0 && ledger_.now_monotonic_us() >= ask_again_us_) {
      admission_->ask();
      ask_again_us_ = -1;
    }
    Wake wake = ledger_.wait(earlier(earlier(next_us, ask_again_us_), admission_->due_us()), admission_->fd());
    const bool timed_out = std::exchange(wake.timed_out, wake.timed_out && ledger_.now_monotonic_us() >= next_us);
    if (wake.cancelled || wake.timed_out) return wake;
    if (wake.answered || (timed_out && admission_->due_us() >= 0)) {
      if (admission_->take_in()) return wake;
    } else if (!timed_out) {
      // Rung: somebody has found the stranger gone, say, and not all shall find out each at its own pace.
      if (ask_again_us_ >= 0) ask_again_us_ = std::min(ask_again_us_, admission_->taken_us() + rung_pace_us);
      return wake;
    }
  }
}

void Engine::ring_for(Look& look, std::vector<int> rings, const Before& before, const std::vector<int>& changed,
                      bool self_gone) {
  std::vector<bool> rung(look.snapshot.parties.size(), false);
  rung[static_cast<size_t>(look.self)] = true;
  std::vector<bool> gone = look.dead;
  if (self_gone) gone[static_cast<size_t>(look.self)] = true;
  int keepers = usual_keepers;
  const size_t rounds = look.snapshot.parties.size() + most_keepers;
  for (size_t round = 0; round < rounds; ++round) {
    const Plan after = plan(look.snapshot, gone);
    const std::vector<int> more = entitled_and_keepers(look.snapshot, after, changed, keepers);
    rings.insert(rings.end(), more.begin(), more.end());
    const std::vector<int> inheriting = heirs(look.snapshot, before.plan, before.chains, after);
    rings.insert(rings.end(), inheriting.begin(), inheriting.end());
    bool again = false;
    for (const int index : rings) {
      const auto i = static_cast<size_t>(index);
      if (rung[i] || gone[i]) continue;
      rung[i] = true;
      const Ring ring = ledger_.ring(look.snapshot.parties[i]);
      if (!ring.answered) {
        // A waiter without a bell is a dead one; the turn that was its goes to the next.
        gone[i] = true;
        again = true;
      } else if (ring.unread > 1 && keepers < most_keepers) {
        // It has not read what was rung before. It may be stopped: one more looks after the turn.
        ++keepers;
        again = true;
      }
    }
    if (!again) return;
    rings.clear();
  }
}

// Makes of ourselves in the snapshot what others will read of us.
void Engine::become(Look& look, PartyState state) {
  Party& self = look.snapshot.parties[static_cast<size_t>(look.self)];
  if (state == PartyState::held && self.state != PartyState::held) {
    look.snapshot.grant(static_cast<size_t>(look.self), look.plan.seat_of(look.self));
    self.seated_us = record_.seated_us;
  }
  self.state = state;
}

Result<> Engine::change_pool(Look& look, PartyState self_after, bool self_gone,
                             const std::function<Result<>()>& commit) {
  std::vector<int> changed = look.newly_dead;
  Party& self = look.snapshot.parties[static_cast<size_t>(look.self)];
  const PartyState came_from = self.state;
  const bool self_changes = entered_ && (self_gone || self_after != self.state || look.veto != look.veto_before);
  look.snapshot.set_veto(static_cast<size_t>(look.self), look.veto_before);
  if (self_changes) changed.push_back(look.self);
  // A newcomer that sits down takes nothing from anybody that he counted on.
  if (!changed.empty()) {
    std::vector<bool> gone_before(look.snapshot.parties.size(), false);
    if (!entered_) gone_before[static_cast<size_t>(look.self)] = true;
    Before before;
    before.plan = plan(look.snapshot, gone_before);
    if (before.plan.line.size() > (entered_ && self.state == PartyState::waiting ? 1U : 0U)) {
      before.chains = sure_blockers(look.snapshot, before.plan);
      std::vector<int> rings = dependents(look.snapshot, before.plan, before.chains, changed);
      become(look, self_after);
      look.snapshot.set_veto(static_cast<size_t>(look.self), look.veto);
      ring_for(look, std::move(rings), before, changed, self_gone);
    }
  }
  look.snapshot.set_veto(static_cast<size_t>(look.self), look.veto);
  if (!entered_ && !self_gone) ring_concerned_by_newcomer(look, self_after, changed.empty());
  // Who comes into the line ahead of others changes whom they are thought to watch.
  const bool wants_more = (look.veto_before & ~look.veto) != 0;
  const bool comes =
      self_after == PartyState::waiting && !self_gone && (!entered_ || came_from == PartyState::aside || wants_more);
  const bool last = !look.plan.line.empty() && look.plan.line.back() == look.self;
  if (comes && !last) {
    self.state = PartyState::waiting;
    for (const int index : overtaken(look.snapshot, plan(look.snapshot, look.dead), look.self))
      (void)ledger_.ring(look.snapshot.parties[static_cast<size_t>(index)]);
  }
  for (size_t i = 0; i < look.dead.size(); ++i) {
    const Party& party = look.snapshot.parties[i];
    if (look.dead[i] && ledger_.may_reap(party) && ledger_.reap(party)) known_dead_.erase(party);
  }
  return commit();
}

// A newcomer takes nothing that others count on, but it can turn the plan in somebody's favour: a
// card that was set aside for one who is better off with another now, say. And where jobs say how long
// they take, it has to be watched although it takes nothing from anybody.
void Engine::ring_concerned_by_newcomer(Look& look, PartyState self_after, bool nobody_else_changed) {
  std::vector<bool> gone_before = look.dead;
  gone_before[static_cast<size_t>(look.self)] = true;
  Before before;
  before.plan = plan(look.snapshot, gone_before);
  if (before.plan.line.empty()) return;
  become(look, self_after);
  const Plan after = plan(look.snapshot, look.dead);
  const std::vector<int> concerned = newcomer_concerns(look.snapshot, before.plan, after, look.self);
  const bool helps = std::any_of(before.plan.line.begin(), before.plan.line.end(), [&](int waiter) {
    const auto i = static_cast<size_t>(waiter);
    return before.plan.verdicts[i] == Verdict::wait && after.verdicts[i] == Verdict::seat;
  });
  if (helps && nobody_else_changed) {
    before.chains = sure_blockers(look.snapshot, before.plan);
    ring_for(look, concerned, before, {}, /*self_gone=*/false);
    return;
  }
  for (const int index : concerned) (void)ledger_.ring(look.snapshot.parties[static_cast<size_t>(index)]);
}

Result<> Engine::sit_down(Look& look) {
  const Party& self = look.snapshot.parties[static_cast<size_t>(look.self)];
  record_.state = PartyState::held;
  record_.seated_us = ledger_.now_wall_us();
  record_.veto = 0;
  record_.grant.clear();
  for (const uint16_t device : look.plan.seat_of(look.self))
    for (const Eligible& e : look.snapshot.eligible(self))
      if (e.device == device) record_.grant.push_back(e.ordinal);
  auto done = change_pool(look, PartyState::held, /*self_gone=*/false,
                          [&] { return entered_ ? ledger_.change(record_) : ledger_.enter(record_); });
  if (!done) return done;
  entered_ = true;
  seated_ = true;
  (void)ledger_.watch(look.snapshot, {});  // nothing to wait for any more
  return success();
}

Result<> Engine::stand_in_line(Look& look) {
  return change_pool(look, record_.state, /*self_gone=*/false, [&]() -> Result<> {
    record_.veto = look.veto;
    if (entered_) return look.veto == look.veto_before ? success() : ledger_.change(record_);
    auto done = ledger_.enter(record_);
    entered_ = done.ok();
    return done;
  });
}

// Who goes away without having entered still removes the dead that it found, and rings for them.
void Engine::mend(Look& look) {
  if (!look.newly_dead.empty())
    (void)change_pool(look, PartyState::waiting, /*self_gone=*/true, [] { return success(); });
}

int64_t Engine::next_look_us(const Look& look, const WaitRule& rule) {
  const int doublings = std::min(look.contending_ahead / 2, 11);
  int64_t due_us = ledger_.now_monotonic_us() + std::min(longest_tick_us, safety_tick_us << doublings);
  if (look.look_again_us >= 0) due_us = std::min(due_us, look.look_again_us);
  if (rule.deadline_us >= 0) due_us = std::min(due_us, rule.deadline_us);
  return due_us;
}

// Under the lock. Whatever fails here, the record goes and the life after it.
void Engine::leave_the_line() {
  if (!entered_) return;
  // Most places are given back with nobody waiting: then there is nobody to plan for.
  const auto alone = seated_ ? ledger_.line_is_empty() : Result<bool>(false);
  auto all = alone.ok() && *alone ? Result<Snapshot>(Snapshot{}) : ledger_.read();
  auto snapshot = all.ok() && !all->parties.empty() ? rivals(std::move(*all)) : std::move(all);
  if (snapshot.ok()) {
    Look look;
    look.snapshot = std::move(*snapshot);
    const bool there = find_own_record(look, own_key());
    const bool company = std::any_of(look.snapshot.parties.begin(), look.snapshot.parties.end(),
                                     [&](const Party& p) { return p.state == PartyState::waiting && p != own_key(); });
    if (there && company) {
      recall_the_dead(look);
      const PartyState state = look.snapshot.parties[static_cast<size_t>(look.self)].state;
      (void)change_pool(look, state, /*self_gone=*/true, [] { return success(); });
    }
  }
  ledger_.leave();
  entered_ = false;
  seated_ = false;
}

void Engine::begin(const Request& request) {
  record_ = Record{};
  device_books_.clear();
  record_.id = ledger_.new_id();
  record_.priority = request.priority;
  priority_cap_ = request.priority_cap;
  record_.expect_s = request.expect_s;
  record_.claim = request.claim;
  record_.parent = request.parent;
  record_.info = request.info;
  ask_again_us_ = -1;
  ask_pace_us_ = first_pace_us;
}

Result<Acquired> Engine::adopt(const Request& request) {
  begin(request);
  const auto locked = ledger_.lock(-1);
  if (!locked) return locked.error();
  if (*locked != LockOutcome::locked) return Error{ErrorKind::unavailable, 0, "interrupted"};
  const Unlock unlock(ledger_);
  auto all = read_config_first();
  if (!all) return all.error();
  Look look;
  look.snapshot = top_level(*all);
  if (auto found = find_self(look); !found) return found.error();
  // It takes from everybody, so everybody looks again: it is rare.
  for (const Party& party : look.snapshot.parties)
    if (party.state == PartyState::waiting && party != own_key()) (void)ledger_.ring(party);
  record_.state = PartyState::held;
  record_.seated_us = ledger_.now_wall_us();
  for (size_t i = 0; i < record_.claim.eligible.size(); ++i) record_.grant.push_back(static_cast<uint16_t>(i));
  if (auto entered = ledger_.enter(record_); !entered) return entered.error();
  entered_ = true;
  seated_ = true;
  Acquired out;
  out.devices = record_.claim.eligible;
  out.arrival_us = record_.arrival_us;
  out.seated_us = record_.seated_us;
  return out;
}

Result<Acquired> Engine::preview(const Request& request) {
  begin(request);
  auto snapshot = ledger_.read();
  if (!snapshot) return snapshot.error();
  if (ledger_.config() == nullptr) {
    for (const NamedAmount& c : defaults_().capacities)
      if (const auto at = snapshot->intern_resource(c.name)) snapshot->resources[*at].capacity = c.amount;
  }
  auto mine = rivals(std::move(*snapshot));
  if (!mine) return mine.error();
  Look look;
  look.snapshot = std::move(*mine);
  if (auto found = find_self(look); !found) return found.error();
  recall_the_dead(look);
  look.plan = plan(look.snapshot);
  if (look.verdict() == Verdict::wait && look_deeply(look, watch(look.snapshot, look.plan, look.self)))
    look.plan = plan(look.snapshot, look.dead);
  look.impossible = look.verdict() == Verdict::impossible;
  if (admission_ != nullptr) {
    if (!driver_answered_lately()) admission_->ask_and_wait();
    heed_driver(look, [](Look& l) { l.plan = plan(l.snapshot, l.dead); });
  }
  Acquired out;
  out.ending = look.verdict() == Verdict::seat ? Ending::seated : Ending::busy;
  out.refusal = look.refusal;
  if (look.impossible) {
    out.ending = Ending::impossible;
    out.shortfalls = shortfalls(look.snapshot, look.self);
  }
  for (const uint16_t device : look.plan.seat_of(look.self))
    for (const DeviceRef& d : record_.claim.eligible)
      if (d.uuid == look.snapshot.devices[device]) out.devices.push_back(d);
  out.self = look.self;
  out.dead = look.dead;
  out.snapshot = std::move(look.snapshot);
  return out;
}

void Engine::die() {
  ledger_.abandon();
  entered_ = false;
  seated_ = false;
}

// Takes the lock to leave, within bounds: who cannot have it leaves by dying.
void Engine::leave_in_time() {
  if (!entered_) return;
  const auto locked = ledger_.lock(ledger_.now_monotonic_us() + release_patience_us, Heed::nothing);
  if (!locked.ok() || *locked != LockOutcome::locked) return die();
  const Unlock unlock(ledger_);
  leave_the_line();
}

Result<Acquired> Engine::acquire(const Request& request, const WaitRule& rule) {
  begin(request);
  Acquired out;
  bool waited = false;
  bool ask_first = false;
  for (;;) {  // one turn a wake-up
    if (std::exchange(ask_first, false) && !ask_now()) {
      out.ending = Ending::cancelled;
      return out;
    }
    const int64_t lock_until =
        rule.no_wait && !entered_ ? ledger_.now_monotonic_us() + no_wait_patience_us : rule.deadline_us;
    const auto locked = ledger_.lock(lock_until);
    if (!locked) return locked.error();
    if (*locked == LockOutcome::timed_out && rule.no_wait)
      return Error{ErrorKind::unavailable, 0, "the pool's lock is held by somebody who does not give it back"};
    if (*locked != LockOutcome::locked) {
      if (*locked == LockOutcome::cancelled && on_cancel_ && on_cancel_()) continue;
      out.ending = *locked == LockOutcome::timed_out ? Ending::timed_out : Ending::cancelled;
      leave_in_time();
      return out;
    }
    if (come_back_) (void)shift_locked(PartyState::waiting);
    int64_t next_us = 0;
    Waiting waiting;
    Look last;
    {
      const Unlock unlock(ledger_);
      const bool by_time = deep_;
      auto looked = look();
      if (!looked) {
        leave_the_line();
        return looked.error();
      }
      if (looked->impossible && !entered_) {
        mend(*looked);
        out.ending = Ending::impossible;
        out.shortfalls = shortfalls(looked->snapshot, looked->self);
        return out;
      }
      if (looked->asks_driver && rule.no_wait && !entered_) {
        ask_first = true;
        mend(*looked);
        continue;
      }
      const bool gives_way = looked->gives_way && !rule.no_wait;
      if (looked->verdict() == Verdict::seat && !looked->asks_driver && !gives_way) {
        if (auto sat = sit_down(*looked); !sat) {
          leave_the_line();
          return sat.error();
        }
        for (const uint16_t g : record_.grant) out.devices.push_back(record_.claim.eligible.at(g));
        out.arrival_us = record_.arrival_us;
        out.seated_us = record_.seated_us;
        if (!waited) ledger_.sweep_orphans();  // who waited has others waiting for its lock
        return out;
      }
      const bool late = rule.deadline_us >= 0 && ledger_.now_monotonic_us() >= rule.deadline_us;
      if ((rule.no_wait && !entered_) || late) {
        out.ending = late ? Ending::timed_out : Ending::busy;
        if (!entered_) mend(*looked);
        leave_the_line();
        out.self = looked->self;
        out.refusal = looked->refusal;
        for (size_t i = 0; i < looked->dead.size(); ++i) out.dead.push_back(looked->dead[i]);
        out.snapshot = std::move(looked->snapshot);
        return out;
      }
      if (auto stood = stand_in_line(*looked); !stood) {
        leave_the_line();
        return stood.error();
      }
      if (by_time && looked->plan.timed) ring_entitled(*looked);
      next_us = next_look_us(*looked, rule);
      waited = true;
      waiting = {looked->contending_ahead, looked->refusal, looked->asks_driver || gives_way};
      last = std::move(*looked);
    }
    if (on_waiting_) on_waiting_(waiting);
    const Wake wake = sleep(last, next_us);
    deep_ = wake.timed_out;
    if (!wake.cancelled) continue;
    if (on_cancel_ && on_cancel_()) continue;
    out.ending = Ending::cancelled;
    leave_in_time();
    return out;
  }
}

Result<bool> Engine::release(const std::function<bool()>& still_used) {
  if (!seated_) return true;
  const auto locked = ledger_.lock(ledger_.now_monotonic_us() + release_patience_us, Heed::nothing);
  if (!locked) return locked.error();
  // Whoever sits on the lock cannot keep our place: it goes with our life.
  if (*locked != LockOutcome::locked) {
    die();
    return true;
  }
  const Unlock unlock(ledger_);
  if (still_used && still_used()) return false;
  leave_the_line();
  return true;
}

Result<bool> Engine::still_ours() {
  auto snapshot = ledger_.read();
  if (!snapshot) return snapshot.error();
  return snapshot->find(own_key()) >= 0;
}

Result<> Engine::shift_locked(PartyState state) {
  auto all = ledger_.read();
  if (!all) return all.error();
  auto snapshot = rivals(std::move(*all));
  if (!snapshot) return snapshot.error();
  Look look;
  look.snapshot = std::move(*snapshot);
  if (!find_own_record(look, own_key()))
    return Error{ErrorKind::lost, 0, "our place in line was removed from the pool"};
  recall_the_dead(look);
  come_back_ = false;
  record_.state = state;
  return change_pool(look, state, /*self_gone=*/false, [&] { return ledger_.change(record_); });
}

Result<> Engine::step_aside() {
  if (!entered_ || seated_) return success();
  // Who cannot say so in time is passed over for its silence.
  const auto locked = ledger_.lock(ledger_.now_monotonic_us() + step_aside_patience_us, Heed::nothing);
  if (!locked) return locked.error();
  if (*locked != LockOutcome::locked) return success();
  const Unlock unlock(ledger_);
  return shift_locked(PartyState::aside);
}

void Engine::step_back() { come_back_ = entered_ && record_.state == PartyState::aside; }

Result<> Engine::configure(const std::function<Result<>(PoolConfig&)>& edit) {
  const auto locked = ledger_.lock(-1);
  if (!locked) return locked.error();
  if (*locked != LockOutcome::locked) return Error{ErrorKind::unavailable, 0, "interrupted"};
  const Unlock unlock(ledger_);
  auto snapshot = ledger_.read();
  if (!snapshot) return snapshot.error();
  PoolConfig config = ledger_.config() != nullptr ? *ledger_.config() : defaults_();
  if (auto edited = edit(config); !edited) return edited;
  // A capacity decides about everybody's chain, so everybody looks again.
  for (const Party& party : snapshot->parties)
    if (party.state == PartyState::waiting) (void)ledger_.ring(party);
  return ledger_.write_config(config);
}

Result<> Engine::evict(const PartyKey& who) {
  const auto locked = ledger_.lock(-1);
  if (!locked) return locked.error();
  if (*locked != LockOutcome::locked) return Error{ErrorKind::unavailable, 0, "interrupted"};
  const Unlock unlock(ledger_);
  auto all = ledger_.read();
  if (!all) return all.error();
  const int index = all->find(who);
  if (index < 0) return Error{ErrorKind::not_found, 0, "no such lease"};
  // Whoever stood inside of it has nothing to wait for any more, and is told so.
  for (const Party& p : all->parties)
    if (p.nested && p.parent_key() == who && p.state != PartyState::held) (void)ledger_.ring(p);
  record_ = Record{};
  const Party& whom = all->parties[static_cast<size_t>(index)];
  if (whom.nested) record_.parent = whom.parent;
  record_.dir = whom.dir();
  auto snapshot = rivals(std::move(*all));
  if (!snapshot) return snapshot.error();
  Look look;
  look.snapshot = std::move(*snapshot);
  if (!find_own_record(look, who)) return Error{ErrorKind::not_found, 0, "no such lease"};
  recall_the_dead(look);
  const Party party = look.snapshot.parties[static_cast<size_t>(look.self)];
  const bool entered = std::exchange(entered_, true);  // the party is in the pool, though it is not us
  auto done = change_pool(look, party.state, /*self_gone=*/true, [&] { return ledger_.evict(party); });
  entered_ = entered;
  if (done.ok()) (void)ledger_.ring(party);
  return done;
}

}  // namespace berth
