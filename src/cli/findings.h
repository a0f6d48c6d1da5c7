// What doctor has to say: lines of three kinds, and how many there are to mend.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace berth {

// A command that does it ("# " in front where that takes another's or root's rights, "$ " where one's
// own do), or what to do in words.
struct Mend {
  std::string line;
};

// `owner`: whose rights suffice, besides root's.
[[nodiscard]] Mend by_command(const std::string& command, uid_t owner = 0);
[[nodiscard]] Mend in_words(const std::string& sentence);
// One word for a shell, quoted where it has to be.
[[nodiscard]] std::string shell_word(const std::string& text);

// "1 record", "2 records".
[[nodiscard]] std::string counted(size_t count, const std::string& noun);

class Findings {
 public:
  void fine(const std::string& sentence) { text_ += "ok    " + sentence + "\n"; }
  void note(const std::string& sentence) { text_ += "note  " + sentence + "\n"; }
  // `mends`, done one after the other, make it go away.
  void wrong(const std::string& sentence, const std::vector<Mend>& mends);

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] int count() const { return count_; }

 private:
  std::string text_;
  int count_ = 0;
};

}  // namespace berth
