// reclaims(): which holders are to give way, and for whom. Pure, as plan() is: who asks writes nothing down.
//
// A holder may be asked (Way::reclaimable) by a waiter of strictly higher stated priority; how long
// somebody has waited plays no part, or equals would turn each other out for ever. Everybody computes the
// same from the same pool: who changes it rings those concerned, and whoever is rung finds for itself
// whether it is meant. So a request cannot outlive its reason, and nobody has to take it back.
//
// Down the line, for each waiter that has to wait: the fewest holders whose going would seat it, counting
// as gone already whoever was asked for one before it. Who is about it already (Way::yielding) costs
// nothing more, so the choice stays what it was; then go those that heeded who asked them last; then the lowest
// priority, then who sat down last, for it has least to lose. Where one that did not (Way::doubtful) is needed beside
// others, it is asked first and they when it is gone: else they might give way in vain. At the end everybody without whom all the same waiters would be seated
// is let off. Nobody is asked in vain, and none of those asked is one too many; the choice is of the fewest
// where three of the twelve cheapest suffice, else it is good and not always best: see the .cc.
#pragma once

#include <cstdint>
#include <vector>

#include "core/snapshot.h"

namespace berth {

struct Reclaim {
  static constexpr int by_hand = -1;
  int holder = 0;        // index into parties
  int waiter = by_hand;  // for whom
  friend bool operator==(const Reclaim&, const Reclaim&) = default;
};

// `absent` as for plan(). `deaf`, by index: holders that are known not to hear; they are not asked, but hold.
// By hand first, then in the order of the line.
[[nodiscard]] std::vector<Reclaim> reclaims(const Snapshot& snapshot, const std::vector<bool>& absent = {},
                                            const std::vector<bool>& deaf = {});

// What is to be added to the debt of parties[self], a holder, for it to stand behind those for whom somebody is
// asked once it waits: those of higher priority than its own, or all where it was asked by hand. A place in line
// that goes before them all, by age, would give it back at once what it has just given away.
[[nodiscard]] int64_t debt_behind(const Snapshot& snapshot, int self, const std::vector<Reclaim>& asked);

}  // namespace berth
