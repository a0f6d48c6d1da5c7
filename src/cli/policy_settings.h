// The policy.* words of `berth set` and `berth unset`: what each may be, and putting it into a policy.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "core/policy.h"

namespace berth {

[[nodiscard]] bool is_policy_setting(std::string_view name);
// The value of one of them as a number: seconds, bytes, a count; of policy.share 1 for fair.
[[nodiscard]] Result<int64_t> parse_policy_value(std::string_view name, std::string_view value);
[[nodiscard]] Result<> set_policy(Policy& policy, std::string_view name, int64_t value);
// Back to its default. A word that is none of ours changes nothing.
void unset_policy(Policy& policy, std::string_view name);

}  // namespace berth
