// What --help, berth(1), "did you mean" and their tests know of the command line: one table.
//
// A row says what an option does once; the screen shows that, and the man page shows it with what more
// there is to say. A test holds the rows against what the parser takes.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

struct OptionHelp {
  std::string_view words;  // "-g, --gpus N", as both show it; several options that belong together
  std::string_view brief;  // no capital, no full stop; "" where the man page alone explains it
  std::string_view more;   // sentences for the man page
};

struct HelpSection {
  std::string_view title;  // "CLAIM"; "" for a verb that has but one kind of option
  std::string_view note;   // beside the title on the screen, below it in the man page
  std::span<const OptionHelp> options;
};

struct VerbHelp {
  std::string_view name;
  std::string_view summary;  // in the list of verbs
  std::string_view usage;    // after "berth "; lines
  std::string_view about;    // whole sentences, broken for a screen
  std::span<const HelpSection> sections;
  std::string_view after;  // lines below the options, on the screen alone
  std::string_view examples;
};

[[nodiscard]] std::span<const VerbHelp> all_verbs();
// null where there is no such verb.
[[nodiscard]] const VerbHelp* find_verb(std::string_view name);

// "--gpus", "-g" and so on, as the rows name them.
[[nodiscard]] std::vector<std::string> option_words(const OptionHelp& row);
// Every option of a verb, those it shares with run included.
[[nodiscard]] std::vector<std::string> option_words(const VerbHelp& verb);

// The parts of berth(1) that come from this table, each after a line "@@ NAME"; see docs/man.awk.
[[nodiscard]] std::string man_parts();

// Says that `word` is no option of `verb`, and which one is near. The exit status.
[[nodiscard]] int fail_unknown(const std::string& verb, const std::string& word);

}  // namespace berth
