#include "base/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>

namespace berth {

std::optional<int64_t> parse_count(std::string_view text) {
  // 19 digits stay below 2^64, so the sum needs no check on the way.
  if (text.empty() || text.size() > 19) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const auto digit = static_cast<unsigned char>(c - '0');
    if (digit > 9) return std::nullopt;
    value = value * 10 + digit;
  }
  if (value > static_cast<uint64_t>(max_amount)) return std::nullopt;
  return static_cast<int64_t>(value);
}

std::optional<int64_t> parse_signed(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative) text.remove_prefix(1);
  const auto value = parse_count(text);
  if (!value || (negative && *value == 0)) return std::nullopt;
  return negative ? -*value : *value;
}

namespace {

struct Decimal {
  long double value;
  std::string_view rest;
};

// Digits, optionally a point and up to nine more digits. Leading zeros are a person's habit: fine.
std::optional<Decimal> read_decimal(std::string_view text) {
  long double value = 0;
  size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
    if (i >= 19) return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  if (i == 0) return std::nullopt;
  if (i < text.size() && text[i] == '.') {
    const size_t point = i++;
    long double scale = 1;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
      if (i - point > 9) return std::nullopt;
      scale /= 10;
      value += scale * (text[i] - '0');
    }
    if (i == point + 1) return std::nullopt;
  }
  return Decimal{value, text.substr(i)};
}

std::string lower(std::string_view text) {
  std::string out;
  for (const char c : text) out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::optional<int64_t> bounded(long double value) {
  if (value > static_cast<long double>(max_amount)) return std::nullopt;
  return static_cast<int64_t>(value + 0.5L);
}

}  // namespace

std::optional<int64_t> parse_size_bytes(std::string_view text) {
  const auto number = read_decimal(text);
  if (!number) return std::nullopt;
  const std::string unit = lower(number->rest);
  if (unit.empty()) return bounded(number->value * 1024 * 1024);
  if (unit == "b") return bounded(number->value);
  const std::string_view prefixes = "kmgt";
  const size_t power = prefixes.find(unit.front());
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view tail = std::string_view(unit).substr(1);
  long double step = 0;
  if (tail.empty() || tail == "ib" || tail == "i") step = 1024;
  if (tail == "b") step = 1000;
  if (step == 0) return std::nullopt;
  long double value = number->value;
  for (size_t i = 0; i <= power; ++i) value *= step;
  return bounded(value);
}

std::optional<int64_t> parse_duration_ms(std::string_view text) {
  if (text.empty()) return std::nullopt;
  long double total_ms = 0;
  int last_rank = 99;  // units must fall: 1h30m, not 30m1h
  bool only_part = true;
  while (!text.empty()) {
    const auto number = read_decimal(text);
    if (!number) return std::nullopt;
    text = number->rest;
    size_t letters = 0;
    while (letters < text.size() && std::isalpha(static_cast<unsigned char>(text[letters])) != 0) ++letters;
    const std::string unit = lower(text.substr(0, letters));
    text.remove_prefix(letters);
    struct Unit {
      const char* name;
      long double ms;
      int rank;
    };
    static constexpr std::array<Unit, 5> units{
        {{"ms", 1, 0}, {"s", 1000, 1}, {"m", 60'000, 2}, {"h", 3'600'000, 3}, {"d", 86'400'000, 4}}};
    const Unit* found = nullptr;
    for (const Unit& u : units)
      if (unit == u.name) found = &u;
    if (unit.empty() && only_part && text.empty()) found = &units[1];
    if (found == nullptr || found->rank >= last_rank) return std::nullopt;
    last_rank = found->rank;
    only_part = false;
    total_ms += number->value * found->ms;
  }
  return bounded(total_ms);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> out;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(separator, start), text.size());
    if (end > start) out.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

std::string show_size(int64_t bytes) {
  static constexpr std::array<const char*, 6> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 48> out{};
  const bool whole = value == static_cast<double>(static_cast<int64_t>(value));
  std::snprintf(out.data(), out.size(), whole ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return out.data();
}

std::string show_duration(int64_t seconds) {
  if (seconds < 0) seconds = 0;
  const auto text = [](int64_t n, const char* unit) { return std::to_string(n) + " " + unit; };
  if (seconds < 90) return text(seconds, "s");
  const int64_t minutes = seconds / 60;
  if (minutes < 90) return text(minutes, "min");
  const int64_t hours = minutes / 60;
  if (hours < 48) return text(hours, "h") + (minutes % 60 != 0 ? " " + text(minutes % 60, "min") : "");
  return text(hours / 24, "d") + (hours % 24 != 0 ? " " + text(hours % 24, "h") : "");
}

std::string show_milliseconds(int64_t ms) {
  return ms % 1000 == 0 ? show_duration(ms / 1000) : std::to_string(ms) + " ms";
}

namespace {

// Length of a well-formed UTF-8 sequence at `at` that is no control character; 0 if it is not one.
size_t utf8_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const size_t length = lead >= 0xF0 && lead <= 0xF4 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
  if (length == 0 || lead > 0xF4 || at + length > text.size()) return 0;
  uint32_t code = lead & (0x7FU >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0U) != 0x80U) return 0;
    code = (code << 6U) | (byte(at + i) & 0x3FU);
  }
  if (code < 0xA0 || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) return 0;
  if (length == 3 && code < 0x800) return 0;
  if (length == 4 && code < 0x10000) return 0;
  // Bidirectional overrides can make a terminal show one thing and mean another.
  if ((code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069)) return 0;
  return length;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c < 0x7F) {
      out += text[i++];
      continue;
    }
    if (const size_t length = c >= 0x80 ? utf8_length(text, i) : 0; length != 0) {
      out += text.substr(i, length);
      i += length;
      continue;
    }
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      std::array<char, 8> hex{};
      std::snprintf(hex.data(), hex.size(), "\\x%02X", c);
      out += hex.data();
    }
    ++i;
  }
  return out;
}

}  // namespace berth
