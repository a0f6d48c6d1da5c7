// plan(): who may sit down now. The heart, and pure: no clock, no I/O, no randomness.
//
// Every party computes this from the same directory and gets the same answer, and seats only
// itself: that is why nobody can barge and nobody has to be in charge.
//
// The rule, in one walk down the line: a waiter that fits in what is left is entitled to a seat
// and takes it out of what is left. One that does not fit keeps what it has in hand set aside -
// every counter it could have now, every device with room for it - and what it is short of is
// closed to all behind it. So a later claim passes an earlier one exactly where it takes nothing
// that the earlier one waits for or will need when its turn comes: it cannot delay it.
//
// A card's memory and compute are two things there as well. And who asks from inside of a lease stands before
// those who cannot have theirs until that lease ends (precedence.h).
//
// Where jobs say how long they take (and Snapshot::now_us says when now is), the same walk goes over
// time. A waiter that does not fit now has its turn at the first moment when all that it wants is there,
// but not before the turn of anybody ahead who wants some of the same: strict order per contested
// resource. What it will need is kept for it from then on, not from now on, so one behind it may sit down
// if it is gone by then. Since after a turn those ahead only leave, no turn ever moves to a later time,
// whoever ends early or gives up. Nothing is built on an end that nobody knows (timeline.h); how
// this was chosen, and what it promises, is docs/adr/0006.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/snapshot.h"

namespace berth {

enum class Verdict : uint8_t {
  none,        // not in line: a holder, stepped aside, or counted as absent
  seat,        // entitled: may sit down now
  wait,        // not yet
  impossible,  // never on this pool as it is; closes nothing to those behind it
};

// How far a plan goes: to the last who could sit down now, or to everybody's expected start.
enum class Extent : uint8_t { seats, everybody };

struct Plan {
  std::vector<Verdict> verdicts;                             // by party index
  std::vector<int> line;                                     // party indices in order: all with a verdict but none
  std::vector<std::pair<int, std::vector<uint16_t>>> seats;  // party index and devices, for a GPU seat
  bool timed = false;          // somebody said how long it takes, so that the plan depends on the time
  std::vector<int> held_back;  // who wait though what they want is free: for these alone time can do something
  int64_t look_again_us = -1;  // until then, with nobody coming or going, they stay so; -1: for ever
  // Extent::everybody: by party index, when it will be seated if all ends come as expected; -1: unknown.
  std::vector<int64_t> starts_us;
  // By party index, of those that wait: the quota that its user's other leases use up, an index into
  // Policy::quotas; -1: none. Empty where the pool has no quotas. See quota.h.
  std::vector<int> over_quota;

  [[nodiscard]] Verdict verdict_of(int party) const { return verdicts[static_cast<size_t>(party)]; }
  [[nodiscard]] bool is_over_quota(int party) const {
    return !over_quota.empty() && over_quota[static_cast<size_t>(party)] >= 0;
  }
  // The devices of a party whose verdict is seat; empty where it asks for none.
  [[nodiscard]] const std::vector<uint16_t>& seat_of(int party) const;
};

// True if this device, empty, would have room for the party. One that never has is not waited for.
[[nodiscard]] inline bool could_ever_hold(const Party& party, const Eligible& device) {
  return party.gpu.whole || party.gpu.vram_bytes <= device.vram_bytes;
}

// Visits the devices that a party has, or that it may come to have.
template <class Visit>
void each_device(const Snapshot& snapshot, const Party& party, const Visit& visit) {
  if (party.state == PartyState::held) {
    for (const uint16_t d : snapshot.granted(party)) visit(d);
    return;
  }
  for (const Eligible& e : snapshot.eligible(party))
    if (could_ever_hold(party, e)) visit(e.device);
}

// What keeps a claim from ever fitting.
struct Shortfall {
  std::string what;   // "cpu", "ram", "gpu", "vram", ...; the word of a quota
  int64_t asked = 0;  // bytes for ram and vram
  int64_t there = 0;
};

// `absent` marks parties (by index) to plan without: a waiter that left its bell unanswered, a
// party known to be dead. Empty means none. Time: O(parties x (counters + eligible devices)).
[[nodiscard]] Plan plan(const Snapshot& snapshot, const std::vector<bool>& absent = {}, Extent extent = Extent::seats);

// Empty when the claim of parties[party] could be met by an empty pool.
[[nodiscard]] std::vector<Shortfall> shortfalls(const Snapshot& snapshot, int index);

}  // namespace berth
