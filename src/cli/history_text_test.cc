#include "cli/history_text.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "cli/table.h"
#include "history/gather.h"

namespace berth {
namespace {

constexpr int64_t second_us = 1'000'000;
constexpr int64_t now_us = 1'795'277'061 * second_us;  // 2026-11-21 16:04:21 UTC

Job job_of(How how, int status = 0, int signal = 0) {
  Job job;
  job.id = "abcdefgh23";
  job.how = how;
  job.status = status;
  job.signal = signal;
  job.label = "a label that is rather long";
  job.command = "python train.py --with --many --options --that --take --room";
  job.claim.gpu = {1, true, 0, 0};
  job.devices = {{"GPU-1", 0, 1}};
  job.arrival_us = now_us - 10 * second_us;
  job.seated_us = now_us - 8 * second_us;
  job.ended_us = now_us;
  return job;
}

class HistoryText : public testing::Test {
 protected:
  HistoryText() {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
  }
};

TEST_F(HistoryText, SaysEveryEndDifferently) {
  std::vector<std::string> seen;
  for (int i = 0; i <= static_cast<int>(How::unknown); ++i) {
    seen.push_back(end_text(job_of(static_cast<How>(i), 0, 15)));
    for (size_t j = 0; j + 1 < seen.size(); ++j) EXPECT_NE(seen[j], seen.back());
  }
  EXPECT_EQ(end_text(job_of(How::exited, 3)), "exit 3");
  EXPECT_EQ(end_text(job_of(How::signalled, 137, 9)), "signal 9 (KILL)");
}

TEST_F(HistoryText, FitsItsWindow) {
  const std::vector<Job> jobs{job_of(How::exited), job_of(How::cancelled, 143, 15)};
  for (size_t width = 40; width < 200; ++width) EXPECT_LE(longest_line(history_text(jobs, now_us, width)), width);
  EXPECT_NE(history_text(jobs, now_us, 0).find("--with"), std::string::npos);
  EXPECT_NE(history_text(jobs, now_us, 80).find("2.0 s   8.0 s"), std::string::npos) << history_text(jobs, now_us, 80);
}

TEST_F(HistoryText, AnEmptyHistoryIsASentenceAndAnEmptyList) {
  EXPECT_EQ(history_text({}, now_us, 80), "No job has ended yet, of those that were asked for.\n");
  EXPECT_NE(history_json({}, now_us).find("\"jobs\":[]"), std::string::npos);
}

TEST_F(HistoryText, ReadsTimes) {
  EXPECT_EQ(parse_since_us("90", now_us), now_us - 90 * second_us);
  EXPECT_EQ(parse_since_us("2h", now_us), now_us - 7200 * second_us);
  EXPECT_EQ(parse_since_us("@5", now_us), 5 * second_us);
  EXPECT_EQ(parse_since_us("2026-11-21", now_us), (now_us / second_us / 86'400) * 86'400 * second_us);
  EXPECT_EQ(parse_since_us("2026-11-21 16:04:21", now_us), now_us);
  EXPECT_EQ(parse_since_us("2026-11-21T16:04", now_us), now_us - 21 * second_us);
  for (const char* text : {"", "@", "@-1", "yesterday", "2026-11", "2026-13-01", "2026-11-21 25:00", "1000000d",
                           "2026-11-21x", "@99999999999999999999"})
    EXPECT_EQ(parse_since_us(text, now_us), std::nullopt) << text;
}

TEST_F(HistoryText, ADayThatIsNoneIsNoTime) { EXPECT_EQ(parse_since_us("2026-02-40", now_us), std::nullopt); }

TEST(HistoryGather, SortsAndTakesEachOnce) {
  Job a = job_of(How::exited);
  Job b = a;
  b.id = "bbbbbbbbbb";
  b.ended_us += 1;
  b.uid = 5;
  Job c = a;
  c.id = "cccccccccc";
  c.ended_us += 2;
  c.label = "other";
  const auto ids = [](const std::vector<Job>& jobs) {
    std::string out;
    for (const Job& job : jobs) out += job.id[0];
    return out;
  };
  EXPECT_EQ(ids(in_order({c, a, b, a, c}, {})), "abc");
  HistoryFilter last_two;
  last_two.limit = 2;
  EXPECT_EQ(ids(in_order({c, a, b}, last_two)), "bc");
  HistoryFilter by_label;
  by_label.label = "other";
  EXPECT_EQ(ids(in_order({c, a, b}, by_label)), "c");
  HistoryFilter by_user;
  by_user.uid = 5;
  EXPECT_EQ(ids(in_order({c, a, b}, by_user)), "b");
  HistoryFilter since;
  since.since_us = b.ended_us;
  EXPECT_EQ(ids(in_order({c, a, b}, since)), "bc");
}

}  // namespace
}  // namespace berth
