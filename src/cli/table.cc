#include "cli/table.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace berth {

namespace {

struct Character {
  size_t bytes;
  size_t columns;
};

// Columns of one code point, as terminals have it: none for what combines, two for the wide scripts and
// for emoji. Good enough for a table; no locale is asked.
size_t columns_of(uint32_t code) {
  const auto in = [&](uint32_t first, uint32_t last) { return code >= first && code <= last; };
  if (in(0x300, 0x36F) || in(0x200B, 0x200F) || in(0xFE00, 0xFE0F)) return 0;
  const bool wide = in(0x1100, 0x115F) || in(0x2E80, 0xA4CF) || in(0xAC00, 0xD7A3) || in(0xF900, 0xFAFF) ||
                    in(0xFE30, 0xFE6F) || in(0xFF00, 0xFF60) || in(0xFFE0, 0xFFE6) || in(0x1F300, 0x1FAFF) ||
                    in(0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}

// The character at `at` of a text that is well-formed UTF-8; a byte that is not counts for itself.
Character character(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const size_t bytes = byte(0) < 0xC0 ? 1 : byte(0) < 0xE0 ? 2 : byte(0) < 0xF0 ? 3 : 4;
  if (at + bytes > text.size()) return {1, 1};
  uint32_t code = bytes == 1 ? byte(0) : byte(0) & (0xFFU >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) code = (code << 6U) | (byte(i) & 0x3FU);
  return {bytes, columns_of(code)};
}

size_t width_of(const std::string& text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size();) {
    const Character c = character(text, at);
    width += c.columns;
    at += c.bytes;
  }
  return width;
}

constexpr size_t gap = 2;

size_t total(const std::vector<size_t>& widths) {
  const auto shown = static_cast<size_t>(std::count_if(widths.begin(), widths.end(), [](size_t w) { return w > 0; }));
  return std::accumulate(widths.begin(), widths.end(), size_t{0}) + (shown > 0 ? (shown - 1) * gap : 0);
}

}  // namespace

std::string Table::text(size_t width, std::span<const Squeeze> squeezes) const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  const std::vector<size_t> wanted = widths;
  const auto column = [&](const Squeeze& squeeze) {
    const auto& heads = rows_.front();
    return static_cast<size_t>(std::find(heads.begin(), heads.end(), squeeze.head) - heads.begin());
  };
  for (const Squeeze& squeeze : squeezes) {
    if (width == 0 || total(widths) <= width) break;
    const size_t i = column(squeeze);
    if (widths[i] <= squeeze.least) continue;
    const size_t over = total(widths) - width;
    widths[i] = squeeze.least == 0 ? 0 : std::max(squeeze.least, widths[i] - std::min(widths[i], over));
  }
  // What went last may have made more room than was needed: it is for the others.
  for (const Squeeze& squeeze : squeezes) {
    const size_t i = column(squeeze);
    if (width == 0 || widths[i] == 0 || total(widths) >= width) continue;
    widths[i] = std::min(wanted[i], widths[i] + width - total(widths));
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (widths[i] == 0) continue;
      const std::string cell = shortened(row[i], widths[i]);
      line += cell;
      line.append(widths[i] - width_of(cell) + gap, ' ');
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + "\n";
  }
  return out;
}

std::string shortened(const std::string& text, size_t limit) {
  if (width_of(text) <= limit) return text;
  const std::string dots(std::min<size_t>(3, limit), '.');
  std::string out;
  size_t shown = dots.size();
  for (size_t at = 0; at < text.size();) {
    const Character c = character(text, at);
    if (shown + c.columns > limit) break;
    out += text.substr(at, c.bytes);
    shown += c.columns;
    at += c.bytes;
  }
  return out + dots;
}

size_t longest_line(const std::string& text) {
  size_t longest = 0;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    longest = std::max(longest, width_of(text.substr(start, end - start)));
    start = end + 1;
  }
  return longest;
}

}  // namespace berth
