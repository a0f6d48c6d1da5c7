#include "base/process_stat.h"

#include <vector>

#include "base/text.h"

namespace berth {

std::optional<ProcessStat> parse_process_stat(std::string_view text) {
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
  const std::vector<std::string> fields = split(std::string(text.substr(close + 1)), ' ');  // from the third on
  if (fields.size() < 20) return std::nullopt;
  ProcessStat out;
  out.name = text.substr(open + 1, close - open - 1);
  out.state = fields[0].front();
  out.parent = parse_count(fields[1]).value_or(0);
  out.flags = static_cast<uint64_t>(parse_count(fields[6]).value_or(0));
  out.threads = parse_count(fields[17]).value_or(0);
  const auto start = parse_count(fields[19]);
  if (!start) return std::nullopt;
  out.start_ticks = *start;
  return out;
}

}  // namespace berth
