// The terminal that stderr was: for a word to people from a keeper that has left their session.
#pragma once

#include <string>

namespace berth {

class OwnTerminal {
 public:
  // Remembers the terminal that stderr is, if it is one.
  OwnTerminal();

  [[nodiscard]] bool is_there() const { return !path_.empty(); }
  // Never blocks. Whoever has the terminal by now gets it only if it is still ours.
  void tell(const std::string& sentence) const;

 private:
  std::string path_;
};

}  // namespace berth
