// Ring, then commit: whom a change concerns, and the change itself.
#include <algorithm>

#include "engine/engine.h"
#include "sched/rings.h"

namespace berth {

namespace {

constexpr int most_keepers = 16;

}  // namespace

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
void Engine::become(Look& look, PartyState state) const {
  Party& self = look.snapshot.parties[static_cast<size_t>(look.self)];
  if (state == PartyState::held && self.state != PartyState::held) {
    look.snapshot.grant(static_cast<size_t>(look.self), look.plan.seat_of(look.self));
    self.seated_us = record_.seated_us;
  }
  if (state != PartyState::held && self.state == PartyState::held) {
    self.granted = {};
    self.seated_us = 0;
    self.debt_us = record_.debt_us;
  }
  self.state = state;
}

Result<> Engine::change_pool(Look& look, PartyState self_after, bool self_gone,
                             const std::function<Result<>()>& commit) {
  std::vector<int> changed = look.newly_dead;
  Party& self = look.snapshot.parties[static_cast<size_t>(look.self)];
  const PartyState came_from = self.state;
  const bool self_changes = entered_ && (self_gone || self_after != self.state || look.veto != look.veto_before ||
                                         look.out != look.out_before);
  look.snapshot.set_veto(static_cast<size_t>(look.self), look.veto_before);
  self.out = look.out_before;
  if (self_changes) changed.push_back(look.self);
  // A newcomer that sits down takes nothing from anybody that he counted on.
  if (!changed.empty()) {
    std::vector<bool> gone_before(look.snapshot.parties.size(), false);
    if (!entered_) gone_before[static_cast<size_t>(look.self)] = true;
    Before before;
    before.plan = plan(look.snapshot, gone_before);
    const bool in_line = entered_ && self.state == PartyState::waiting && !look.out_before;
    if (before.plan.line.size() > (in_line ? 1U : 0U)) {
      before.chains = sure_blockers(look.snapshot, before.plan);
      std::vector<int> rings = dependents(look.snapshot, before.plan, before.chains, changed);
      become(look, self_after);
      look.snapshot.set_veto(static_cast<size_t>(look.self), look.veto);
      self.out = look.out;
      ring_for(look, std::move(rings), before, changed, self_gone);
    }
  }
  look.snapshot.set_veto(static_cast<size_t>(look.self), look.veto);
  self.out = look.out;
  if (!entered_ && !self_gone) ring_concerned_by_newcomer(look, self_after, changed.empty());
  // Who comes into the line ahead of others changes whom they are thought to watch.
  const bool wants_more = (look.veto_before & ~look.veto) != 0;
  const bool came_back = came_from == PartyState::aside || came_from == PartyState::held || look.out_before;
  const bool comes =
      self_after == PartyState::waiting && !self_gone && !look.out && (!entered_ || came_back || wants_more);
  const bool last = !look.plan.line.empty() && look.plan.line.back() == look.self;
  if (comes && !last) {
    self.state = PartyState::waiting;
    for (const int index : overtaken(look.snapshot, plan(look.snapshot, look.dead), look.self))
      (void)ledger_.ring(look.snapshot.parties[static_cast<size_t>(index)]);
  }
  const bool nothing_new = !self_changes && changed.empty() && entered_ && !look.by_time && self.way == record_.way;
  if (look.snapshot.any_reclaimable && !nothing_new) ring_reclaims(look, self_after, self_gone);
  for (size_t i = 0; i < look.dead.size(); ++i) {
    const Party& party = look.snapshot.parties[i];
    if (!look.dead[i] || !ledger_.may_reap(party) || !ledger_.reap(party)) continue;
    known_dead_.erase(party);
    if (look.snapshot.policy.fair_share) charge_unseen_use(look, party);
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
  const bool helps = std::any_of(before.plan.line.begin(), before.plan.line.end(),
                                 [&](int waiter) { return lets_go(before.plan, after, waiter); });
  if (helps && nobody_else_changed) {
    before.chains = sure_blockers(look.snapshot, before.plan);
    ring_for(look, concerned, before, {}, /*self_gone=*/false);
    return;
  }
  for (const int index : concerned) (void)ledger_.ring(look.snapshot.parties[static_cast<size_t>(index)]);
}

}  // namespace berth
