// Admission: what the driver has to say to a seat that the plan would give.
//
// The pool is a book; a card can be in use by somebody who is not in it. So before a party sits down on
// a device its driver is asked, never under the lock, and an answer that is old counts for nothing. Where
// the plan says yes and the driver says no, the party publishes a veto for that device, so that everybody
// plans as if it had not asked for it, and looks again from time to time: the one thing in berth that polls.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/snapshot.h"

namespace berth {

class Admission {
 public:
  virtual ~Admission() = default;

  // Starts asking, unless that is under way. Never blocks.
  virtual void ask() = 0;
  // While a question is open: readable when there is something to take in; else -1. And when the driver
  // has had its time, on monotonic_us()'s clock; else -1.
  [[nodiscard]] virtual int fd() const = 0;
  [[nodiscard]] virtual int64_t due_us() const = 0;
  // Takes in what has come. True: the question is closed, with an answer or without.
  virtual bool take_in() = 0;
  // Asks, and waits until that question is closed.
  virtual void ask_and_wait() = 0;

  // When the last question that was answered began, and when the answer was there; -1: none was. A
  // driver that failed or had its time answers all the same: it refuses everything.
  [[nodiscard]] virtual int64_t begun_us() const = 0;
  [[nodiscard]] virtual int64_t taken_us() const = 0;

  // Why parties[self] may not be on that device as the driver last saw it; "" where it may. Pure.
  // `seated`: the plan would seat it there now, beside those who hold some of it. Otherwise the question
  // is whether it could be there if no lease stood in its way.
  // `dead`, by index: who holds nothing any more, though his record stands.
  [[nodiscard]] virtual std::string refusal(const Snapshot& snapshot, const std::vector<bool>& dead, int self,
                                            const Eligible& device, bool seated) const = 0;
};

}  // namespace berth
