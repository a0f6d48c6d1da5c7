#include "history/where.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

TEST(HistoryWhere, IsBelowTheStateHome) {
  EXPECT_EQ(history_where(nullptr, "/x", "/home/a")->dir, "/x/berth");
  EXPECT_EQ(history_where(nullptr, nullptr, "/home/a")->dir, "/home/a/.local/state/berth");
}

TEST(HistoryWhere, ARelativePathIsAsIfNotThere) {
  EXPECT_EQ(history_where(nullptr, "x", "/home/a")->dir, "/home/a/.local/state/berth");
  EXPECT_EQ(history_where(nullptr, "", "/home/a")->dir, "/home/a/.local/state/berth");
  EXPECT_EQ(history_where(nullptr, nullptr, "a"), std::nullopt);
  EXPECT_EQ(history_where(nullptr, nullptr, nullptr), std::nullopt);
}

TEST(HistoryWhere, OffIsNowhere) {
  EXPECT_EQ(history_where("off", "/x", "/home/a"), std::nullopt);
  EXPECT_NE(history_where("", "/x", "/home/a"), std::nullopt);
  EXPECT_NE(history_where("on", "/x", "/home/a"), std::nullopt);
}

}  // namespace
}  // namespace berth
