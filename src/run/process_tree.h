// The processes of the tree below this one: what a command started, and what came back to us from it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <vector>

namespace berth {

// The living processes of the tree below this one, but for those of ours that `is_ours` knows. Empty also
// where the kernel does not say (CONFIG_PROC_CHILDREN).
[[nodiscard]] std::vector<pid_t> left_running(const std::function<bool(pid_t)>& is_ours);

}  // namespace berth
