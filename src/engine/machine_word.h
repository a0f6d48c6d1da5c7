// MachineWord: what the machine itself has to say to a seat that the plan would give.
//
// The book counts what was claimed; a machine can be full of what nobody claimed, and thrash. So who claims
// memory or processors reads the machine's own figures before it takes the lock. Where they say no it is "out"
// (Party::out): it keeps its arrival, everybody plans as if it were not there, and it looks again by itself.
#pragma once

#include <string>
#include <vector>

#include "core/snapshot.h"

namespace berth {

class MachineWord {
 public:
  enum class Stand {
    in_line,  // could it come in if no lease stood in its way?
    out,      // the same, and whether what keeps everybody out is over
    seat,     // the plan would seat it now, beside those who hold something
  };

  virtual ~MachineWord() = default;

  // Reads the figures afresh. Called without the lock, before every look at the pool.
  virtual void look() = 0;
  // Why parties[index] may not come in, by the figures of the last look; "" where it may, or where they say
  // nothing of such a claim. Pure.
  // `dead`, by index: who holds nothing any more, though his record stands.
  [[nodiscard]] virtual std::string refusal(const Snapshot& snapshot, const std::vector<bool>& dead, int index,
                                            Stand stand) const = 0;
};

}  // namespace berth
