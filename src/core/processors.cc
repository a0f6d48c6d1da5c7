#include "core/processors.h"

#include "base/text.h"

namespace berth {

std::vector<ProcessorSpan> spans_of(const ProcessorSet& set) {
  std::vector<ProcessorSpan> out;
  for (size_t i = 0; i < set.size(); ++i) {
    if (!set[i]) continue;
    const auto number = static_cast<uint16_t>(i);
    if (!out.empty() && out.back().last + 1 == number)
      out.back().last = number;
    else
      out.push_back({number, number});
  }
  return out;
}

ProcessorSet processor_set(std::span<const ProcessorSpan> spans) {
  ProcessorSet out;
  for (const ProcessorSpan& span : spans)
    for (size_t i = span.first; i <= span.last; ++i) out.set(i);
  return out;
}

int64_t count_of(std::span<const ProcessorSpan> spans) {
  int64_t count = 0;
  for (const ProcessorSpan& span : spans) count += span.last - span.first + 1;
  return count;
}

std::string show_processors(std::span<const ProcessorSpan> spans, char separator) {
  std::string out;
  for (const ProcessorSpan& span : spans) {
    if (!out.empty()) out += separator;
    out += std::to_string(span.first);
    if (span.last != span.first) out += '-' + std::to_string(span.last);
  }
  return out;
}

std::optional<std::vector<ProcessorSpan>> parse_processors(std::string_view text, char separator) {
  std::vector<ProcessorSpan> out;
  int64_t least = 0;
  for (;;) {
    const size_t end = std::min(text.find(separator), text.size());
    const std::string_view word = text.substr(0, end);
    const size_t dash = std::min(word.find('-'), word.size());
    const auto first = parse_count(word.substr(0, dash));
    const auto last = dash == word.size() ? first : parse_count(word.substr(dash + 1));
    if (!first || !last || *first < least || *last < *first || *last >= static_cast<int64_t>(max_processors))
      return std::nullopt;
    out.push_back({static_cast<uint16_t>(*first), static_cast<uint16_t>(*last)});
    least = *last + 1;
    if (end == text.size()) return out;
    text.remove_prefix(end + 1);
  }
}

}  // namespace berth
