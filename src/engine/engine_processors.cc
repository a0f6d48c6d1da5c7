// Processors of one's own: who has which, and which we get.
#include <algorithm>

#include "engine/engine.h"

namespace berth {

// Over all levels: a processor is one, whoever's lease is inside whose. But what the leases around us have is
// what we are to run on, and what those inside of us have is ours.
void Engine::note_processors(const Snapshot& all) {
  owned_processors_.clear();
  around_processors_.reset();
  if (all.processors.empty()) return;
  std::vector<PartyKey> own{own_key()};
  std::optional<PartyKey> around;
  if (record_.parent) around = PartyKey::of(*record_.parent, record_.dir);
  for (size_t step = 0; around && step < all.parties.size(); ++step) {
    own.push_back(*around);
    const int index = all.find(*around);
    around.reset();
    if (index < 0) break;
    const Party& lease = all.parties[static_cast<size_t>(index)];
    if (around_processors_.none()) around_processors_ = processor_set(all.own_processors(lease));
    if (lease.nested) around = lease.parent_key();
  }
  const std::vector<PartyKey> with = leases_with(all);
  for (const Party& p : all.parties) {
    if (p.processors.count == 0 || std::find(own.begin(), own.end(), p.key()) != own.end()) continue;
    if (is_inside(all, p, own_key())) continue;
    const bool runs_in_it = std::find(with.begin(), with.end(), p.key()) != with.end();
    owned_processors_.push_back({p, processor_set(all.own_processors(p)), runs_in_it});
  }
}

// Those that our command runs in, whether they serve us or not.
std::vector<PartyKey> Engine::leases_with(const Snapshot& all) const {
  std::vector<PartyKey> out;
  const auto add = [&](const PartyKey& who) {
    if (std::find(out.begin(), out.end(), who) == out.end()) out.push_back(who);
  };
  if (record_.parent) add(PartyKey::of(*record_.parent, record_.dir));
  if (record_.with) add(PartyKey::of(*record_.with, record_.dir.empty() ? own_dir(all) : record_.dir));
  // NOLINTNEXTLINE(modernize-loop-convert): it grows while we go through it.
  for (size_t i = 0; i < out.size(); ++i) {
    const int index = all.find(out[i]);
    if (index < 0) continue;
    const Party& lease = all.parties[static_cast<size_t>(index)];
    if (lease.nested) add(lease.parent_key());
    if (lease.seconds) add(lease.with_key());
  }
  return out;
}

void Engine::forget_dead_owners() {
  std::erase_if(owned_processors_,
                [&](const OwnedProcessors& owned) { return ledger_.life(owned.party) == Life::dead; });
}

ProcessorSet Engine::taken_processors() const {
  ProcessorSet out;
  for (const OwnedProcessors& owned : owned_processors_)
    if (!known_dead_.contains(owned.party)) out |= owned.set;
  return out;
}

ProcessorSet Engine::processors_of_others() {
  forget_dead_owners();
  ProcessorSet out;
  for (const OwnedProcessors& owned : owned_processors_)
    if (!owned.around) out |= owned.set;
  return out;
}

Record Engine::as_seated(const Look& look) const {
  Record out = record_;
  out.state = PartyState::held;
  out.seated_us = ledger_.now_wall_us();
  out.ends_us = out.ttl_us > 0 ? out.seated_us + out.ttl_us : 0;
  out.veto = 0;
  out.out = false;
  out.grant.clear();
  out.processors = look.processors;
  const Way said = out.way;
  out.way = Way{};
  out.way.reclaimable = said.reclaimable;
  out.way.preemptible = said.preemptible;
  out.way.gives_up = said.gives_up;  // the name keeps its room
  const Party& self = look.snapshot.parties[static_cast<size_t>(look.self)];
  for (const uint16_t device : look.plan.seat_of(look.self))
    for (const Eligible& e : look.snapshot.eligible(self))
      if (e.device == device) out.grant.push_back(e.ordinal);
  return out;
}

// Whether there are too few for us, wherever we sit.
bool Engine::lacks_processors() {
  if (processors_ == nullptr || !record_.pins) return false;
  const int64_t count = amount_of(record_.claim, "cpu");
  if (processors_->choose(count, taken_processors(), {}).any()) return false;
  forget_dead_owners();
  return processors_->choose(count, taken_processors(), {}).none();
}

// Requires a plan that seats us. Why there are none for us; "" where look.processors has them.
std::string Engine::find_processors(Look& look) {
  const int64_t count = amount_of(record_.claim, "cpu");
  std::vector<std::string> devices;
  for (const uint16_t device : look.plan.seat_of(look.self)) devices.push_back(look.snapshot.devices[device]);
  // Of the nearest lease around that has some, or what is inside of it would have more of them than it claims.
  const auto choose = [&] {
    const ProcessorSet taken = taken_processors();
    ProcessorSet out;
    if (around_processors_.any()) out = processors_->choose(count, taken | ~around_processors_, devices);
    if (out.none()) out = processors_->choose(count, taken, devices);
    look.processors = spans_of(out);
  };
  choose();
  if (look.processors.empty()) {
    // Some of those who have them may be gone.
    forget_dead_owners();
    choose();
  }
  if (look.processors.empty()) return no_processors_left;
  if (record_name(as_seated(look)).size() <= max_name_bytes) return "";
  look.processors.clear();
  return no_processors_left + std::string(", and what is left lies scattered");
}

}  // namespace berth
