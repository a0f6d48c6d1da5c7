// The look: one picture of the pool under its lock, who of it counts, and what the plan says to that.
#include <algorithm>

#include "base/text.h"
#include "engine/engine.h"
#include "sched/rings.h"
#include "sched/watch.h"

namespace berth {

namespace {

constexpr int64_t most_ahead_us = 3'600'000'000;  // an arrival further ahead of our clock is nobody's clock
constexpr int64_t answer_time_us = 100'000;       // how long a rung waiter has before it is passed over
constexpr int64_t stale_us = 500'000;             // unanswered rings older than this prove nothing any more
constexpr int64_t longest_tick_us = 3'600'000'000;
constexpr size_t few = 8;          // of so few parties three lives are looked at in passing, of more one:
constexpr int samples_of_few = 3;  // enough to tidy up after crashes, and cheap
constexpr size_t supervised = 4;   // entitled waiters one look takes care of

std::vector<bool> either(const std::vector<bool>& a, const std::vector<bool>& b) {
  std::vector<bool> out(a);
  for (size_t i = 0; i < out.size(); ++i) out[i] = out[i] || b[i];
  return out;
}

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

// Of a lease that is held, its owner may have changed what it has since we wrote it.
bool Engine::take_over(const Snapshot& all) {
  const int index = seated_ ? all.find(own_key()) : -1;
  if (index < 0) return false;
  const Record there = record_of(all, static_cast<size_t>(index));
  record_.claim = there.claim;
  record_.grant = there.grant;
  record_.ends_us = there.ends_us;
  record_.expect_s = there.expect_s;
  return true;
}

Result<Snapshot> Engine::rivals(Snapshot all) {
  (void)take_over(all);
  const bool any_nested = std::any_of(all.parties.begin(), all.parties.end(), [](const Party& p) { return p.nested; });
  if (!record_.parent) {
    note_processors(all);
    return any_nested ? top_level(all) : std::move(all);
  }
  // A nested lease stands in its parent's directory, and counts nowhere else.
  const int parent = record_.dir.empty() ? all.find(*record_.parent) : -1;
  if (parent >= 0 && ledger_.ours(all.parties[static_cast<size_t>(parent)]))
    record_.dir = all.parties[static_cast<size_t>(parent)].dir();
  note_processors(all);
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
  look.out_before = look.out = look.snapshot.parties[static_cast<size_t>(look.self)].out;
  return true;
}

Result<Engine::Look> Engine::find_there(Snapshot all, const PartyKey& who, Error gone) {
  auto snapshot = rivals(std::move(all));
  if (!snapshot) return snapshot.error();
  Look look;
  look.snapshot = std::move(*snapshot);
  if (!find_own_record(look, who)) return gone;
  recall_the_dead(look);
  return look;
}

// Where our record will stand: beside the lease of ours that it names, else where the ledger says.
std::string Engine::own_dir(const Snapshot& snapshot) const {
  const int lease = record_.with ? snapshot.find(*record_.with) : -1;
  if (lease >= 0 && ledger_.ours(snapshot.parties[static_cast<size_t>(lease)]))
    return std::string(snapshot.parties[static_cast<size_t>(lease)].dir());
  return ledger_.own_dir();
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
  record_.debt_us = 0;
  if (!record_.parent) record_.dir = own_dir(look.snapshot);  // until enter() says where
  // We plan with what others will read of us, not with what we meant.
  if (decode_record(record_name(record_), record_target(record_), look.snapshot) != Decoded::ok)
    return Error{ErrorKind::usage, 0, "the claim is too large to be written down"};
  look.self = static_cast<int>(look.snapshot.parties.size()) - 1;
  if (look.snapshot.policy.fair_share) owe(look);
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
  look.snapshot.parties[static_cast<size_t>(look.self)].out = look.out = false;
  recall_the_dead(look);
  look.silent.assign(look.snapshot.parties.size(), false);
  if (!entered_) sample_the_dead(look);
  const int64_t began_us = ledger_.now_monotonic_us();
  settle(look);
  look.impossible = look.verdict() == Verdict::impossible;
  if (admission_ != nullptr) {
    heed_driver(look, [this](Look& l) { settle(l); });
    // An answer that is old by now is not asked for its words again, but the veto that it left still has them.
    if (look.veto == 0 || !look.refusal.empty())
      refusal_ = look.refusal;
    else
      look.refusal = refusal_;
    look.gives_way = gives_way(look);
  }
  if (machine_ != nullptr || processors_ != nullptr) {
    heed_machine(look);
    look.gives_way = (look.gives_way && !look.out) || gives_way_to_the_refused(look);
    stay_out(look);
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

}  // namespace berth
