// What the letters of a holder's way mean together. Pure.
//
// `u` alone: it did not heed those that wait, and is not asked for as long as one of them does. `u` and `a`: it did
// not heed a hand. Nobody asks it for that any more; but a waiter may, to whom it has refused nothing.
#pragma once

#include "core/snapshot.h"

namespace berth {

[[nodiscard]] inline bool asked_by_hand(const Way& way) { return way.asked && !way.unheeded; }
[[nodiscard]] inline bool refuses(const Way& way) { return way.unheeded && !way.asked; }

}  // namespace berth
