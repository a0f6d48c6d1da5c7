// Hold-and-wait: who can never be seated as things stand, and the cycle that a newcomer would close. Pure.
//
// A lease does not end while somebody still waits for a place from inside of it (Party::with, Party::parent).
// So two jobs that each hold what the other one wants inside would wait for ever, and everybody behind
// them. Found by letting everybody end who can: a holder with nobody inside of it ends; whoever plan() then
// seats, in the pool or in a lease, ends as well; and so on until nothing moves. Who is left is stuck.
//
// In doubt nobody is stuck. Who was stopped may come back, a driver may change its mind, an expected end
// comes: only who is left both with and without all that counts. Nor does a wait last that ends by itself
// (Way::gives_up), nor a reclaimable holder where somebody of higher priority may ask it to give way.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/snapshot.h"

namespace berth {

// Parties planned for, all rounds of a call together. Whoever asks for more is told that nobody is stuck.
inline constexpr int64_t work_under_lock = 100'000;
inline constexpr int64_t work_at_leisure = 3'000'000;

// By index: whether it is left. `all` has parties of every level; `absent`, by index, may be empty.
[[nodiscard]] std::vector<bool> stuck(const Snapshot& all, const std::vector<bool>& absent, int64_t most_work);

// One who waits in a cycle, and for whom.
struct CycleWait {
  int waiter = -1;
  int blocker = -1;   // holds it, or stands before the waiter in line
  std::string wants;  // "license", "gpu"
};

// The cycle that parties[self], who waits, closes: each wait's blocker ends only after the next one's waiter
// is seated, the last one's after self is. Empty: it closes none; it may wait for others that are stuck.
[[nodiscard]] std::vector<CycleWait> closed_cycle(const Snapshot& all, const std::vector<bool>& absent, int self,
                                                  int64_t most_work);

// Of those that are there, each once: no two of them have a waiter in common. For people.
[[nodiscard]] std::vector<std::vector<CycleWait>> cycles(const Snapshot& all, int64_t most_work);

}  // namespace berth
