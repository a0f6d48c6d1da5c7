// A place that ends by the clock (hold --ttl): when that is, and the word before.
#pragma once

#include <cstdint>

#include "cli/own_terminal.h"
#include "cli/place.h"

namespace berth {

class Lapse {
 public:
  // The word before the end goes to `terminal`. Requires a taken place; both must outlive it.
  Lapse(Place& place, const OwnTerminal& terminal);

  // When act() is to be called, on monotonic_us()'s clock; -1: never.
  [[nodiscard]] int64_t due_us() const;
  // Looks when the place ends by now: its owner may have moved that (berth resize --ttl) and has rung.
  void look();
  // True: it is over. Says its word on the terminal when little is left.
  [[nodiscard]] bool act();

 private:
  void warn() const;

  Place& place_;
  const OwnTerminal& terminal_;
  int64_t end_us_ = -1;   // monotonic
  int64_t warn_us_ = -1;  // monotonic; -1: there is nobody to warn, or it is done
};

}  // namespace berth
