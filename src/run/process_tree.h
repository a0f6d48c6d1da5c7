// The processes of the tree below this one: what a command started, and what came back to us from it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <vector>

namespace berth {

// The living processes of the tree below this one, but for those of ours that `is_ours` knows. Empty also
// where the kernel does not say (CONFIG_PROC_CHILDREN).
[[nodiscard]] std::vector<pid_t> left_running(const std::function<bool(pid_t)>& is_ours);

// A process and all below it, itself first: what came to others from there is not among them.
[[nodiscard]] std::vector<pid_t> tree_of(pid_t root);

}  // namespace berth
