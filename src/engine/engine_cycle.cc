// Hold-and-wait: whether our standing in line would close a cycle (sched/deadlock.h).
#include <algorithm>

#include "engine/engine.h"
#include "ledger/record.h"

namespace berth {

// Only who waits while a lease of its own job lasts can close one: nobody else is asked to pay for the question.
Result<bool> Engine::closes_cycle(Acquired& out) {
  if (!record_.with && !record_.parent) return false;
  auto all = ledger_.read();
  if (!all) return all.error();
  const auto asks_inside = [](const Party& p) { return p.seconds; };
  if (!record_.with && std::none_of(all->parties.begin(), all->parties.end(), asks_inside)) return false;
  const int self = entered_ ? all->find(own_key()) : static_cast<int>(all->parties.size());
  if (self < 0) return false;
  if (!entered_ && decode_record(record_name(record_), record_target(record_), *all) != Decoded::ok) return false;
  std::vector<bool> absent(all->parties.size(), false);
  for (size_t i = 0; i < absent.size(); ++i) absent[i] = known_dead_.contains(all->parties[i]);
  for (size_t round = 0; round < absent.size(); ++round) {
    out.cycle = closed_cycle(*all, absent, self, work_under_lock);
    bool all_live = true;
    const auto ask = [&](int party) {
      if (party == self || ledger_.life(all->parties[static_cast<size_t>(party)]) != Life::dead) return;
      absent[static_cast<size_t>(party)] = true;
      all_live = false;
    };
    for (const CycleWait& wait : out.cycle) {
      ask(wait.waiter);
      ask(wait.blocker);
    }
    if (!all_live) continue;
    if (out.cycle.empty()) return false;
    out.ending = Ending::cycle;
    out.self = self;
    out.dead = absent;
    out.snapshot = std::move(*all);
    return true;
  }
  return false;
}

}  // namespace berth
