// How the verbs get at the pool.
#pragma once

#include "base/result.h"
#include "ledger/local_pool.h"
#include "ledger/machine.h"

namespace berth {

// The pool of $BERTH_POOL or the default. Its path() is absolute.
[[nodiscard]] Result<LocalPool> open_pool(LocalPool::IfMissing if_missing);
// The same for who is after a lease: `not_found` where there is no pool.
[[nodiscard]] Result<LocalPool> open_pool_of_a_lease();

}  // namespace berth
