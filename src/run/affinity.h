// Where processes may run: affinity masks, of this process, of a command that is about to start, of a tree.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <vector>

#include "core/processors.h"

namespace berth {

// What sched_setaffinity(2) takes: a mask of any length. Made beforehand, for a child that may not allocate.
class AffinityMask {
 public:
  AffinityMask() = default;
  explicit AffinityMask(const ProcessorSet& set);
  [[nodiscard]] bool empty() const { return words_.empty(); }
  // Of a thread; 0: the calling one. False with errno. Async-signal-safe.
  [[nodiscard]] bool apply(pid_t thread) const;

 private:
  std::vector<unsigned long> words_;
};

// Those that this thread may run on; none where the kernel does not say.
[[nodiscard]] ProcessorSet allowed_processors();

// A process and all below it, with every thread. What is born meanwhile is looked for again, a few times.
void confine_tree(pid_t root, const ProcessorSet& set);

}  // namespace berth
