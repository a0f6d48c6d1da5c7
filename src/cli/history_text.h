// What `berth history` shows, as a table and as JSON, and what its filters take. Pure but for users' names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "history/job.h"

namespace berth {

// The times are this machine's local ones. Lines of at most `width` columns as far as that can be; 0: any width.
[[nodiscard]] std::string history_text(const std::vector<Job>& jobs, int64_t now_us, size_t width);

// One line, {"version":1,"jobs":[...]}, without "\n".
[[nodiscard]] std::string history_json(const std::vector<Job>& jobs, int64_t now_us);

// "exit 1", "signal 9 (KILL)", "gave up": how it ended, in few words.
[[nodiscard]] std::string end_text(const Job& job);

// "2h" (ago), "2026-11-21", "2026-11-21 10:30", "2026-11-21T10:30:05", "@1700000000", as microseconds since
// the epoch; nullopt for anything else. A day or time of day is a local one.
[[nodiscard]] std::optional<int64_t> parse_since_us(std::string_view text, int64_t now_us);

}  // namespace berth
