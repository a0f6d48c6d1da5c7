// Another amount for a lease that is held. It shrinks at once, and those who fit by then are rung. It grows as a
// newcomer would be seated with what it needs besides: behind everybody who waits for some of that.
#include <algorithm>
#include <map>
#include <utility>

#include "base/text.h"
#include "engine/engine.h"
#include "engine/unlock.h"
#include "sched/rings.h"
#include "sched/watch.h"

namespace berth {

namespace {

// What those inside of a lease have of it, or wait for, may not be taken away below them; "" where it is not.
std::string missed_inside(const Snapshot& all, const PartyKey& parent, const Claim& before, const Claim& after) {
  struct Use {
    int64_t vram = 0;
    int compute = 0;
    bool whole = false;
  };
  std::map<std::string, int64_t> held;
  std::map<std::string, Use> uses;
  for (const Party& p : all.parties) {
    if (!p.nested || p.parent_key() != parent) continue;
    for (const Amount& a : all.counters(p)) {
      int64_t& amount = held[all.resources[a.resource].name];
      amount = p.state == PartyState::held ? amount + a.amount : std::max(amount, a.amount);
    }
    for (const uint16_t device : all.granted(p)) {
      Use& use = uses[all.devices[device]];
      use.vram += p.gpu.vram_bytes;
      use.compute += p.gpu.compute_pct;
      use.whole = use.whole || p.gpu.whole;
    }
    if (p.state != PartyState::held && p.gpu.count > after.gpu.count) return "a lease inside of it waits for more GPUs";
    if (p.state != PartyState::held && !after.gpu.whole && p.gpu.count > 0 &&
        (p.gpu.vram_bytes > after.gpu.vram_bytes || p.gpu.whole))
      return "a lease inside of it waits for more of a GPU";
  }
  for (const NamedAmount& c : after.counters)
    if (held[c.name] > c.amount)
      return "leases inside of it have, or wait for, " + describe_amount(c.name, held[c.name]) + " " + c.name;
  const bool share_shrinks = !after.gpu.whole && (before.gpu.whole || after.gpu.vram_bytes < before.gpu.vram_bytes);
  for (const auto& [uuid, use] : uses) {
    const bool kept = std::any_of(after.eligible.begin(), after.eligible.end(),
                                  [&, &uuid = uuid](const DeviceRef& d) { return d.uuid == uuid; });
    const bool too_much = !after.gpu.whole && (use.vram > after.gpu.vram_bytes ||
                                               (before.gpu.whole && use.compute > after.gpu.compute_pct));
    if (!kept || too_much || (use.whole && share_shrinks)) return "leases inside of it use GPU " + uuid;
  }
  return "";
}

// Its record with what it has by then, but for what it grows by.
Result<Record> changed_record(const Record& before, const ClaimChange& change, const ClaimWish& wish, int64_t now_us) {
  if (!before.processors.empty() && amount_of(change.after, "cpu") != amount_of(before.claim, "cpu"))
    return Error{ErrorKind::usage, 0, "it has processors of its own (--pin), and keeps them: end it and claim anew"};
  Record after = before;
  after.claim = change.after;
  after.grant = change.kept;
  if (wish.ttl_us > 0) {
    if (before.ends_us == 0) return Error{ErrorKind::usage, 0, "it has no --ttl that could be moved"};
    after.ends_us = std::min(max_amount, now_us + wish.ttl_us);
    after.expect_s = std::max<int64_t>(1, (after.ends_us - before.seated_us) / 1'000'000);
  }
  return after;
}

}  // namespace

// What it asks for besides, as the last in line: whether it could have that now.
Result<Resized> Engine::seat_growth(const Look& look, const Record& now, const ClaimChange& change,
                                    std::vector<uint16_t>& more) {
  Resized out;
  Record all_of_it = now;
  all_of_it.state = PartyState::waiting;
  all_of_it.grant.clear();
  all_of_it.claim = change.after;
  Snapshot pool = look.snapshot;
  if (decode_record(record_name(all_of_it), record_target(all_of_it), pool) != Decoded::ok)
    return Error{ErrorKind::usage, 0, "the claim is too large to be written down: end it and claim anew"};
  out.shortfalls = shortfalls(pool, static_cast<int>(pool.parties.size()) - 1);
  if (!out.shortfalls.empty()) return out;
  Look besides;
  besides.snapshot = look.snapshot;
  Record newcomer;
  newcomer.id = ledger_.new_id();
  newcomer.dir = now.dir;
  newcomer.parent = now.parent;
  newcomer.priority = now.priority;
  newcomer.claim = change.growth;
  newcomer.arrival_us = ledger_.now_wall_us();
  for (const Party& p : look.snapshot.parties) newcomer.arrival_us = std::max(newcomer.arrival_us, p.arrival_us + 1);
  newcomer.arrival_us = std::min(newcomer.arrival_us, max_amount);
  if (decode_record(record_name(newcomer), record_target(newcomer), besides.snapshot) != Decoded::ok)
    return Error{ErrorKind::usage, 0, "the claim is too large to be written down"};
  besides.self = static_cast<int>(besides.snapshot.parties.size()) - 1;
  besides.snapshot.parties.back().grows = change.after.gpu.count == now.claim.gpu.count;
  besides.dead = look.dead;
  besides.dead.push_back(false);
  besides.plan = plan(besides.snapshot, besides.dead);
  if (besides.verdict() == Verdict::wait && look_deeply(besides, watch(besides.snapshot, besides.plan, besides.self)))
    besides.plan = plan(besides.snapshot, besides.dead);
  const auto& seat = besides.plan.seat_of(besides.self);
  out.fits = besides.verdict() == Verdict::seat;
  for (const Eligible& e : besides.snapshot.eligible(besides.snapshot.parties.back())) {
    if (std::find(seat.begin(), seat.end(), e.device) == seat.end()) continue;
    if (admission_ != nullptr && out.fits)
      out.refusal = admission_->refusal(besides.snapshot, besides.dead, besides.self, e, /*seated=*/true);
    if (!out.refusal.empty()) out.fits = false;
    for (size_t i = 0; i < now.claim.eligible.size(); ++i)
      if (now.claim.eligible[i].uuid == change.growth.eligible[e.ordinal].uuid)
        more.push_back(static_cast<uint16_t>(i));
  }
  return out;
}

Result<Resized> Engine::resize(const PartyKey& who, const ClaimWish& wish) {
  if (admission_ != nullptr) admission_->ask_and_wait();
  if (auto locked = lock_for_long(); !locked) return locked.error();
  const Unlock unlock(ledger_);
  auto all = ledger_.read();
  if (!all) return all.error();
  const int index = all->find(who);
  if (index < 0) return Error{ErrorKind::not_found, 0, "no such lease"};
  const Party party = all->parties[static_cast<size_t>(index)];
  if (party.state != PartyState::held)
    return Error{ErrorKind::usage, 0, "it does not have its place yet: end it and claim anew"};
  const Record before = record_of(*all, static_cast<size_t>(index));
  auto change = change_claim(before.claim, before.grant, wish);
  if (!change) return change.error();
  auto changed = changed_record(before, *change, wish, ledger_.now_wall_us());
  if (!changed) return changed.error();
  Record after = std::move(*changed);
  Claim kept = after.claim;
  kept.eligible.clear();
  for (const uint16_t ordinal : after.grant) kept.eligible.push_back(after.claim.eligible[ordinal]);
  // Who was killed inside of it has nothing.
  Snapshot living = *all;
  std::erase_if(living.parties,
                [&](const Party& p) { return p.nested && p.parent_key() == who && ledger_.life(p) == Life::dead; });
  if (const std::string inside = missed_inside(living, who, before.claim, kept); !inside.empty())
    return Error{ErrorKind::usage, 0, inside};
  // Those inside compete for what it has: all of them look again.
  std::vector<Party> inside_of_it;
  for (const Party& p : all->parties)
    if (p.nested && p.state == PartyState::waiting && p.parent_key() == who) inside_of_it.push_back(p);
  record_ = Record{};
  record_.parent = before.parent;
  record_.dir = before.dir;
  record_.way = before.way;
  auto found = find_there(std::move(*all), who, {ErrorKind::not_found, 0, "no such lease"});
  if (!found) return found.error();
  Look look = std::move(*found);
  Resized out;
  out.fits = true;
  if (change->grows()) {
    std::vector<uint16_t> more;
    auto grown = seat_growth(look, before, *change, more);
    if (!grown) return grown.error();
    if (!grown->fits) return grown;
    // As much more of the cards that it has names them again.
    for (const uint16_t ordinal : more)
      if (std::find(after.grant.begin(), after.grant.end(), ordinal) == after.grant.end())
        after.grant.push_back(ordinal);
  }
  Snapshot written;
  if (decode_record(record_name(after), record_target(after), written) != Decoded::ok)
    return Error{ErrorKind::usage, 0, "the claim is too large to be written down: end it and claim anew"};
  ring_for_change(look, after, change->grows() || wish.ttl_us > 0);
  for (const Party& p : inside_of_it) (void)ledger_.ring(p);
  if (auto replaced = ledger_.replace(party, after); !replaced) return replaced.error();
  (void)ledger_.ring(party);
  return out;
}

// Who gives something up is a holder that shrinks; who takes something more concerns everybody who waits.
void Engine::ring_for_change(Look& look, const Record& after, bool grows) {
  const auto self = static_cast<size_t>(look.self);
  Before before;
  before.plan = plan(look.snapshot, look.dead);
  before.chains = sure_blockers(look.snapshot, before.plan);
  std::vector<int> rings = dependents(look.snapshot, before.plan, before.chains, {look.self});
  if (grows)
    for (size_t i = 0; i < look.snapshot.parties.size(); ++i)
      if (look.snapshot.parties[i].state == PartyState::waiting) rings.push_back(static_cast<int>(i));
  if (decode_record(record_name(after), record_target(after), look.snapshot) == Decoded::ok) {
    look.snapshot.parties[self] = look.snapshot.parties.back();
    look.snapshot.parties.pop_back();
  }
  ring_for(look, std::move(rings), before, {look.self}, /*self_gone=*/false);
  if (look.snapshot.any_reclaimable) ring_reclaims(look, PartyState::held, /*self_gone=*/false);
}

}  // namespace berth
