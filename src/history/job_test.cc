#include "history/job.h"

#include <gtest/gtest.h>

#include <string>

namespace berth {
namespace {

Job full() {
  Job job;
  job.id = "abcdefgh23";
  job.uid = 1001;
  job.pid = 4242;
  job.verb = "run";
  job.label = "träin";
  job.command = "python train.py --lr '1'";
  job.pool = "/run/berth";
  job.parent = "zzzzzzzzzz";
  job.priority = -3;
  job.expect_s = 60;
  job.claim.gpu = {2, false, int64_t{8} << 30, 50};
  job.claim.counters = {{"cpu", 4}, {"ram", int64_t{1} << 30}};
  job.devices = {{"GPU-1", 0, int64_t{8} << 30}, {"GPU-2", 1, int64_t{8} << 30}};
  job.processors = "0-3,8";
  job.arrival_us = 1'700'000'000'000'000;
  job.seated_us = 1'700'000'001'000'000;
  job.ended_us = 1'700'000'002'000'000;
  job.peak_bytes = 123;
  job.peak_ram_bytes = 456;
  job.how = How::signalled;
  job.status = 137;
  job.signal = 9;
  job.stays = true;
  return job;
}

std::optional<Job> there_and_back(const Job& job) {
  const std::string line = encode_job(job);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  return decode_job(std::string_view(line).substr(0, line.size() - 1));
}

TEST(HistoryJob, SurvivesItsLine) { EXPECT_EQ(there_and_back(full()), full()); }

TEST(HistoryJob, SurvivesItsLineWhereItSaysLittle) {
  Job job;
  job.id = "abcdefgh23";
  job.arrival_us = 1;
  job.ended_us = 2;
  job.how = How::busy;
  EXPECT_EQ(there_and_back(job), job);
}

TEST(HistoryJob, EveryEndHasANameOfItsOwn) {
  for (int i = 0; i <= static_cast<int>(How::unknown); ++i) {
    const How how = static_cast<How>(i);
    EXPECT_EQ(how_of(how_name(how)), how);
  }
  EXPECT_EQ(how_of("nonsense"), std::nullopt);
}

TEST(HistoryJob, LongTextIsCutBetweenCharacters) {
  Job job = full();
  for (size_t shift = 0; shift < 3; ++shift) {
    job.command = std::string(shift, 'x');
    for (int i = 0; i < 1000; ++i) job.command += "ä";
    const auto back = there_and_back(job);
    ASSERT_TRUE(back);
    EXPECT_LE(back->command.size(), max_job_text);
    EXPECT_TRUE(back->command.ends_with("ä...")) << back->command;
  }
}

TEST(HistoryJob, ForeignBytesDriveNoTerminal) {
  Job job = full();
  job.label = "\x1b[2J\xff\n";
  const auto back = there_and_back(job);
  ASSERT_TRUE(back);
  for (const char c : back->label) EXPECT_GE(static_cast<unsigned char>(c), 0x20U);
}

TEST(HistoryJob, AnyPrefixAndAnyByteIsTakenOrRefused) {
  std::string line = encode_job(full());
  line.pop_back();
  for (size_t i = 0; i < line.size(); ++i) {
    EXPECT_FALSE(decode_job(std::string_view(line).substr(0, i)));
    std::string other = line;
    for (const char c : {'\0', '\x80', '9', '"', '{'}) {
      other[i] = c;
      (void)decode_job(other);
    }
  }
}

TEST(HistoryJob, WhatIsNoJobIsRefused) {
  for (const char* line : {"", "{}", "[]", "1", "null", R"({"id":1,"arrival_us":1,"ended_us":2,"how":"busy"})",
                           R"({"id":"a","arrival_us":-1,"ended_us":2,"how":"busy"})",
                           R"({"id":"a","arrival_us":1e300,"ended_us":2,"how":"busy"})",
                           R"({"id":"a","arrival_us":18446744073709551615,"ended_us":2,"how":"busy"})"})
    EXPECT_FALSE(decode_job(line)) << line;
  EXPECT_TRUE(decode_job(
      R"({"id":"a","arrival_us":1,"ended_us":2,"how":"busy","claim":[],"devices":{},"peak":"x","peak_ram":[]})"));
  const auto odd = decode_job(R"({"id":"a","arrival_us":1,"ended_us":2,"how":"busy","processors":"3-1,x"})");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->processors, "");
}

}  // namespace
}  // namespace berth
