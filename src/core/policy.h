// Policy: what a pool's owner wants of the order and the shares in it. A plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

// What all the leases of one user may have together. Counted at the top alone: who is inside of a lease
// uses what that one has.
struct Quota {
  std::string name;  // of a counter, or "gpus": devices, a share of one counting as one
  int64_t most = 0;
  friend bool operator==(const Quota&, const Quota&) = default;
};

struct Policy {
  int64_t age_s = 3600;  // one point of priority outweighs this much waiting
  int max_priority = 10;
  std::vector<Quota> quotas{};  // no name twice
  // Among equal priorities, who had less lately goes first; see sched/fair_share.h.
  bool fair_share = false;
  int64_t half_life_s = 86'400;  // of what a user had
  int64_t max_debt_s = 0;        // how far back in line that can put him; 0: as far as a point of priority
};

inline constexpr size_t max_quotas = 16;
inline constexpr int64_t longest_policy_s = int64_t{366} * 86'400;

// "policy.max.NAME_per_user", and the NAME in such a word; nullopt for any other.
[[nodiscard]] std::string quota_word(std::string_view name);
[[nodiscard]] std::optional<std::string_view> quota_name(std::string_view word);

}  // namespace berth
