// What stands between separators, piece by piece and without a copy. Unlike split() it gives empty pieces too.
#pragma once

#include <optional>
#include <string_view>

namespace berth {

// Takes the text up to the next `separator` off the front of `rest`; nullopt when `rest` is spent.
class Fields {
 public:
  Fields(std::string_view text, char separator) : rest_(text), separator_(separator) {}
  std::optional<std::string_view> next() {
    if (spent_) return std::nullopt;
    // Fields are short: a plain loop beats memchr.
    size_t end = 0;
    while (end < rest_.size() && rest_[end] != separator_) ++end;
    const std::string_view field = rest_.substr(0, end);
    spent_ = end == rest_.size();
    if (!spent_) rest_.remove_prefix(end + 1);
    return field;
  }

 private:
  std::string_view rest_;
  char separator_;
  bool spent_ = false;
};

}  // namespace berth
