// The exit statuses of berth, one place for all verbs. A contract: berth(1) lists them.
#pragma once

#include "base/result.h"

namespace berth::exit_status {

inline constexpr int ok = 0;
inline constexpr int no_such_lease = 1;
inline constexpr int usage = 2;
inline constexpr int impossible = 3;
inline constexpr int probe = 4;
inline constexpr int busy = 75;
inline constexpr int lost = 76;
inline constexpr int not_yours = 77;
inline constexpr int timed_out = 124;
inline constexpr int unavailable = 125;

[[nodiscard]] inline int of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage: return usage;
    case ErrorKind::impossible: return impossible;
    case ErrorKind::probe: return probe;
    case ErrorKind::not_yours: return not_yours;
    case ErrorKind::not_found: return no_such_lease;
    case ErrorKind::unavailable: return unavailable;
    case ErrorKind::lost: return lost;
  }
  return unavailable;
}

}  // namespace berth::exit_status
