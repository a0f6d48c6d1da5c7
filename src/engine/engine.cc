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
#include "engine/unlock.h"
#include "sched/watch.h"

namespace berth {

namespace {

constexpr int64_t safety_tick_us = 2'000'000;  // of the two at the front; doubles with every two behind
constexpr int64_t longest_tick_us = 3'600'000'000;
constexpr int64_t release_patience_us = 2'000'000;  // then the death of our life frees the place as well
constexpr int64_t step_aside_patience_us = 500'000;
constexpr int64_t no_wait_patience_us = 5'000'000;  // for the lock, where nobody wants to wait

}  // namespace

Result<> Engine::sit_down(Look& look) {
  record_ = as_seated(look);
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
    record_.out = look.out;
    const bool same = look.veto == look.veto_before && look.out == look.out_before;
    if (entered_) return same ? success() : ledger_.change(record_);
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
    if (there && (company || look.snapshot.any_reclaimable)) {
      recall_the_dead(look);
      const PartyState state = look.snapshot.parties[static_cast<size_t>(look.self)].state;
      (void)change_pool(look, state, /*self_gone=*/true, [] { return success(); });
    }
  }
  if (seated_ && ledger_.config() != nullptr && ledger_.config()->policy.fair_share) charge_own_use();
  ledger_.leave();
  entered_ = false;
  seated_ = false;
}

void Engine::begin(const Request& request) {
  record_ = Record{};
  asked_for_cycle_ = false;
  device_books_.clear();
  elsewhere_ = 0;
  record_.id = ledger_.new_id();
  record_.priority = request.priority;
  priority_cap_ = request.priority_cap;
  record_.expect_s = request.expect_s;
  record_.ttl_us = request.ttl_us;
  record_.claim = request.claim;
  record_.parent = request.parent;
  record_.way = request.way;
  record_.with = request.with;
  record_.pins = request.pins;
  record_.info = request.info;
  record_.may_idle = request.may_idle;
  refusal_.clear();
  ask_again_us_ = -1;
  ask_pace_us_ = first_pace_us;
  machine_pace_us_ = first_pace_us;
}

Result<> Engine::lock_for_long() {
  const auto locked = ledger_.lock(-1);
  if (!locked) return locked.error();
  if (*locked != LockOutcome::locked) return Error{ErrorKind::unavailable, 0, "interrupted"};
  return success();
}

Result<Acquired> Engine::adopt(const Request& request) {
  begin(request);
  if (auto locked = lock_for_long(); !locked) return locked.error();
  const Unlock unlock(ledger_);
  auto all = read_config_first();
  if (!all) return all.error();
  Look look;
  look.snapshot = top_level(*all);
  if (auto found = find_self(look); !found) return found.error();
  // It takes from everybody, so everybody looks again: it is rare.
  for (const Party& party : look.snapshot.parties)
    if ((party.state == PartyState::waiting || party.way.reclaimable) && party != own_key()) (void)ledger_.ring(party);
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
  out.processors = record_.processors;
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
  if (machine_ != nullptr) machine_->look();
  heed_machine(look);
  record_.veto = look.veto;
  record_.out = look.out;
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
  if (look.verdict() == Verdict::wait)
    if (const auto closes = closes_cycle(out); closes.ok() && *closes) return out;
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
  record_.way.gives_up = rule.deadline_us >= 0;
  return wait_for_seat(rule);
}

Result<Acquired> Engine::wait_for_seat(const WaitRule& rule) {
  bool ask_first = false;
  Acquired cancelled;
  cancelled.ending = Ending::cancelled;
  for (;;) {  // one turn a wake-up
    if (std::exchange(ask_first, false) && !ask_now()) return cancelled;
    if (machine_ != nullptr) machine_->look();
    const int64_t lock_until =
        rule.no_wait && !entered_ ? ledger_.now_monotonic_us() + no_wait_patience_us : rule.deadline_us;
    auto turned = turn(rule, lock_until);
    if (!turned) return turned.error();
    if (turned->done) return std::move(*turned->done);
    ask_first = turned->ask_first;
    if (ask_first || turned->again) continue;
    const auto wake = sleep_and_tell(turned->last, turned->waiting, turned->next_us);
    if (!wake) {
      leave_in_time();
      return cancelled;
    }
    deep_ = wake->timed_out;
  }
}

