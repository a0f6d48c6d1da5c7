// Who asks from inside of a lease may stand before those who cannot have theirs until that lease ends. Pure.
//
// A lease does not end before what is asked for inside of it is had and done (Party::with). So whoever ahead
// waits for what that lease holds waits for this one too, wherever it stands in line; and if it stood behind,
// both would wait for ever: ten models on a card whose turns stand behind a job that wants the whole card.
// It passes those alone, and only where it takes nothing that they could have before the lease ends.
#pragma once

#include <functional>
#include <vector>

#include "core/snapshot.h"

namespace berth {

// `line`: indices of waiters, in order. Moves those who may pass; the others keep their order among themselves.
// Who takes nothing just now (over quota, never to be met) is in nobody's way, and stays where it is.
void let_pass(const Snapshot& snapshot, const std::vector<bool>& absent, const std::function<bool(int)>& takes_nothing,
              std::vector<int>& line);

// Whether parties[self], which asks from inside of a lease, would pass a waiter ahead if nobody stood between them:
// that one may go on waiting, and self be seated all the same, once who stands between is gone. Empty for whoever
// is inside of none. `snapshot` must outlive it.
[[nodiscard]] std::function<bool(int ahead)> passing(const Snapshot& snapshot, int self);

}  // namespace berth
