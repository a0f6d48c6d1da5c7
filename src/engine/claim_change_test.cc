#include "engine/claim_change.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

constexpr int64_t gib = int64_t{1} << 30;

Claim server() { return {{{"cpu", 4}, {"ram", 8 * gib}}, {1, false, 14 * gib, 0}, {{"A", 24 * gib}, {"B", 24 * gib}}}; }
Claim gang() { return {{}, {2, true, 0, 0}, {{"A", 24 * gib}, {"B", 24 * gib}, {"C", 24 * gib}}}; }

ClaimWish counters(std::vector<NamedAmount> amounts) { return {std::move(amounts), 0, 0, 0}; }

TEST(ClaimChange, WhatIsNotNamedStays) {
  const auto change = change_claim(server(), {1}, counters({{"cpu", 2}}));
  ASSERT_TRUE(change.ok());
  Claim wanted = server();
  wanted.counters[0].amount = 2;
  EXPECT_EQ(change->after, wanted);
  EXPECT_EQ(change->kept, std::vector<uint16_t>{1});
  EXPECT_TRUE(change->shrinks);
  EXPECT_FALSE(change->grows());
}

TEST(ClaimChange, GrowthIsTheDifferenceAlone) {
  const auto change = change_claim(server(), {1}, counters({{"cpu", 6}, {"ram", 4 * gib}, {"license", 1}}));
  ASSERT_TRUE(change.ok());
  EXPECT_TRUE(change->shrinks);
  EXPECT_EQ(change->growth.counters, (std::vector<NamedAmount>{{"cpu", 2}, {"license", 1}}));
  EXPECT_EQ(change->growth.gpu.count, 0);
}

TEST(ClaimChange, MoreOfACardIsOfTheOneItHas) {
  const auto change = change_claim(server(), {1}, {{}, 0, 20 * gib, 0});
  ASSERT_TRUE(change.ok());
  EXPECT_EQ(change->growth.gpu, (GpuClaim{1, false, 6 * gib, 0}));
  ASSERT_EQ(change->growth.eligible.size(), 1U);
  EXPECT_EQ(change->growth.eligible[0].uuid, "B");
  EXPECT_EQ(change->after.gpu, (GpuClaim{1, false, 20 * gib, 0}));
}

TEST(ClaimChange, AWholeCardMayBecomeAShare) {
  const auto change = change_claim(gang(), {2, 0}, {{}, 0, 8 * gib, 0});
  ASSERT_TRUE(change.ok());
  EXPECT_TRUE(change->shrinks);
  EXPECT_FALSE(change->grows());
  EXPECT_EQ(change->after.gpu, (GpuClaim{2, false, 8 * gib, 100}));
  EXPECT_EQ(change_claim(gang(), {2, 0}, {{}, 0, 0, 50})->after.gpu, (GpuClaim{2, false, 24 * gib, 50}));
  EXPECT_FALSE(change_claim(gang(), {2, 0}, {{}, 0, 25 * gib, 0}).ok()) << "more than the card has";
}

TEST(ClaimChange, OfFewerCardsTheLastOnesGo) {
  const auto change = change_claim(gang(), {2, 0}, {{}, 1, 0, 0});
  ASSERT_TRUE(change.ok());
  EXPECT_EQ(change->kept, std::vector<uint16_t>{2});
  EXPECT_TRUE(change->shrinks);
}

TEST(ClaimChange, MoreCardsAreOthers) {
  const auto change = change_claim(gang(), {2, 0}, {{}, 3, 0, 0});
  ASSERT_TRUE(change.ok());
  EXPECT_EQ(change->growth.gpu, (GpuClaim{1, true, 0, 0}));
  ASSERT_EQ(change->growth.eligible.size(), 1U);
  EXPECT_EQ(change->growth.eligible[0].uuid, "B");
}

TEST(ClaimChange, RefusesWhatCannotBe) {
  EXPECT_FALSE(change_claim(server(), {1}, {{}, 2, 4 * gib, 0}).ok()) << "two things at once";
  EXPECT_FALSE(change_claim({{{"cpu", 1}}, GpuClaim{}, {}}, {}, {{}, 1, 0, 0}).ok()) << "a first GPU";
  Claim full;
  for (size_t i = 0; i < max_claim_counters; ++i) full.counters.push_back({"r" + std::to_string(i), 1});
  EXPECT_FALSE(change_claim(full, {}, counters({{"one.more", 1}})).ok());
}

}  // namespace
}  // namespace berth
