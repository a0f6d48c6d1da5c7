#include "cli/help.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cli/commands.h"
#include "cli/options.h"

namespace berth {
namespace {

using Set = std::set<std::string>;

Set as_set(const std::vector<std::string>& words) { return {words.begin(), words.end()}; }

TEST(Help, KnowsWhatTheParserKnows) {
  EXPECT_EQ(as_set(option_words(*find_verb("run"))), as_set(place_option_words(PlaceVerb::run)));
  EXPECT_EQ(as_set(option_words(*find_verb("hold"))), as_set(place_option_words(PlaceVerb::hold)));
}

TEST(Help, OfEveryVerbShowsItsOptionsAndAnExample) {
  for (const VerbHelp& verb : all_verbs()) {
    const std::string text = help_text(std::string(verb.name));
    for (const HelpSection& section : verb.sections)
      for (const OptionHelp& row : section.options)
        EXPECT_NE(text.find(row.words), std::string::npos) << verb.name << ": " << row.words;
    EXPECT_NE(verb.examples.find("berth " + std::string(verb.name)), std::string::npos) << verb.name;
    EXPECT_NE(help_text("").find("\n  " + std::string(verb.name) + " "), std::string::npos) << verb.name;
  }
}

TEST(Help, FitsAScreen) {
  for (const VerbHelp& verb : all_verbs()) {
    const std::string text = help_text(std::string(verb.name));
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 24) << verb.name;
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      EXPECT_LE(end - at, 80U) << text.substr(at, end - at);
      at = end + 1;
    }
  }
}

TEST(Help, RowsAreReadAsTheirOptions) {
  const OptionHelp row{"-r, --resource NAME=AMOUNT, --on-timeout run", "", ""};
  EXPECT_EQ(option_words(row), (std::vector<std::string>{"-r", "--resource", "--on-timeout"}));
}

}  // namespace
}  // namespace berth
