// A plain table: columns as wide as they must be, two spaces between, nothing else.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

// What a column gives when there is too little room: down to `least` characters; 0: all of it.
struct Squeeze {
  std::string_view head;
  size_t least = 0;
};

class Table {
 public:
  explicit Table(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }
  // Requires as many cells as there are heads.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // Lines of at most `width` columns as far as the squeezes, taken in order, make room; 0: any width.
  // Requires that every squeeze names a head.
  [[nodiscard]] std::string text(size_t width = 0, std::span<const Squeeze> squeezes = {}) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// At most `limit` columns of a terminal, with "..." where something was cut.
[[nodiscard]] std::string shortened(const std::string& text, size_t limit);
// Columns that the longest line of `text` takes.
[[nodiscard]] size_t longest_line(const std::string& text);

}  // namespace berth
