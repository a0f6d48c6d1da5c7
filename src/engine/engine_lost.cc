// A lease whose record was removed while its job runs: back into the book, if its place is free.
#include <algorithm>
#include <limits>

#include "engine/engine.h"
#include "engine/unlock.h"
#include "sched/shape.h"
#include "sched/watch.h"

namespace berth {

namespace {

constexpr int64_t patience_us = 2'000'000;  // for the lock

}  // namespace

bool Engine::nobody_contends(const Look& look) {
  for (size_t i = 0; i < look.snapshot.parties.size(); ++i) {
    const bool holds = look.snapshot.parties[i].state == PartyState::held && !look.dead[i];
    if (holds && contend(look.snapshot, look.self, static_cast<int>(i))) return false;
  }
  return true;
}

Result<Engine::Standing> Engine::stand_again() {
  const auto locked = ledger_.lock(ledger_.now_monotonic_us() + patience_us, Heed::nothing);
  if (!locked) return locked.error();
  if (*locked != LockOutcome::locked) return Standing::locked;
  const Unlock unlock(ledger_);
  auto all = read_config_first();
  if (!all) return all.error();
  if (ledger_.entries_stand()) return Standing::stands;
  if (const int there = all->find(own_key()); there >= 0)
    all->parties.erase(all->parties.begin() + there);  // without its life it counts as dead
  auto snapshot = rivals(std::move(*all));
  if (!snapshot) return Standing::nowhere;
  forget_dead_owners();
  if ((taken_processors() & processor_set(record_.processors)).any()) return Standing::taken;
  Look look;
  look.snapshot = std::move(*snapshot);
  // As the first in line, for exactly what it held.
  Record first = record_;
  first.state = PartyState::waiting;
  first.arrival_us = 0;
  first.debt_us = 0;
  first.priority = max_priority_magnitude;
  first.expect_s = 0;
  first.grant.clear();
  first.claim.eligible.clear();
  for (const uint16_t ordinal : record_.grant) first.claim.eligible.push_back(record_.claim.eligible.at(ordinal));
  if (decode_record(record_name(first), record_target(first), look.snapshot) != Decoded::ok) return Standing::taken;
  look.self = static_cast<int>(look.snapshot.parties.size()) - 1;
  recall_the_dead(look);
  look.plan = plan(look.snapshot, look.dead);
  if (look.verdict() == Verdict::wait && look_deeply(look, watch(look.snapshot, look.plan, look.self)))
    look.plan = plan(look.snapshot, look.dead);
  // A pool that was wiped has forgotten what `berth set` gave it: then what nobody else holds is free.
  const bool forgotten = look.verdict() == Verdict::impossible && nobody_contends(look);
  if (look.verdict() != Verdict::seat && !forgotten) return Standing::taken;
  // It takes from everybody, so everybody looks again: it is rare.
  for (const Party& party : look.snapshot.parties)
    if ((party.state == PartyState::waiting || party.way.reclaimable) && party != own_key()) (void)ledger_.ring(party);
  if (auto restored = ledger_.restore(record_); !restored) return restored.error();
  return Standing::again;
}

}  // namespace berth
