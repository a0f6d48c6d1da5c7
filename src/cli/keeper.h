// The keeper: a process of its own that keeps a place for as long as some other process lives.
//
// It leaves the caller's session and closes every descriptor of the caller's, so that a `$(...)` does not
// wait for it, and sleeps on a pidfd.
#pragma once

#include <sys/types.h>

#include "cli/place.h"

namespace berth {

// Forks the keeper of a taken place and waits until it stands; its pid, or -1. It ends with the process
// behind `pid_fd`, after --ttl, on SIGTERM, or when the place was released. From then on the place is
// its own: the caller must end without releasing it.
[[nodiscard]] pid_t start_keeper(Place& place, int pid_fd);

}  // namespace berth
