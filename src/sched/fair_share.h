// Fair share: how far back in line what its user had lately puts a newcomer.
//
// The order of the line stays a static key (core/snapshot.h): whoever enters works out once what its user
// has had of the things that it wants, and writes the answer into its record as a debt, microseconds that
// count as if it had come that much later. A debt is never more than the policy's most, so a wait is
// bounded by (most + (highest - own priority) x age) as it was by the priorities alone.
//
// What a user has had is measured in microseconds of all there is of a thing: of a counter's capacity, of
// the cards. It is the sum of
//   - his account: of each thing what his ended leases had, halved every half-life;
//   - his leases that hold: what they had, or what they will have had by their own word if that is more;
//   - his own that wait at the same priority or a higher one: what they will have by their own word. So
//     who queues a hundred jobs takes turns with one who queues one.
// Who does not say how long he takes counts as one that takes ten minutes. Of several things that a newcomer
// wants, the one of which his user had most counts.
//
// The debt grows with the logarithm, a fixed step for every doubling: seconds make a difference among those who had
// seconds, and days among those who had days, with one cap for both.
//
// Pure. Who keeps the account, and where: ledger/ledger.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/snapshot.h"

namespace berth {

// What one user's ended leases had, as of `at_us`. A thing is a counter's name or "gpus".
struct UseAccount {
  struct Use {
    std::string name;
    int64_t us = 0;  // of all there is; of gpus, of one card
    friend bool operator==(const Use&, const Use&) = default;
  };
  int64_t at_us = 0;
  std::vector<Use> uses;  // no name twice
  friend bool operator==(const UseAccount&, const UseAccount&) = default;
};

// Its text, at most max_use_account bytes, and back; what cannot be read is an empty account.
inline constexpr size_t max_use_account = 4095;
[[nodiscard]] std::string encode_use_account(const UseAccount& account);
[[nodiscard]] UseAccount decode_use_account(std::string_view text);

// The account at `now_us`, halved for every half-life since, with what `lease` had in `had_us` added.
// `lease` is a party of the snapshot, whose capacities count.
[[nodiscard]] UseAccount charged(const UseAccount& account, const Snapshot& snapshot, const Party& lease,
                                 int64_t had_us, int64_t now_us);

// How long a lease that nobody saw end may be taken to have had its place.
[[nodiscard]] int64_t unseen_use_us(const Party& lease, int64_t now_us);

// The debt of parties[self], which comes now, at snapshot.now_us. 0 where the policy is not fair share.
[[nodiscard]] int64_t debt_us(const Snapshot& snapshot, int self, const UseAccount& account);

// The most that a debt can be.
[[nodiscard]] int64_t most_debt_us(const Policy& policy);

}  // namespace berth
