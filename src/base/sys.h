// The one place where EINTR is handled, and the clocks.
#pragma once

#include <cerrno>
#include <cstdint>

namespace berth {

// Calls `call` until it does not fail with EINTR; bounded, so that an injected endless EINTR is
// an error and not a hang.
template <class Call>
auto retry_eintr(Call call) {
  auto result = call();
  for (int tries = 0; result == -1 && errno == EINTR && tries < 100; ++tries) result = call();
  return result;
}

// Microseconds since the epoch. Shown to people and used as an arrival; no decision waits on it.
[[nodiscard]] int64_t wall_us();

// Microseconds on a clock that nobody can set. For time-outs.
[[nodiscard]] int64_t monotonic_us();

// Sleeps for so long, or until a signal comes.
void sleep_us(int64_t us);

}  // namespace berth
