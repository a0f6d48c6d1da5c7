// The leases that this process is inside of, and which of them serves what of a claim made there.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/claim.h"
#include "core/snapshot.h"
#include "ledger/local_pool.h"

namespace berth {

// A lease around us: proved by its token.
struct LeaseAround {
  PartyId id;
  std::vector<NamedAmount> counters;
  std::vector<DeviceRef> devices;  // granted, with what it may use of each
};

struct LeasesAround {
  std::vector<LeaseAround> leases;  // innermost first
  std::string tokens;               // those of BERTH_LEASE that proved true, as they stood there
};

// By BERTH_LEASE. What does not prove true - a stale one of a tmux server, an id copied from status, another
// uid's - is as if it were not there.
[[nodiscard]] LeasesAround leases_around(LocalPool& pool);

// A part of a claim and the lease that serves it; none: the pool.
struct ClaimPart {
  Claim claim;
  std::optional<PartyId> parent;
};

// Who serves what, in the order in which it is to be taken. `claim.eligible`: the devices that it may use. Pure.
[[nodiscard]] std::vector<ClaimPart> split_claim(const Claim& claim, const std::vector<LeaseAround>& around);

}  // namespace berth