Result<Engine::Turn> Engine::turn(const WaitRule& rule, int64_t lock_until_us) {
  const auto locked = ledger_.lock(lock_until_us);
  if (!locked) return locked.error();
  if (*locked != LockOutcome::locked) return turn_without_lock(rule, *locked);
  if (come_back_) (void)shift_locked(PartyState::waiting);
  const Unlock unlock(ledger_);
  const bool newcomer = !entered_;
  const bool by_time = deep_;
  auto looked = look();
  if (!looked) {
    leave_the_line();
    return looked.error();
  }
  looked->by_time = by_time;
  Turn out;
  if (looked->impossible && newcomer) {
    mend(*looked);
    out.done.emplace().ending = Ending::impossible;
    out.done->shortfalls = shortfalls(looked->snapshot, looked->self);
    return out;
  }
  if (looked->asks_driver && rule.no_wait && newcomer) {
    mend(*looked);
    out.ask_first = true;
    return out;
  }
  const bool gives_way = looked->gives_way && !rule.no_wait;
  if (looked->verdict() == Verdict::seat && !looked->asks_driver && !gives_way) {
    if (auto sat = sit_down(*looked); !sat) {
      leave_the_line();
      return sat.error();
    }
    out.done = own_seat();
    if (newcomer) ledger_.sweep_orphans();  // who waited has others waiting for its lock
    return out;
  }
  const bool late = rule.deadline_us >= 0 && ledger_.now_monotonic_us() >= rule.deadline_us;
  if ((rule.no_wait && newcomer) || late) {
    if (newcomer) mend(*looked);
    out.done = leave_unseated(std::move(*looked), late ? Ending::timed_out : Ending::busy);
    return out;
  }
  const bool gives_up = rule.no_wait || rule.deadline_us >= 0;  // so it closes no cycle
  if (looked->verdict() == Verdict::wait && !gives_up && !std::exchange(asked_for_cycle_, true)) {
    Acquired refused;
    if (const auto closes = closes_cycle(refused); closes.ok() && *closes) {
      if (newcomer) mend(*looked);
      leave_the_line();
      out.done = std::move(refused);
      return out;
    }
  }
  if (auto stood = stand_in_line(*looked); !stood) {
    leave_the_line();
    return stood.error();
  }
  if (by_time && looked->plan.timed) ring_entitled(*looked);
  out.next_us = next_look_us(*looked, rule);
  out.waiting = {looked->contending_ahead, looked->refusal, looked->asks_driver || gives_way};
  out.last = std::move(*looked);
  return out;
}

Result<Engine::Turn> Engine::turn_without_lock(const WaitRule& rule, LockOutcome why) {
  const bool timed_out = why == LockOutcome::timed_out;
  if (timed_out && rule.no_wait)
    return Error{ErrorKind::unavailable, 0, "the pool's lock is held by somebody who does not give it back"};
  Turn out;
  out.again = timed_out ? rule.deadline_us < 0 : ask_caller() != OnCancel::give_up;
  if (out.again) return out;
  out.done.emplace().ending = timed_out ? Ending::timed_out : Ending::cancelled;
  leave_in_time();
  return out;
}

Acquired Engine::own_seat() const {
  Acquired out;
  for (const uint16_t g : record_.grant) out.devices.push_back(record_.claim.eligible.at(g));
  out.arrival_us = record_.arrival_us;
  out.seated_us = record_.seated_us;
  out.processors = record_.processors;
  return out;
}

Acquired Engine::leave_unseated(Look look, Ending ending) {
  record_.veto = look.veto;
  record_.out = look.out;
  leave_the_line();
  Acquired out;
  out.ending = ending;
  out.self = look.self;
  out.refusal = std::move(look.refusal);
  out.dead = std::move(look.dead);
  out.snapshot = std::move(look.snapshot);
  return out;
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

bool Engine::refresh() {
  const auto snapshot = ledger_.read();
  return snapshot.ok() && take_over(*snapshot);
}

Result<bool> Engine::still_ours() {
  auto snapshot = ledger_.read();
  if (!snapshot) return snapshot.error();
  return snapshot->find(own_key()) >= 0;
}

Result<> Engine::shift_locked(PartyState state) {
  auto all = ledger_.read();
  if (!all) return all.error();
  auto found =
      find_there(std::move(*all), own_key(), {ErrorKind::lost, 0, "our place in line was removed from the pool"});
  if (!found) return found.error();
  come_back_ = false;
  record_.state = state;
  return change_pool(*found, state, /*self_gone=*/false, [&] { return ledger_.change(record_); });
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

}  // namespace berth
