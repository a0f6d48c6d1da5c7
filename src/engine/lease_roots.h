// Where a pool says that the processes of its leases are to be looked for.
#pragma once

#include <vector>

#include "engine/machine_memory.h"
#include "engine/occupancy.h"
#include "ledger/local_pool.h"
#include "ledger/record.h"

namespace berth {

[[nodiscard]] LeaseRoot lease_root(const Snapshot& snapshot, const Party& party, const PartyInfo& info, uid_t uid);

// Of everybody who holds something, from a fresh look without the lock. Empty where the pool cannot be
// read: then nobody's memory is told apart, and counts as used.
[[nodiscard]] std::vector<LeaseRoot> lease_roots(LocalPool& pool);

// The same of those who claimed ram, with how much.
[[nodiscard]] std::vector<RamLease> ram_leases(LocalPool& pool);

}  // namespace berth
