// Processors of one's own: who has which, and which we get.
#include <algorithm>

#include "engine/engine.h"

namespace berth {

// Over all levels: a processor is one, whoever's lease is inside whose. But what the leases around us have is
// what we are to run on.
void Engine::note_processors(const Snapshot& all) {
  owned_processors_.clear();
  if (all.processors.empty()) return;
  std::vector<PartyKey> own{own_key()};
  std::optional<PartyId> parent = record_.parent;
  for (size_t step = 0; parent && step < all.parties.size(); ++step) {
    own.push_back(PartyKey::of(*parent, record_.dir));
    const int index = all.find(own.back());
    parent.reset();
    if (index >= 0 && all.parties[static_cast<size_t>(index)].nested)
      parent = all.parties[static_cast<size_t>(index)].parent;
  }
  for (const Party& p : all.parties)
    if (p.processors.count > 0 && std::find(own.begin(), own.end(), p.key()) == own.end())
      owned_processors_.push_back({p, processor_set(all.own_processors(p))});
}

ProcessorSet Engine::processors_of_others() const {
  ProcessorSet out;
  for (const OwnedProcessors& owned : owned_processors_)
    if (!known_dead_.contains(owned.party)) out |= owned.set;
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

// Requires a plan that seats us. Why there are none for us; "" where look.processors has them.
std::string Engine::find_processors(Look& look) {
  const int64_t count = amount_of(record_.claim, "cpu");
  std::vector<std::string> devices;
  for (const uint16_t device : look.plan.seat_of(look.self)) devices.push_back(look.snapshot.devices[device]);
  look.processors = spans_of(processors_->choose(count, processors_of_others(), devices));
  if (look.processors.empty()) {
    // Some of those who have them may be gone.
    std::erase_if(owned_processors_,
                  [&](const OwnedProcessors& owned) { return ledger_.life(owned.party) == Life::dead; });
    look.processors = spans_of(processors_->choose(count, processors_of_others(), devices));
  }
  if (look.processors.empty()) return no_processors_left;
  if (record_name(as_seated(look)).size() <= max_name_bytes) return "";
  look.processors.clear();
  return no_processors_left + std::string(", and what is left lies scattered");
}

}  // namespace berth
