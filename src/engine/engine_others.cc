// What is done to the pool, or to somebody else's lease.
#include <utility>

#include "engine/engine.h"
#include "engine/unlock.h"

namespace berth {

Result<> Engine::configure(const std::function<Result<>(PoolConfig&)>& edit) {
  if (auto locked = lock_for_long(); !locked) return locked.error();
  const Unlock unlock(ledger_);
  auto snapshot = ledger_.read();
  if (!snapshot) return snapshot.error();
  PoolConfig config = ledger_.config() != nullptr ? *ledger_.config() : defaults_();
  if (auto edited = edit(config); !edited) return edited;
  // A capacity decides about everybody's chain, so everybody looks again.
  for (const Party& party : snapshot->parties)
    if (party.state == PartyState::waiting || party.way.reclaimable) (void)ledger_.ring(party);
  return ledger_.write_config(config);
}

Result<> Engine::evict(const PartyKey& who) {
  if (auto locked = lock_for_long(); !locked) return locked.error();
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
  auto found = find_there(std::move(*all), who, {ErrorKind::not_found, 0, "no such lease"});
  if (!found) return found.error();
  Look look = std::move(*found);
  const Party party = look.snapshot.parties[static_cast<size_t>(look.self)];
  const bool entered = std::exchange(entered_, true);  // the party is in the pool, though it is not us
  auto done = change_pool(look, party.state, /*self_gone=*/true, [&] { return ledger_.evict(party); });
  // Who was killed while he gave it another claim has left two records of it.
  for (int twins = 0; done.ok() && twins < 4; ++twins) {
    auto again = ledger_.read();
    const int twin = again.ok() ? again->find(who) : -1;
    if (twin < 0) break;
    if (!ledger_.evict(again->parties[static_cast<size_t>(twin)]).ok()) break;  // it was a stranger's, and none
  }
  entered_ = entered;
  if (done.ok()) (void)ledger_.ring(party);
  return done;
}

}  // namespace berth
