#include "core/claim.h"

#include "base/text.h"

namespace berth {

bool valid_resource_name(std::string_view name) {
  if (name.empty() || name.size() > max_resource_name) return false;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool digit = c >= '0' && c <= '9';
    if (!letter && !digit && c != '_' && c != '.' && c != '-') return false;
  }
  if (name.starts_with("policy.")) return false;
  return name != "gpu" && name != "vram" && name != "compute" && name != "on" && name != "link" && name != "numa";
}

int64_t amount_of(const Claim& claim, std::string_view counter) {
  for (const NamedAmount& c : claim.counters)
    if (c.name == counter) return c.amount;
  return 0;
}

std::string describe_amount(const std::string& name, int64_t amount) {
  if (name == "ram") return show_size(amount) + " ram";
  return std::to_string(amount) + " " + name;
}

std::string describe(const Claim& claim) {
  std::string out;
  if (claim.gpu.count > 0) {
    out = std::to_string(claim.gpu.count) + (claim.gpu.count == 1 ? " GPU" : " GPUs");
    if (!claim.gpu.whole) {
      std::string share;
      if (claim.gpu.vram_bytes > 0) share = show_size(claim.gpu.vram_bytes);
      if (claim.gpu.compute_pct > 0)
        share += (share.empty() ? "" : " and ") + std::to_string(claim.gpu.compute_pct) + " % compute";
      out = share + " on " + out;
    }
  }
  for (const NamedAmount& c : claim.counters) out += (out.empty() ? "" : ", ") + describe_amount(c.name, c.amount);
  return out;
}

}  // namespace berth
