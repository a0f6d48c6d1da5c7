// Whether we are in a container, and whether the pool is shared with its host.
#pragma once

#include <string>

#include "base/result.h"

namespace berth {

// As far as can be told from inside: a PID namespace of its own, or a container's mark and a mount
// namespace that is not pid 1's.
[[nodiscard]] bool in_container();

// True if the directory is a mount of its own, as `-v /run/berth:/run/berth` makes it.
[[nodiscard]] bool is_mount_point(const std::string& path);

// Refuses a GPU claim in a container whose pool nobody outside sees: the cards are the host's.
// A pool that was named (BERTH_POOL) is taken to be meant.
[[nodiscard]] Result<> check_pool_is_shared(const std::string& pool_path);

}  // namespace berth
