#include "base/process_stat.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace berth {
namespace {

const std::string fields = " 17 4242 4242 0 -1 4194564 1 2 3 4 5 6 7 8 20 0 3 0 987654 1000 20";

TEST(ProcessStat, IsReadWhateverTheNameHolds) {
  for (const std::string name : {"python", "", "a b", "x) Z 1 (y", "(("}) {
    const auto stat = parse_process_stat("4243 (" + name + ") S" + fields);
    ASSERT_TRUE(stat.has_value()) << name;
    EXPECT_EQ(stat->name, name);
    EXPECT_EQ(stat->state, 'S');
    EXPECT_EQ(stat->parent, 17);
    EXPECT_EQ(stat->flags, 4194564U);
    EXPECT_EQ(stat->threads, 3);
    EXPECT_EQ(stat->start_ticks, 987654);
  }
}

TEST(ProcessStat, AZombieWithThreadsRunsOn) {
  const auto runs = [](const std::string& state, const std::string& threads) {
    return parse_process_stat("1 (x) " + state + " 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 " + threads + " 0 5")->runs();
  };
  EXPECT_TRUE(runs("S", "1"));
  EXPECT_TRUE(runs("Z", "2"));
  EXPECT_FALSE(runs("Z", "1"));
  EXPECT_FALSE(runs("X", "1"));
}

TEST(ProcessStat, WhatIsCutShortIsNone) {
  EXPECT_FALSE(parse_process_stat("").has_value());
  EXPECT_FALSE(parse_process_stat("1 (x) S 0").has_value());
  EXPECT_FALSE(parse_process_stat(")(" + fields).has_value());
}

RC_GTEST_PROP(ProcessStat, AnythingAtAllIsReadWithoutHarm, (const std::string& text)) {
  (void)parse_process_stat(text);
  (void)parse_process_stat("1 (" + text + fields);
}

}  // namespace
}  // namespace berth
