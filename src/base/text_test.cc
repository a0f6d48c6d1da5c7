#include "base/text.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <array>

namespace berth {
namespace {

constexpr int64_t gib = int64_t{1} << 30;

TEST(ParseCount, TakesPlainDecimalsUpToTheBoundAndNothingElse) {
  EXPECT_EQ(parse_count("0"), 0);
  EXPECT_EQ(parse_count("42"), 42);
  EXPECT_EQ(parse_count(std::to_string(max_amount)), max_amount);
  EXPECT_EQ(parse_count(std::to_string(max_amount + 1)), std::nullopt);
  for (const char* bad : {"", "-1", "+1", " 1", "1 ", "01", "00", "1.0", "0x1", "99999999999999999999", "1e3"})
    EXPECT_EQ(parse_count(bad), std::nullopt) << bad;
}

TEST(ParseSigned, TakesOneMinusAndNoMinusZero) {
  EXPECT_EQ(parse_signed("-7"), -7);
  EXPECT_EQ(parse_signed("7"), 7);
  EXPECT_EQ(parse_signed("0"), 0);
  for (const char* bad : {"", "-", "--1", "-0", "-01", "+1"}) EXPECT_EQ(parse_signed(bad), std::nullopt) << bad;
}

RC_GTEST_PROP(ParseSigned, ReadsWhatToStringWrites, ()) {
  const auto n = *rc::gen::inRange<int64_t>(-max_amount, max_amount);
  RC_ASSERT(parse_signed(std::to_string(n)) == n);
}

TEST(ParseSize, UnitsArePowersOf1024UnlessTheySayB) {
  struct Row {
    const char* text;
    int64_t bytes;
  };
  for (const Row& row : std::array<Row, 14>{{{"8G", 8 * gib},
                                             {"8GiB", 8 * gib},
                                             {"8gi", 8 * gib},
                                             {"8g", 8 * gib},
                                             {"8GB", 8'000'000'000},
                                             {"8192M", 8 * gib},
                                             {"8192", 8 * gib},
                                             {"512MB", 512'000'000},
                                             {"1.5G", 3 * gib / 2},
                                             {"0.5k", 512},
                                             {"1T", 1024 * gib},
                                             {"100B", 100},
                                             {"0", 0},
                                             {"007k", 7 * 1024}}})
    EXPECT_EQ(parse_size_bytes(row.text), row.bytes) << row.text;
}

TEST(ParseSize, RefusesWhatItCannotMeanExactly) {
  for (const char* bad : {"", "G", "-1G", "1.", ".5G", "1..5G", "8 G", "8GG", "8Gb/s", "8X", "1.0000000001G", "8GIBB",
                          "99999999T", "12345678901234567890", "inf", "nan", "0x10", "8G\n"})
    EXPECT_EQ(parse_size_bytes(bad), std::nullopt) << bad;
  EXPECT_EQ(parse_size_bytes(std::string_view("8G\0", 3)), std::nullopt);
}

TEST(ParseDuration, AddsUnitsThatFall) {
  struct Row {
    const char* text;
    int64_t ms;
  };
  for (const Row& row : std::array<Row, 10>{{{"90", 90'000},
                                             {"90s", 90'000},
                                             {"5m", 300'000},
                                             {"2h", 7'200'000},
                                             {"1d", 86'400'000},
                                             {"1h30m", 5'400'000},
                                             {"1.5s", 1'500},
                                             {"200ms", 200},
                                             {"1D2H3M4S5MS", 93'784'005},
                                             {"0", 0}}})
    EXPECT_EQ(parse_duration_ms(row.text), row.ms) << row.text;
  for (const char* bad : {"", "s", "30m1h", "1h1h", "1h30", "1w", "-1s", "1 s", "1h 30m", "9999999999999d", "."})
    EXPECT_EQ(parse_duration_ms(bad), std::nullopt) << bad;
}

RC_GTEST_PROP(Parsers, TakeAnyBytesAndStayWithinTheBound, (const std::string& text)) {
  for (const auto& got : {parse_count(text), parse_size_bytes(text), parse_duration_ms(text)})
    RC_ASSERT((!got || (*got >= 0 && *got <= max_amount)));  // RC_ASSERT's own || looks at both sides
}

RC_GTEST_PROP(Parsers, AlsoThoseThatNearlyFit, ()) {
  const auto text =
      *rc::gen::container<std::string>(rc::gen::element('0', '1', '9', '.', 'k', 'G', 'i', 'B', 'h', 'm', 's', '-'));
  for (const auto& got : {parse_count(text), parse_size_bytes(text), parse_duration_ms(text)})
    RC_ASSERT((!got || (*got >= 0 && *got <= max_amount)));  // RC_ASSERT's own || looks at both sides
}

TEST(ShowSize, SaysOneDecimalAtMost) {
  EXPECT_EQ(show_size(0), "0 B");
  EXPECT_EQ(show_size(800), "800 B");
  EXPECT_EQ(show_size(24 * gib), "24 GiB");
  EXPECT_EQ(show_size(3 * gib / 2), "1.5 GiB");
  EXPECT_EQ(show_size(max_amount), "1024 PiB");
}

TEST(ShowDuration, SaysTwoUnitsAtMost) {
  EXPECT_EQ(show_duration(-5), "0 s");
  EXPECT_EQ(show_duration(45), "45 s");
  EXPECT_EQ(show_duration(12 * 60), "12 min");
  EXPECT_EQ(show_duration(3 * 3600 + 10 * 60), "3 h 10 min");
  EXPECT_EQ(show_duration(2 * 86400 + 4 * 3600), "2 d 4 h");
}

TEST(Printable, MakesControlCharactersVisibleAndKeepsLetters) {
  EXPECT_EQ(printable("a\nb\tc\x1b[31m\x7f"), "a\\nb\\tc\\x1B[31m\\x7F");
  EXPECT_EQ(printable("größe 日本 🚀"), "größe 日本 🚀");
  // Cut short, overlong, a surrogate, C1 controls, a bidirectional override.
  EXPECT_EQ(printable("\xC3"), "\\xC3");
  EXPECT_EQ(printable("\xC0\x80"), "\\xC0\\x80");
  EXPECT_EQ(printable("\xE0\x80\x80"), "\\xE0\\x80\\x80");
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xED\\xA0\\x80");
  EXPECT_EQ(printable("\xC2\x9B"), "\\xC2\\x9B");
  EXPECT_EQ(printable("\xE2\x80\xAE"), "\\xE2\\x80\\xAE");
  EXPECT_EQ(printable("\xF5\x80\x80\x80"), "\\xF5\\x80\\x80\\x80");
}

RC_GTEST_PROP(Printable, LeavesNoControlByteAndNothingToDoTwice, (const std::string& text)) {
  const std::string shown = printable(text);
  for (const char c : shown) RC_ASSERT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
  RC_ASSERT(printable(shown) == shown);
}

}  // namespace
}  // namespace berth
