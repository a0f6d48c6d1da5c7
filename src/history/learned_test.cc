#include "history/learned.h"

#include <gtest/gtest.h>

#include <vector>

namespace berth {
namespace {

constexpr int64_t second_us = 1'000'000;

TEST(Learned, NothingFromOneOrTwo) {
  const std::vector<int64_t> two{5 * second_us, 6 * second_us};
  EXPECT_EQ(estimate_s({}), std::nullopt);
  EXPECT_EQ(estimate_s(std::span(two).first(1)), std::nullopt);
  EXPECT_EQ(estimate_s(two), std::nullopt);
}

TEST(Learned, IsTheThirdQuartileWhateverTheOrder) {
  std::vector<int64_t> durations;
  for (int i = 20; i > 0; --i) durations.push_back(i * second_us);
  EXPECT_EQ(estimate_s(durations), 15);
  const std::vector<int64_t> three{9 * second_us, 1 * second_us, 2 * second_us};
  EXPECT_EQ(estimate_s(three), 9);
  const std::vector<int64_t> four{900 * second_us, 1 * second_us, 2 * second_us, 3 * second_us};
  EXPECT_EQ(estimate_s(four), 3) << "one that went astray does not count";
}

TEST(Learned, IsNeverLessThanASecond) {
  const std::vector<int64_t> quick{1, 2, 3};
  EXPECT_EQ(estimate_s(quick), 1);
  const std::vector<int64_t> more{1, 2, second_us + 1};
  EXPECT_EQ(estimate_s(more), 2) << "rounded up";
}

TEST(Learned, OnlyFromWhatRanAndEndedWell) {
  Job job;
  job.verb = "run";
  job.how = How::exited;
  job.status = 0;
  job.seated_us = 1;
  job.ended_us = 2;
  EXPECT_TRUE(teaches_duration(job));
  const auto but = [&](auto change) {
    Job other = job;
    change(other);
    return teaches_duration(other);
  };
  EXPECT_FALSE(but([](Job& j) { j.status = 1; }));
  EXPECT_FALSE(but([](Job& j) { j.how = How::limit; }));
  EXPECT_FALSE(but([](Job& j) { j.how = How::released; }));
  EXPECT_FALSE(but([](Job& j) { j.verb = "hold"; }));
  EXPECT_FALSE(but([](Job& j) { j.seated_us = 0; }));
  EXPECT_FALSE(but([](Job& j) { j.stays = true; }));
  EXPECT_FALSE(but([](Job& j) { j.ended_us = 0; }));
}

TEST(Learned, LessonsSurviveTheirText) {
  const std::vector<Lesson> lessons{{true, 0, 1}, {false, ~uint64_t{0}, 86'400}, {true, 12345, 7}};
  EXPECT_EQ(decode_lessons(encode_lessons(lessons)), lessons);
}

TEST(Learned, AnyTextIsTaken) {
  for (const char* text : {"", "\n\n", "l", "l  ", "l x 5", "l 1 0", "l 1 -5", "l 1 99999999999999999999", "q 1 5",
                           "l 11112222333344445 5", "l1 5 ", "l 1"})
    EXPECT_TRUE(decode_lessons(text).empty()) << text;
  EXPECT_EQ(decode_lessons("nonsense\nl 1 5\nl 2").size(), 1U);
}

TEST(Learned, TheNewReplacesAndTheOldestGo) {
  const std::vector<Lesson> old{{true, 1, 5}, {false, 1, 6}, {true, 2, 7}};
  const std::vector<Lesson> fresh{{true, 1, 50}};
  EXPECT_EQ(merge_lessons(old, fresh), (std::vector<Lesson>{{false, 1, 6}, {true, 2, 7}, {true, 1, 50}}));
  std::vector<Lesson> many;
  for (size_t i = 0; i < max_learned; ++i) many.push_back({true, i, 1});
  const auto merged = merge_lessons(many, std::vector<Lesson>{{false, 0, 9}});
  EXPECT_EQ(merged.size(), max_learned);
  EXPECT_EQ(merged.front().key, 1U);
  EXPECT_EQ(merged.back().expect_s, 9);
}

}  // namespace
}  // namespace berth
