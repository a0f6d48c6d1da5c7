// How the verbs get at the pool.
#pragma once

#include "base/result.h"
#include "ledger/local_pool.h"
#include "ledger/machine.h"

namespace berth {

// The pool of $BERTH_POOL or the default. Its path() is absolute.
[[nodiscard]] Result<LocalPool> open_pool(LocalPool::IfMissing if_missing);

// The processors this process may use; a claim for more can never be met by it.
[[nodiscard]] int64_t own_cpus();

}  // namespace berth
