// From one claim of a holder to another: what it gives up, and what it asks for besides. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "core/claim.h"

namespace berth {

// What is to become of a claim; what is not said stays. Counters by name; 0 for what was not said.
struct ClaimWish {
  std::vector<NamedAmount> counters;
  int gpus = 0;
  int64_t vram_bytes = 0;
  int compute_pct = 0;
  int64_t ttl_us = 0;  // from now on; only for a lease that has an end
};

struct ClaimChange {
  Claim after;                 // with the eligible devices of the one before
  std::vector<uint16_t> kept;  // of the granted ordinals; those that go are the last ones
  Claim growth;                // what it needs besides, as a claim of its own; nothing: it only shrinks
  bool shrinks = false;        // somebody may come to fit
  [[nodiscard]] bool grows() const { return growth.gpu.count > 0 || !growth.counters.empty(); }
};

// `granted`: ordinals into before.eligible. Errors: usage, with what to do instead.
[[nodiscard]] Result<ClaimChange> change_claim(const Claim& before, const std::vector<uint16_t>& granted,
                                               const ClaimWish& wish);

}  // namespace berth
