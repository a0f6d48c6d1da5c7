// Fair share: what a newcomer owes for what its user had, and who writes down what he had.
#include "engine/engine.h"
#include "sched/fair_share.h"

namespace berth {

// Others read it of our record; we plan with the same.
void Engine::owe(Look& look) {
  record_.debt_us = debt_us(look.snapshot, look.self, decode_use_account(ledger_.use_account()));
  look.snapshot.parties[static_cast<size_t>(look.self)].debt_us = record_.debt_us;
}

// Under the lock, before the record goes. It says itself what it had; nobody else need be there.
void Engine::charge_own_use() {
  const PoolConfig& config = *ledger_.config();
  Snapshot own;
  for (const NamedAmount& c : config.capacities) own.resources.push_back({c.name, c.amount});
  own.policy = config.policy;
  if (decode_record(record_name(record_), record_target(record_), own) != Decoded::ok) return;
  const int64_t now_us = ledger_.now_wall_us();
  const Party& lease = own.parties.back();
  if (lease.nested) return;
  const UseAccount before = decode_use_account(ledger_.use_account());
  ledger_.write_use_account(encode_use_account(charged(before, own, lease, now_us - lease.seated_us, now_us)));
}

// The same for one of our uid's that died without a word.
void Engine::charge_unseen_use(const Look& look, const Party& dead) {
  if (dead.state != PartyState::held || dead.nested || !ledger_.ours(dead)) return;
  const int64_t now_us = ledger_.now_wall_us();
  const UseAccount before = decode_use_account(ledger_.use_account());
  const UseAccount after = charged(before, look.snapshot, dead, unseen_use_us(dead, now_us), now_us);
  ledger_.write_use_account(encode_use_account(after));
}

}  // namespace berth
