// The pool's own entry, a symlink named "pool": "berth=1 cpu=2 ram=25263214592 policy.age=3600". Whoever
// runs `berth set` writes it anew; what a later version may have put in is skipped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/claim.h"
#include "core/policy.h"

namespace berth {

inline constexpr size_t max_pool_resources = 64;  // that a config gives capacities of

struct PoolConfig {
  std::vector<NamedAmount> capacities;  // amount 0 is allowed here
  Policy policy;
};
[[nodiscard]] std::string encode_config(const PoolConfig& config);
// False for anything that is not a config of version 1; `config` is then unchanged.
[[nodiscard]] bool decode_config(std::string_view text, PoolConfig& config);

}  // namespace berth
