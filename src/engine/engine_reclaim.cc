// Giving way: who is asked is rung, looks for itself, and decides.
//
// Nobody writes a request down. sched/reclaim.h says who is asked, of any picture of the pool; so
//
//   1. whoever changes the pool rings, before it commits, everybody who is asked in the pool as it will be and
//      is not about it yet, and everybody who is about it and is not asked any more;
//   2. the one that is rung looks under the lock, so after the commit, and finds the same;
//   3. it publishes that it is about it (Way::yielding) before it gives the lock back: from then on everybody
//      counts on it, and the choice does not move on to others.
//
// A ring that is lost with its sender has no change behind it. What nobody rings for - time, a waiter that
// was killed - a holder finds when it looks by itself now and then.
//
// Some cannot hear: a supervisor that was killed while its command lives on has no bell, a stopped one leaves
// its rings unread. Whoever sees that for a second asks others in their stead, and those others see it too
// before they find that they are meant.
#include <algorithm>

#include "base/text.h"
#include "engine/engine.h"
#include "engine/unlock.h"
#include "sched/way_rules.h"

namespace berth {

namespace {

constexpr int64_t look_patience_us = 250'000;  // for the lock, of one who has a command to look after
constexpr int64_t lock_again_us = 500'000;
constexpr int64_t hearing_us = 1'000'000;  // unread for so long, a ring was not heard
constexpr int64_t stale_us = 5'000'000;    // what was seen longer ago proves nothing
constexpr size_t most_above = 64;
constexpr size_t most_lives = 1024;  // that one look asks for
constexpr int most_rounds = 16;      // each takes one out that is dead or deaf

}  // namespace

// `rung`: how many of those unread are our own ring just now.
bool Engine::hears(const Party& party, const Ring& bell, int rung, int64_t& look_again_us) {
  if (!bell.answered) return false;
  if (bell.unread <= rung) {
    ears_.erase(party);
    if (rung == 0) return true;
  }
  const int64_t now_us = ledger_.now_monotonic_us();
  const auto known = ears_.find(party);
  const bool fresh = known == ears_.end() || now_us - known->second.last_look_us > stale_us;
  if (fresh || bell.unread < known->second.unread) ears_[party] = {bell.unread, now_us, now_us};
  Patience& patience = ears_[party];
  patience.last_look_us = now_us;
  if (now_us - patience.since_us >= hearing_us) return false;
  const int64_t due_us = patience.since_us + hearing_us;
  look_again_us = look_again_us < 0 ? due_us : std::min(look_again_us, due_us);
  return true;
}

void Engine::ring_reclaims(Look& look, PartyState self_after, bool self_gone) {
  become(look, self_after);
  const auto self = static_cast<size_t>(look.self);
  if (!self_gone) look.snapshot.parties[self].way = record_.way;
  std::vector<bool> gone = look.dead;
  gone.resize(look.snapshot.parties.size(), false);
  gone[self] = gone[self] || self_gone;
  std::vector<bool> deaf(gone.size(), false);
  std::vector<bool> rung(gone.size(), false);
  std::vector<Reclaim> asked;
  for (int round = 0; round < most_rounds; ++round) {
    asked = reclaims(look.snapshot, gone, deaf);
    bool again = false;
    for (const Reclaim& r : asked) {
      const auto i = static_cast<size_t>(r.holder);
      const Party& holder = look.snapshot.parties[i];
      // Who is about it needs no ring; but a tick asks whether it still is.
      if (r.holder == look.self || rung[i] || (holder.way.yielding && !look.by_time)) continue;
      rung[i] = true;
      const Ring ring = ledger_.ring(holder);
      deaf[i] = ring.full || !hears(holder, ring, 1, look.look_again_us);
      again = again || deaf[i];
    }
    if (!again) break;
  }
  for (size_t i = 0; i < gone.size(); ++i) {
    const Party& holder = look.snapshot.parties[i];
    if (holder.state != PartyState::held || !holder.way.yielding || gone[i] || rung[i] || i == self) continue;
    const auto means_it = [&](const Reclaim& r) { return r.holder == static_cast<int>(i); };
    if (std::none_of(asked.begin(), asked.end(), means_it)) (void)ledger_.ring(holder);
  }
}

// Whether we are meant may hang on anybody: on a dead waiter, for whom nobody need go, and on a dead holder, of
// which whoever asks us knows and whom he may not remove.
void Engine::bury_the_dead(Look& look) {
  const auto& parties = look.snapshot.parties;
  const bool line = std::any_of(parties.begin(), parties.end(), [&](const Party& p) {
    return p.state == PartyState::waiting && p.priority > parties[static_cast<size_t>(look.self)].priority;
  });
  if (!line) return;
  for (size_t i = 0; i < parties.size() && i < most_lives; ++i)
    if (static_cast<int>(i) != look.self && !look.dead[i] && ledger_.life(parties[i]) == Life::dead)
      bury(look, static_cast<int>(i));
}

// What we said of ourselves does not count here: it is for `decide` to weigh.
Asked Engine::whether_asked(Look& look, std::vector<Reclaim>& asked) {
  Asked out;
  std::vector<bool> deaf(look.snapshot.parties.size(), false);
  Way& own = look.snapshot.parties[static_cast<size_t>(look.self)].way;
  const Way said = own;
  own.asked = asked_by_hand(own);
  own.busy = own.unheeded = false;
  bury_the_dead(look);
  for (int round = 0; round < most_rounds; ++round) {
    asked = reclaims(look.snapshot, look.dead, deaf);
    bool again = false;
    for (const Reclaim& r : asked) {
      if (r.holder == look.self) continue;
      const Party& holder = look.snapshot.parties[static_cast<size_t>(r.holder)];
      if (hears(holder, ledger_.bell(holder), 0, out.look_again_us)) continue;
      deaf[static_cast<size_t>(r.holder)] = true;
      again = true;
    }
    if (!again) break;
  }
  own = said;
  const auto& parties = look.snapshot.parties;
  for (size_t i = 0; i < parties.size() && out.above.size() < most_above; ++i)
    if (parties[i].state == PartyState::waiting && !look.dead[i] &&
        parties[i].priority > parties[static_cast<size_t>(look.self)].priority)
      out.above.push_back(parties[i].key());
  for (const Reclaim& r : asked) {
    if (r.holder != look.self) continue;
    out.asked = true;
    if (r.waiter < 0) continue;
    const Party& waiter = look.snapshot.parties[static_cast<size_t>(r.waiter)];
    out.waiter = waiter.key();
    out.for_whole_cards = waiter.gpu.count > 0 && waiter.gpu.whole;
  }
  return out;
}

Result<Asked> Engine::heed_requests(const std::function<Way(const Asked&)>& decide) {
  Asked out;
  const auto locked = ledger_.lock(ledger_.now_monotonic_us() + look_patience_us, Heed::nothing);
  if (!locked) return locked.error();
  if (*locked != LockOutcome::locked) {
    out.unsettled = true;
    out.look_again_us = ledger_.now_monotonic_us() + lock_again_us;
    return out;
  }
  const Unlock unlock(ledger_);
  auto all = ledger_.read();
  if (!all) return all.error();
  auto found = find_there(std::move(*all), own_key(), {ErrorKind::lost, 0, "our lease was removed from the pool"});
  if (!found) return found.error();
  Look look = std::move(*found);
  std::vector<Reclaim> asked;
  out = whether_asked(look, asked);
  const Way way = decide(out);
  if (way == record_.way && look.newly_dead.empty()) return out;
  record_.way = way;
  auto done = change_pool(look, record_.state, /*self_gone=*/false, [&] { return ledger_.change(record_); });
  if (!done) return done.error();
  return out;
}

Result<GaveWay> Engine::give_way(Return how) {
  const auto locked = ledger_.lock(ledger_.now_monotonic_us() + look_patience_us, Heed::nothing);
  if (!locked) return locked.error();
  if (*locked != LockOutcome::locked) return GaveWay::not_yet;
  const Unlock unlock(ledger_);
  auto all = ledger_.read();
  if (!all) return all.error();
  // One whose berth and job were killed inside of it is there until somebody removes it, and that may be nobody.
  const bool inhabited = std::any_of(all->parties.begin(), all->parties.end(), [&](const Party& p) {
    return p.nested && p.parent_key() == own_key() && ledger_.life(p) != Life::dead;
  });
  auto found = find_there(std::move(*all), own_key(), {ErrorKind::lost, 0, "our lease was removed from the pool"});
  if (!found) return found.error();
  Look look = std::move(*found);
  std::vector<Reclaim> asked;
  if (!whether_asked(look, asked).asked && how != Return::anywhere) return GaveWay::nobody_asks;
  if (inhabited) return GaveWay::not_yet;
  elsewhere_ = 0;
  for (size_t ordinal = 0; how == Return::to_the_same_devices && ordinal < record_.claim.eligible.size(); ++ordinal)
    if (std::find(record_.grant.begin(), record_.grant.end(), ordinal) == record_.grant.end())
      elsewhere_ |= OrdinalMask{1} << ordinal;
  record_.debt_us = std::min(max_amount, record_.debt_us + debt_behind(look.snapshot, look.self, asked));
  if (ledger_.config() != nullptr && ledger_.config()->policy.fair_share) charge_own_use();
  // The time that it is away does not count against its --ttl.
  if (record_.ends_us > 0) record_.ttl_us = std::max<int64_t>(1, record_.ends_us - ledger_.now_wall_us());
  record_.ends_us = 0;
  record_.state = PartyState::waiting;
  record_.seated_us = 0;
  record_.grant.clear();
  record_.processors.clear();
  record_.veto = look.veto = elsewhere_;
  record_.way.yielding = true;  // of a waiter: it gave way
  record_.way.asked = record_.way.busy = record_.way.unheeded = record_.way.gives_up = false;
  record_.way.doubtful = record_.way.unseen = false;
  auto done = change_pool(look, PartyState::waiting, /*self_gone=*/false, [&] { return ledger_.change(record_); });
  if (!done) return done.error();
  seated_ = false;
  device_books_.clear();
  patience_.clear();
  courtesies_.clear();
  ask_again_us_ = -1;
  ask_pace_us_ = first_pace_us;
  sleep_until_us_ = -1;
  asked_for_cycle_ = true;  // it had its place: whoever waits for it by now found no cycle when he came
  return GaveWay::gave;
}

Result<std::optional<Acquired>> Engine::look_for_seat() {
  auto turned = turn(WaitRule{}, ledger_.now_monotonic_us() + look_patience_us);
  if (!turned) return turned.error();
  if (turned->done && turned->done->ending != Ending::seated)
    return Error{ErrorKind::lost, 0, "its place in line is gone"};
  if (turned->done) return std::move(turned->done);
  sleep_until_us_ = turned->again ? ledger_.now_monotonic_us() + lock_again_us : turned->next_us;
  if (!turned->again && admission_ != nullptr && record_.claim.gpu.count > 0) before_sleep(turned->last);
  return std::optional<Acquired>();
}

int64_t Engine::wake_due_us() const {
  int64_t due_us = sleep_until_us_;
  for (const int64_t other : {ask_again_us_, admission_ == nullptr ? -1 : admission_->due_us()})
    if (other >= 0) due_us = std::min(due_us, other);
  return due_us;
}

bool Engine::woken() {
  const int64_t now_us = ledger_.now_monotonic_us();
  if (admission_ == nullptr || record_.claim.gpu.count == 0) {
    const Wake wake = ledger_.wait(now_us, -1);
    deep_ = wake.timed_out && now_us >= sleep_until_us_;
    return !wake.timed_out || deep_;
  }
  const auto wake = nap(sleep_until_us_, now_us);
  deep_ = wake && wake->timed_out;
  return wake.has_value();
}

}  // namespace berth
