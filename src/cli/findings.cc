#include "cli/findings.h"

#include <unistd.h>

namespace berth {

Mend by_command(const std::string& command, uid_t owner) {
  const uid_t self = ::geteuid();
  return {(self != 0 && self == owner ? "$ " : "# ") + command};
}

Mend in_words(const std::string& sentence) { return {sentence}; }

std::string shell_word(const std::string& text) {
  constexpr const char* plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string counted(size_t count, const std::string& noun) {
  if (count == 1) return "1 " + noun;
  const bool to_ies = noun.ends_with("y");
  return std::to_string(count) + " " + (to_ies ? noun.substr(0, noun.size() - 1) + "ies" : noun + "s");
}

void Findings::wrong(const std::string& sentence, const std::vector<Mend>& mends) {
  text_ += "WRONG " + sentence + "\n";
  for (const Mend& mend : mends) text_ += "      mend: " + mend.line + "\n";
  ++count_;
}

}  // namespace berth
