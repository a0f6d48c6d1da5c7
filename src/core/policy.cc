#include "core/policy.h"

#include "core/claim.h"

namespace berth {

namespace {

constexpr std::string_view before = "policy.max.";
constexpr std::string_view behind = "_per_user";

}  // namespace

std::string quota_word(std::string_view name) { return std::string(before) + std::string(name) + std::string(behind); }

std::optional<std::string_view> quota_name(std::string_view word) {
  if (!word.starts_with(before) || !word.ends_with(behind) || word.size() <= before.size() + behind.size())
    return std::nullopt;
  const std::string_view name = word.substr(before.size(), word.size() - before.size() - behind.size());
  if (!valid_resource_name(name)) return std::nullopt;
  return name;
}

}  // namespace berth
