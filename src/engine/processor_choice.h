// ProcessorChoice: which processors a lease gets that is to have some of its own.
//
// How many are free the plan knows; which, only who sits down there, under the lock. It may use fewer than the
// machine has (taskset, a cgroup), and those may all be somebody's own already: then it is "out" (Party::out)
// until one of these leases ends.
#pragma once

#include <string>
#include <vector>

#include "core/processors.h"

namespace berth {

// Why somebody is out who may use none that is nobody's own.
inline constexpr const char* no_processors_left =
    "other leases have the processors that it may use for their own (--pin)";

class ProcessorChoice {
 public:
  virtual ~ProcessorChoice() = default;

  // `count` processors beside `taken`, near these devices, which are UUIDs; none where there are not as many.
  // Never blocks.
  [[nodiscard]] virtual ProcessorSet choose(int64_t count, const ProcessorSet& taken,
                                            const std::vector<std::string>& devices) const = 0;
};

}  // namespace berth
