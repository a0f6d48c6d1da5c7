// What this machine has, as its kernel says, before anybody has said anything else.
#pragma once

#include "ledger/pool_config.h"

namespace berth {

// What a pool is given by its first party: the machine's own figures (online processors, MemTotal), not
// this process's share of them.
[[nodiscard]] PoolConfig machine_figures();

}  // namespace berth
