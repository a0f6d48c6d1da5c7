// The picture that status and top show: the pool as it is now, or would be where nobody has made it yet.
#pragma once

#include "base/result.h"
#include "cli/view.h"

namespace berth {

// Asks the drivers, for three seconds at most: one that hangs is one more thing to report, and no reason to be
// silent about all else. Errors: `usage` for a BERTH_SIM_GPUS that cannot be read, or those of the pool.
[[nodiscard]] Result<PoolView> look_at_pool();

}  // namespace berth
