#include "ledger/pool_config.h"

#include <utility>

#include "base/fields.h"
#include "base/text.h"
#include "ledger/record.h"

namespace berth {

std::string encode_config(const PoolConfig& config) {
  std::string out = "berth=1";
  for (const NamedAmount& c : config.capacities) out += ' ' + c.name + '=' + std::to_string(c.amount);
  out += " policy.age=" + std::to_string(config.policy.age_s);
  out += " policy.max_priority=" + std::to_string(config.policy.max_priority);
  if (config.policy.fair_share) out += " policy.share=1";
  if (config.policy.half_life_s != Policy{}.half_life_s)
    out += " policy.half_life=" + std::to_string(config.policy.half_life_s);
  if (config.policy.max_debt_s != 0) out += " policy.max_debt=" + std::to_string(config.policy.max_debt_s);
  for (const Quota& q : config.policy.quotas) out += ' ' + quota_word(q.name) + '=' + std::to_string(q.most);
  return out;
}

bool decode_config(std::string_view text, PoolConfig& config) {
  if (text.size() > max_target_bytes) return false;
  PoolConfig read;
  Fields words(text, ' ');
  if (words.next() != std::string_view("berth=1")) return false;
  while (const auto word = words.next()) {
    const size_t equals = word->find('=');
    if (equals == std::string_view::npos) return false;
    const std::string key(word->substr(0, equals));
    const auto amount = parse_count(word->substr(equals + 1));
    if (!amount) return false;
    if (key == "policy.age") {
      if (*amount < 1 || *amount > int64_t{366} * 86400) return false;
      read.policy.age_s = *amount;
    } else if (key == "policy.max_priority") {
      if (*amount > max_priority_magnitude) return false;
      read.policy.max_priority = static_cast<int>(*amount);
    } else if (key == "policy.share") {
      read.policy.fair_share = *amount == 1;  // what a later version may mean by others is not ours to judge
    } else if (key == "policy.half_life" || key == "policy.max_debt") {
      if (*amount < 1 || *amount > longest_policy_s) return false;
      (key == "policy.half_life" ? read.policy.half_life_s : read.policy.max_debt_s) = *amount;
    } else if (const auto name = quota_name(key)) {
      if (*amount < 1 || read.policy.quotas.size() >= max_quotas) return false;
      for (const Quota& q : read.policy.quotas)
        if (q.name == *name) return false;
      read.policy.quotas.push_back({std::string(*name), *amount});
    } else if (key.starts_with("policy.")) {
      continue;  // a later version's policy: not ours to judge
    } else {
      if (!valid_resource_name(key) || read.capacities.size() >= max_pool_resources) return false;
      for (const NamedAmount& c : read.capacities)
        if (c.name == key) return false;
      read.capacities.push_back({key, *amount});
    }
  }
  config = std::move(read);
  return true;
}

}  // namespace berth
