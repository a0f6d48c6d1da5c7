// How a command begins: what its process does before exec, in a child or in this process itself.
//
// The child shares our memory until it execs (vfork), which costs nothing however large we are. Only where there is
// something to prepare that takes memory of its own it is a copy (fork), and then it tells us by a page that both see.
#pragma once

#include <sys/types.h>

#include "run/signals_at_start.h"
#include "run/supervisor.h"

namespace berth {

// Comes back when the child has execed, or has failed to: then `failed` is its errno, and it is to be waited for. -1,
// with errno: there is no process left.
[[nodiscard]] pid_t start_command(const Command& command, const Signals& signals, SignalsAtStart& at_start,
                                  volatile int& failed);

// In this process. Comes back only where that fails, with the errno.
[[nodiscard]] int become_command(const Command& command, const Signals& signals);

}  // namespace berth
