#include "cli/leases_around.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

LeaseAround lease(const char* id, std::vector<NamedAmount> counters, std::vector<DeviceRef> devices = {}) {
  return {*PartyId::parse(std::string(9, 'a') + id), std::move(counters), std::move(devices)};
}

// "a: 1 cpu; top: 1 license", in the order in which it is taken.
std::string parts(const Claim& claim, const std::vector<LeaseAround>& around) {
  std::string out;
  for (const ClaimPart& p : split_claim(claim, around)) {
    out += (out.empty() ? "" : "; ") + (p.parent ? std::string(p.parent->view().substr(9)) : "top") + ": " +
           describe(p.claim);
    for (const DeviceRef& d : p.claim.eligible) out += " " + d.uuid;
  }
  return out;
}

const std::vector<DeviceRef> two_cards{{"A", 24}, {"B", 24}};

TEST(SplitClaim, GoesToTheTopWhereNothingIsAround) {
  EXPECT_EQ(parts({{{"cpu", 2}}, {1, true, 0, 0}, two_cards}, {}), "top: 1 GPU, 2 cpu A B");
}

TEST(SplitClaim, EachThingGoesToTheInnermostThatHasEnough) {
  const std::vector<LeaseAround> around{lease("b", {{"cpu", 2}}), lease("c", {{"lic", 1}}, {{"A", 24}})};
  EXPECT_EQ(parts({{{"cpu", 2}, {"lic", 1}, {"x", 3}}, {1, true, 0, 0}, two_cards}, around),
            "top: 3 x; b: 2 cpu; c: 1 GPU, 1 lic A");
}

}  // namespace
}  // namespace berth
