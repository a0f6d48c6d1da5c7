#include "cli/policy_settings.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "core/claim.h"

namespace berth {

namespace {

bool is_duration(std::string_view name) {
  return name == "policy.age" || name == "policy.half_life" || name == "policy.max_debt";
}

Error refuse(std::string message) { return Error{ErrorKind::usage, 0, std::move(message)}; }

Result<> set_quota(std::vector<Quota>& quotas, std::string_view name, int64_t most) {
  if (most < 1) return refuse(quota_word(name) + " must be at least 1; \"berth unset\" lifts it");
  const auto at = std::find_if(quotas.begin(), quotas.end(), [&](const Quota& q) { return q.name == name; });
  if (at != quotas.end()) return at->most = most, success();
  if (quotas.size() >= max_quotas)
    return refuse("a pool has at most " + std::to_string(max_quotas) + " limits per user");
  quotas.push_back({std::string(name), most});
  return success();
}

}  // namespace

bool is_policy_setting(std::string_view name) {
  return is_duration(name) || name == "policy.max_priority" || name == "policy.share" || quota_name(name);
}

Result<int64_t> parse_policy_value(std::string_view name, std::string_view value) {
  const std::string text(value);
  if (name == "policy.share") {
    if (value == "fair" || value == "fifo") return int64_t{value == "fair" ? 1 : 0};
    return refuse("policy.share is fair or fifo, not \"" + printable(text) + "\"");
  }
  std::optional<int64_t> amount;
  if (is_duration(name)) {
    amount = parse_duration_ms(text);
    if (amount) amount = *amount / 1000;
  } else if (quota_name(name) == "ram") {
    amount = parse_size_bytes(text);
  } else {
    amount = parse_count(text);
  }
  if (!amount) return refuse("\"" + printable(text) + "\" is not an amount of " + std::string(name));
  return *amount;
}

Result<> set_policy(Policy& policy, std::string_view name, int64_t value) {
  if (is_duration(name) && (value < 1 || value > longest_policy_s))
    return refuse(std::string(name) + " must be from 1s to 366d");
  if (name == "policy.max_priority" && value > max_priority_magnitude) return refuse("policy.max_priority is too high");
  if (name == "policy.age") policy.age_s = value;
  if (name == "policy.half_life") policy.half_life_s = value;
  if (name == "policy.max_debt") policy.max_debt_s = value;
  if (name == "policy.max_priority") policy.max_priority = static_cast<int>(value);
  if (name == "policy.share") policy.fair_share = value == 1;
  if (const auto quota = quota_name(name)) return set_quota(policy.quotas, *quota, value);
  return success();
}

void unset_policy(Policy& policy, std::string_view name) {
  const Policy usual;
  if (name == "policy.age") policy.age_s = usual.age_s;
  if (name == "policy.half_life") policy.half_life_s = usual.half_life_s;
  if (name == "policy.max_debt") policy.max_debt_s = usual.max_debt_s;
  if (name == "policy.max_priority") policy.max_priority = usual.max_priority;
  if (name == "policy.share") policy.fair_share = usual.fair_share;
  if (const auto quota = quota_name(name))
    std::erase_if(policy.quotas, [&](const Quota& q) { return q.name == *quota; });
}

}  // namespace berth
