// `berth run --turn` without a command: turns for a process that stays.
//
// A model server starts no process for an answer. It keeps this one beside it, on two pipes: "take" on our
// standard input takes the turn, "took" on our standard output says that it is had, "give" gives it back. The
// end of the input gives it back as well. Between two turns of two servers there is no process to start then.
#pragma once

#include "cli/place.h"

namespace berth {

// The exit status. Requires place.prepare().
[[nodiscard]] int serve_turns(Place& place, const PartyInfo& info);

}  // namespace berth
