#include "ledger/pool_config.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace berth {
namespace {

TEST(Config, SurvivesTheRoundTrip) {
  const PoolConfig config{{{"cpu", 2}, {"ram", 0}, {"license", 3}},
                          {.age_s = 60,
                           .max_priority = 5,
                           .quotas = {{"gpus", 2}, {"ram", 1}},
                           .fair_share = true,
                           .half_life_s = 7,
                           .max_debt_s = 9}};
  PoolConfig read;
  ASSERT_TRUE(decode_config(encode_config(config), read));
  EXPECT_EQ(read.capacities, config.capacities);
  EXPECT_EQ(read.policy.age_s, 60);
  EXPECT_EQ(read.policy.max_priority, 5);
  EXPECT_EQ(read.policy.quotas, config.policy.quotas);
  EXPECT_TRUE(read.policy.fair_share);
  EXPECT_EQ(read.policy.half_life_s, 7);
  EXPECT_EQ(read.policy.max_debt_s, 9);
}

TEST(Config, RefusesGarbageAndKeepsWhatItHad) {
  for (const char* bad : {"", "berth=2 cpu=1", "berth=1 cpu", "berth=1 cpu=1 cpu=2", "berth=1  cpu=1", "berth=1 gpu=1",
                          "berth=1 cpu=-1", "berth=1 policy.age=0", "berth=1 policy.max_priority=1000001",
                          "cpu=1 berth=1", "berth=1 policy.max.cpu_per_user=0", "berth=1 policy.half_life=0",
                          "berth=1 policy.max.cpu_per_user=1 policy.max.cpu_per_user=1"}) {
    PoolConfig read{{{"kept", 1}}, {}};
    EXPECT_FALSE(decode_config(bad, read)) << bad;
    EXPECT_EQ(read.capacities[0].name, "kept");
  }
  PoolConfig read;
  EXPECT_TRUE(decode_config("berth=1 cpu=2 policy.of_tomorrow=7", read));
}

RC_GTEST_PROP(Config, TakesAnyBytes, (const std::string& tail)) {
  PoolConfig config;
  (void)decode_config("berth=1 " + tail, config);
}

}  // namespace
}  // namespace berth
