// Sizes, durations and numbers as text, both ways. Pure; no locale.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

// No amount in berth is larger than this, so sums of up to four never overflow an int64.
inline constexpr int64_t max_amount = int64_t{1} << 60;

// Decimal digits only, the whole text, no sign, no leading zero but "0" itself, at most max_amount.
[[nodiscard]] std::optional<int64_t> parse_count(std::string_view text);
// The same with an optional '-'.
[[nodiscard]] std::optional<int64_t> parse_signed(std::string_view text);

// "8G", "8GiB", "8192M", "512MB", "1.5G"; a bare number is MiB. K, M, G, T are powers of 1024,
// KB, MB, GB, TB of 1000, "B" is bytes. Returns bytes. Letters in either case.
[[nodiscard]] std::optional<int64_t> parse_size_bytes(std::string_view text);

// "90", "90s", "5m", "2h", "1d", "1h30m", "1.5s", "200ms"; a bare number is seconds.
// Returns milliseconds.
[[nodiscard]] std::optional<int64_t> parse_duration_ms(std::string_view text);

// "24 GiB", "512 MiB", "1.5 GiB", "800 B": binary units, at most one decimal.
[[nodiscard]] std::string show_size(int64_t bytes);

// "45 s", "12 min", "3 h 10 min", "2 d 4 h".
[[nodiscard]] std::string show_duration(int64_t seconds);
// The same of what somebody said, who may have said "1500ms".
[[nodiscard]] std::string show_milliseconds(int64_t ms);

// The non-empty pieces between separators.
[[nodiscard]] std::vector<std::string> split(const std::string& text, char separator);

// Control characters made visible (\n, \t, \xHH), so that foreign text cannot drive a terminal.
// Bytes from 0x80 up pass only as well-formed UTF-8 of printable code points.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace berth
