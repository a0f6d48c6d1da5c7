// The machine's word: what a look does with it.
#include <algorithm>

#include "engine/engine.h"

namespace berth {

namespace {

constexpr int64_t slowest_pace_us = 5'000'000;  // of the looks of one that is out; see also next_look_us()
constexpr int64_t courtesy_us = 300'000;        // for one ahead to find out that it may come in
constexpr int64_t courtesy_again_us = 10'000'000;
constexpr size_t most_watched = 64;

using Stand = MachineWord::Stand;

// Whether the end of this lease may let somebody in who is out.
bool leaves_something(const Snapshot& snapshot, const Party& party) {
  if (party.state != PartyState::held) return false;
  const auto counters = snapshot.counters(party);
  return party.processors.count > 0 || std::any_of(counters.begin(), counters.end(), [&](const Amount& a) {
           return snapshot.resources[a.resource].name == "ram";
         });
}

}  // namespace

std::string Engine::machine_refusal(Look& look) {
  const bool seated = look.verdict() == Verdict::seat;
  const Stand stand = seated ? Stand::seat : look.out_before ? Stand::out : Stand::in_line;
  std::string why = machine_ != nullptr ? machine_->refusal(look.snapshot, look.dead, look.self, stand) : "";
  if (why.empty() && processors_ != nullptr && record_.pins && seated && !look.asks_driver) why = find_processors(look);
  return why;
}

// Requires that the plan was made as if we were not out. Who is out for what strangers use is so wherever it
// stands in line: what it would have set aside for it helps nobody. Who is out for what leases use is so when its
// turn has come, and stands in line until then. So is who is out for the trouble that the machine is in, but
// that one stays out until the trouble is over.
void Engine::heed_machine(Look& look) {
  const auto self = static_cast<size_t>(look.self);
  look.out = false;
  if (look.verdict() != Verdict::seat && look.verdict() != Verdict::wait) return;
  const std::string why = machine_refusal(look);
  if (why.empty()) {
    // What it waits for in line is not all of it then.
    if (look.verdict() == Verdict::wait && look.refusal.empty() && lacks_processors())
      look.refusal = no_processors_left;
    return;
  }
  look.out = true;
  look.asks_driver = false;
  look.refusal = why;
  look.snapshot.parties[self].out = true;
  std::vector<bool> absent = look.dead;
  for (size_t i = 0; i < look.silent.size(); ++i) absent[i] = absent[i] || look.silent[i];
  look.plan = plan(look.snapshot, absent);
}

// When to look again, and what wakes us sooner. Nobody plans with us, so nobody is bound to ring.
void Engine::stay_out(Look& look) {
  if (!look.out) {
    machine_pace_us_ = first_pace_us;
    return;
  }
  const OrderKey own = order_key(look.snapshot.parties[static_cast<size_t>(look.self)], look.snapshot.policy);
  std::vector<int> holders;
  look.contending_ahead = 0;
  for (size_t i = 0; i < look.snapshot.parties.size(); ++i) {
    const Party& p = look.snapshot.parties[i];
    if (look.dead[i]) continue;
    if (p.out && p.state == PartyState::waiting && order_key(p, look.snapshot.policy) < own) ++look.contending_ahead;
    if (leaves_something(look.snapshot, p) && holders.size() < most_watched) holders.push_back(static_cast<int>(i));
  }
  const int64_t now_us = ledger_.now_monotonic_us();
  int64_t due_us = now_us + machine_pace_us_;
  machine_pace_us_ = std::min(slowest_pace_us, machine_pace_us_ * 3 / 2);
  // Only those in front look at once.
  if (look.contending_ahead >= 2) holders.clear();
  for (const int index : ledger_.watch(look.snapshot, holders))
    if (bury(look, index)) due_us = now_us;
  look.look_again_us = look.look_again_us < 0 ? due_us : std::min(look.look_again_us, due_us);
}

// Who is out looks now and then only, and we have just done so. One ahead of us that would be let in by now is
// told, and has a moment to take its place before we take ours.
bool Engine::gives_way_to_the_refused(Look& look) {
  if (machine_ == nullptr || look.out || look.asks_driver || look.verdict() != Verdict::seat) return false;
  const OrderKey own = order_key(look.snapshot.parties[static_cast<size_t>(look.self)], look.snapshot.policy);
  const int64_t now_us = ledger_.now_monotonic_us();
  bool waits = false;
  for (size_t i = 0; i < look.snapshot.parties.size(); ++i) {
    const Party& p = look.snapshot.parties[i];
    if (!p.out || p.state != PartyState::waiting || look.dead[i] || static_cast<int>(i) == look.self) continue;
    if (!(order_key(p, look.snapshot.policy) < own)) continue;
    if (!machine_->refusal(look.snapshot, look.dead, static_cast<int>(i), Stand::seat).empty()) continue;
    const auto known = courtesies_.find(p);
    if (known == courtesies_.end() || now_us > known->second + courtesy_again_us) {
      if (!ledger_.ring(p).answered) continue;
      courtesies_[p] = now_us + courtesy_us;
    }
    const int64_t until_us = courtesies_[p];
    if (now_us >= until_us) continue;
    waits = true;
    look.look_again_us = look.look_again_us < 0 ? until_us : std::min(look.look_again_us, until_us);
  }
  return waits;
}

}  // namespace berth
