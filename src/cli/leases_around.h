// The leases that this process is inside of, and which of them serves what of a claim made there.
//
// A lease around us holds its place at least until we are done, so whatever we would have to wait for
// until *it* ends never comes. So what each of them has, less what those inside of it hold that are
// around us as well, is all that it can ever give us; the rest is asked for at the top, as a second lease.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/claim.h"
#include "core/snapshot.h"
#include "ledger/local_pool.h"

namespace berth {

// A lease around us: proved by its token.
struct LeaseAround {
  PartyId id;
  std::optional<PartyId> parent;  // it is itself served out of that one
  std::vector<NamedAmount> counters;
  GpuClaim gpu;
  std::vector<DeviceRef> devices;  // granted, as its own claim names them
  std::string label;
  std::vector<ProcessorSpan> processors = {};  // its own ones
};

struct LeasesAround {
  std::vector<LeaseAround> leases;  // innermost first
  std::string tokens;               // those of BERTH_LEASE that proved true, as they stood there
};

// By BERTH_LEASE. What does not prove true - a stale one of a tmux server, an id copied from status, another
// uid's - is as if it were not there.
[[nodiscard]] LeasesAround leases_around(LocalPool& pool);

// The processors of the innermost of these that has some of its own.
[[nodiscard]] ProcessorSet processors_of(const std::vector<LeaseAround>& around);

// A part of a claim and the lease that serves it; none: the pool.
struct ClaimPart {
  Claim claim;
  std::optional<PartyId> parent;
  bool on_own_memory = false;  // compute alone, on cards whose memory a lease around us has
};

// Who serves what, in the order in which it is to be taken. `claim.eligible`: the devices that it may use. Pure.
[[nodiscard]] std::vector<ClaimPart> split_claim(const Claim& claim, const std::vector<LeaseAround>& around);

// The innermost lease that has a card; null: none has.
[[nodiscard]] const LeaseAround* resident_of(const std::vector<LeaseAround>& around);
// All the compute of every card of a lease, as a claim for split_claim(). Pure.
[[nodiscard]] Claim turn_claim(const LeaseAround& resident);

}  // namespace berth
