// A plain table: columns as wide as they must be, two spaces between, nothing else.
#pragma once

#include <string>
#include <vector>

namespace berth {

class Table {
 public:
  explicit Table(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }
  // Requires as many cells as there are heads.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// At most `limit` characters, with "..." where something was cut.
[[nodiscard]] std::string shortened(const std::string& text, size_t limit);

}  // namespace berth
