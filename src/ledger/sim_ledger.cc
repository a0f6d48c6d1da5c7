#include "ledger/sim_ledger.h"

#include <algorithm>

namespace berth {

void SimLedger::must_hold_lock(std::string_view call) {
  if (world_.lock_holder_ != self_.index) world_.complain("no lock at " + std::string(call));
}

void SimLedger::erase(const PartyId& id) {
  std::erase_if(world_.entries_, [&](const SimEntry& e) { return e.id == id; });
}

void SimLedger::pause(int64_t us) {
  step("pause");
  if (us > 0) world_.block(self_, SimParty::Blocked::clock, world_.now_us() + us);
}

void SimLedger::stop_myself(int64_t us) {
  world_.stop(self_.index, us);
  step("stop");
}

Result<LockOutcome> SimLedger::lock(int64_t deadline_us, Heed heed) {
  step("lock");
  self_.heeds_cancel = heed == Heed::cancel;
  if (world_.lock_holder_ == self_.index) world_.complain("locked twice");
  // Free: taken, even by one who is late or cancelled.
  for (;;) {
    if (world_.lock_holder_ == SimWorld::nobody) break;
    if (self_.cancelled && self_.heeds_cancel) return LockOutcome::cancelled;
    if (deadline_us >= 0 && world_.now_us() >= deadline_us) return LockOutcome::timed_out;
    world_.block(self_, SimParty::Blocked::lock, deadline_us);
  }
  world_.lock_holder_ = self_.index;
  return LockOutcome::locked;
}

// Called from destructors, so it cannot throw: who is killed in here is unwound at its next call.
void SimLedger::unlock() {
  if (!world_.quiet_step(self_, "unlock")) return;
  must_hold_lock("unlock");
  world_.lock_holder_ = SimWorld::nobody;
  if (!leaving_) return;
  leaving_ = false;
  // The record went under the lock; life and bell go after it.
  if (!world_.quiet_step(self_, "drop the life")) return;
  self_.life = false;
  self_.bell = false;
}

Result<Snapshot> SimLedger::read() {
  step("read");
  return world_.snapshot();
}

Result<bool> SimLedger::line_is_empty() {
  step("line_is_empty");
  return std::none_of(world_.entries_.begin(), world_.entries_.end(),
                      [](const SimEntry& e) { return e.name[0] == 'w' || e.name[0] == 'a'; });
}

Result<> SimLedger::enter(Record& record) {
  step("enter");
  must_hold_lock("enter");
  if (world_.owners_.contains(record.id)) world_.complain("an id was used again");
  record.dir = std::to_string(self_.uid);
  world_.owners_[record.id] = self_.index;
  self_.id = record.id;
  self_.life = true;
  self_.bell = true;
  self_.unread = 0;
  leaving_ = false;
  world_.entries_.push_back({record.id, record_name(record), record_target(record), self_.uid});
  world_.check_grants();
  return success();
}

Result<> SimLedger::change(const Record& record) {
  step("change");
  must_hold_lock("change");
  SimEntry* entry = world_.entry(record.id);
  if (entry == nullptr) return Error{ErrorKind::lost, 0, "our record was removed"};
  entry->name = record_name(record);
  world_.check_grants();
  return success();
}

Result<> SimLedger::restore(Record& record) {
  step("restore");
  must_hold_lock("restore");
  if (world_.entry(record.id) != nullptr) world_.complain("a record that stands was restored");
  world_.entries_.push_back({record.id, record_name(record), record_target(record), self_.uid});
  world_.check_grants();
  return success();
}

void SimLedger::leave() {
  step("leave");
  must_hold_lock("leave");
  erase(self_.id);
  leaving_ = true;
}

void SimLedger::abandon() {
  step("abandon");
  self_.life = false;
  self_.bell = false;
}

Ring SimLedger::ring(const Party& party) {
  step("ring");
  SimParty* other = world_.owner(party.id);
  if (other == nullptr || !other->bell) return {false, 0};
  return {true, ++other->unread};
}

Ring SimLedger::bell(const Party& party) {
  step("bell");
  const SimParty* other = world_.owner(party.id);
  if (other == nullptr || !other->bell) return {false, 0};
  return {true, other->unread};
}

Life SimLedger::life(const Party& party) {
  step("life");
  return world_.lives(party.id) ? Life::alive : Life::dead;
}

bool SimLedger::ours(const Party& party) const { return party.dir() == std::to_string(self_.uid); }
std::string SimLedger::own_dir() const { return std::to_string(self_.uid); }

bool SimLedger::may_reap(const Party& party) const { return self_.uid == 0 || ours(party); }

bool SimLedger::reap(const Party& party) {
  step("reap");
  must_hold_lock("reap");
  if (world_.lives(party.id) || !may_reap(party)) return false;
  erase(party.id);
  return true;
}

std::vector<int> SimLedger::watch(const Snapshot& snapshot, const std::vector<int>& parties) {
  step("watch");
  std::vector<int> dead;
  self_.watched.clear();
  for (const int index : parties) {
    const PartyId& id = snapshot.parties[static_cast<size_t>(index)].id;
    if (world_.lives(id))
      self_.watched.insert(id);
    else
      dead.push_back(index);
  }
  return dead;
}

Wake SimLedger::wait(int64_t deadline_us, int /*answer_fd*/) {
  step("wait");
  if (world_.lock_holder_ == self_.index) world_.complain("waits with the lock in hand");
  world_.block(self_, SimParty::Blocked::bell, deadline_us);
  const bool reason = self_.unread > 0 || world_.somebody_died(self_);
  self_.unread = 0;
  Wake wake;
  wake.cancelled = self_.cancelled;
  wake.nothing_else = !reason;
  wake.timed_out = !reason && !self_.cancelled;
  return wake;
}

Result<> SimLedger::write_config(const PoolConfig& config) {
  step("write_config");
  must_hold_lock("write_config");
  if (!decode_config(encode_config(config), world_.config_)) world_.complain("a config that cannot be read");
  return success();
}

Result<> SimLedger::evict(const Party& party) {
  step("evict");
  must_hold_lock("evict");
  if (!may_reap(party)) return Error{ErrorKind::not_yours, 0, "that lease is not yours"};
  erase(party.id);
  return success();
}

Result<> SimLedger::replace(const Party& party, const Record& record) {
  step("replace");
  must_hold_lock("replace");
  if (!may_reap(party)) return Error{ErrorKind::not_yours, 0, "that lease is not yours"};
  SimEntry* entry = world_.entry(party.id);
  if (entry == nullptr) return Error{ErrorKind::not_found, 0, "no such lease"};
  entry->name = record_name(record);
  entry->target = record_target(record);
  world_.check_grants();
  return success();
}

std::string SimLedger::use_account() {
  step("use_account");
  return world_.accounts_[self_.uid];
}

void SimLedger::write_use_account(const std::string& text) {
  step("write_use_account");
  must_hold_lock("write_use_account");
  world_.accounts_[self_.uid] = text;
}

void SimLedger::sweep_orphans() { step("sweep_orphans"); }

PartyId SimLedger::new_id() {
  static constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567";
  PartyId id;
  for (char& c : id.text) c = letters[world_.random_() % letters.size()];
  return id;
}

}  // namespace berth
