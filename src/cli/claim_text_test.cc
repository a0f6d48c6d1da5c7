#include "cli/claim_text.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

constexpr int64_t gibibyte = int64_t{1} << 30;

TEST(ClaimText, HasWhatWasGivenBesideEachThing) {
  const Claim gpu{{}, {1, true, 0, 0}, {}};
  const Claim all{{{"cpu", 2}, {"license", 1}, {"ram", 4 * gibibyte}}, {2, false, 8 * gibibyte, 0}, {}};
  EXPECT_EQ(claim_text(gpu, {}), "1 GPU");
  EXPECT_EQ(claim_text(gpu, {"0", "", ""}), "1 GPU (GPU 0)");
  EXPECT_EQ(claim_text(all, {}), describe(all));
  EXPECT_EQ(claim_text(all, {"0,1", "0-1", "booked only"}),
            "8 GiB on 2 GPUs (GPU 0,1), 2 cpu (cpu 0-1), 1 license, 4 GiB ram (booked only)");
  EXPECT_EQ(claim_text({{{"ram", gibibyte}}, {}, {}}, {"", "", "watched"}), "1 GiB ram (watched)");
}

}  // namespace
}  // namespace berth
