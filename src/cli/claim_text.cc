#include "cli/claim_text.h"

namespace berth {

std::string claim_text(const Claim& claim, const GivenParts& given) {
  const auto aside = [](const std::string& text) { return " (" + text + ")"; };
  std::string out;
  if (claim.gpu.count > 0) out = describe(Claim{{}, claim.gpu, {}});
  if (!out.empty() && !given.gpus.empty()) out += aside("GPU " + given.gpus);
  for (const NamedAmount& c : claim.counters) {
    out += (out.empty() ? "" : ", ") + describe_amount(c.name, c.amount);
    if (c.name == "cpu" && !given.processors.empty()) out += aside("cpu " + given.processors);
    if (c.name == "ram" && !given.ram.empty()) out += aside(given.ram);
  }
  return out;
}

}  // namespace berth
