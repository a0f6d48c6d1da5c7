// Hold-and-wait, said for people.
#pragma once

#include <string>
#include <vector>

#include "cli/view.h"
#include "sched/deadlock.h"

namespace berth {

// "A (alice) holds license and waits for gpu, which B (bob) holds, who waits for license". `snapshot` is what the
// cycle speaks of; its names are looked for in the view. Not empty.
[[nodiscard]] std::string cycle_text(const PoolView& view, const Snapshot& snapshot,
                                     const std::vector<CycleWait>& cycle);

// A sentence for each cycle that is there: formed by `berth set`, or by who does not look.
[[nodiscard]] std::vector<std::string> cycle_notes(const PoolView& view);

// ", who waits for license" where somebody inside of that holder asks the pool for more; else "".
[[nodiscard]] std::string waits_itself(const PoolView& view, int holder);

}  // namespace berth
