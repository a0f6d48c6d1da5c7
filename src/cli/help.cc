#include "cli/help.h"

#include <algorithm>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/nearest.h"
#include "cli/options.h"
#include "cli/say.h"

namespace berth {

namespace {

constexpr size_t brief_column = 25;
constexpr size_t screen_columns = 79;

std::string indented(std::string_view lines) {
  std::string out;
  for (const std::string& line : split(std::string(lines), '\n')) out += "  " + line + "\n";
  return out;
}

// Rows without a brief stand side by side: what they are for is in the man page.
std::string rows(const HelpSection& section) {
  std::string out;
  std::vector<std::string> beside;
  for (const OptionHelp& row : section.options) {
    std::string line = "  " + std::string(row.words);
    if (row.brief.empty()) {
      const bool fits = !beside.empty() && beside.back().size() + line.size() + 1 <= screen_columns;
      if (!beside.empty()) beside.back() += ",";
      if (fits)
        beside.back() += line.substr(1);
      else
        beside.push_back(line);
      continue;
    }
    line.append(line.size() + 2 <= brief_column ? brief_column - line.size() : 2, ' ');
    out += line + std::string(row.brief) + "\n";
  }
  for (const std::string& line : beside) out += line + "\n";
  return out;
}

std::string overview() {
  std::string out = R"help(berth gives every job on this machine its place: GPUs, a share of a GPU's
memory, CPU slots, RAM, any named quantity. It waits its turn, runs, and the
place is free the moment its last process is gone.

  berth run --gpus 1 --vram 8G --expect 2h -- python train.py

)help";
  for (const VerbHelp& verb : all_verbs()) {
    std::string line = "  " + std::string(verb.name);
    line.append(12 - line.size(), ' ');
    out += line + std::string(verb.summary) + "\n";
  }
  return out + R"help(
berth VERB --help tells more; man berth tells all; berth --version.
The pool is $BERTH_POOL, else /run/berth, else /dev/shm/berth.
)help";
}

bool is_one_of(const OptionHelp& row, std::span<const std::string_view> options) {
  return std::any_of(options.begin(), options.end(), [&](std::string_view o) { return row.words.starts_with(o); });
}

// What `hold` takes of CLAIM and WAIT; of run's, what only a command can follow is not among it.
constexpr std::string_view not_of_hold[] = {"--dry-run", "--on-timeout"};

// The rows of CLAIM and WAIT by their words alone: run's help says what they are.
std::string rows_of_run() {
  std::string out;
  for (const HelpSection& section : find_verb("run")->sections) {
    if (section.title == "HOLD") continue;
    std::vector<OptionHelp> bare;
    for (const OptionHelp& row : section.options)
      if (!is_one_of(row, not_of_hold)) bare.push_back({row.words, "", ""});
    out += std::string(section.title) + "\n" + rows({section.title, "", bare});
  }
  return out;
}

// The long one is printed without empty lines, or it would not fit a screen.
std::string help_of(const VerbHelp& verb) {
  const bool is_long = verb.sections.size() > 1;
  const std::string gap = is_long ? "" : "\n";
  std::string out = "berth " + std::string(verb.usage) + "\n" + std::string(verb.about);
  for (const HelpSection& section : verb.sections) {
    if (!section.title.empty()) out += std::string(section.title);
    if (!section.note.empty()) out += "  (" + std::string(section.note) + ")";
    out += "\n" + rows(section);
  }
  if (verb.name == "hold") out += rows_of_run();
  if (!verb.after.empty()) out += gap + std::string(verb.after);
  return out + gap + indented(verb.examples);
}

}  // namespace

const VerbHelp* find_verb(std::string_view name) {
  for (const VerbHelp& verb : all_verbs())
    if (verb.name == name) return &verb;
  return nullptr;
}

std::string help_text(const std::string& verb) {
  if (verb.empty()) return overview();
  const VerbHelp* found = find_verb(verb);
  return found == nullptr ? "" : help_of(*found);
}

std::vector<std::string> option_words(const OptionHelp& row) {
  std::vector<std::string> out;
  for (std::string word : split(std::string(row.words), ' ')) {
    if (word.back() == ',') word.pop_back();
    word = word.substr(0, word.find('['));  // --reclaimable[=idle]
    if (word.starts_with("-")) out.push_back(word);
  }
  return out;
}

std::vector<std::string> option_words(const VerbHelp& verb) {
  std::vector<std::string> out{"--help", "-h"};
  const auto add = [&](const HelpSection& section) {
    for (const OptionHelp& row : section.options)
      for (std::string& word : option_words(row)) out.push_back(std::move(word));
  };
  for (const HelpSection& section : verb.sections) add(section);
  if (verb.name != "hold") return out;
  // CLAIM and WAIT are run's, without what only a command can follow.
  for (const HelpSection& section : find_verb("run")->sections)
    if (section.title != "HOLD") add(section);
  for (const std::string_view option : not_of_hold) std::erase(out, option);
  return out;
}

int fail_unknown(const std::string& verb, const std::string& word) {
  if (!word.starts_with("-")) return fail_usage(verb, "unknown word " + printable(word));
  const std::string name = word.substr(0, word.find('='));
  const VerbHelp* found = find_verb(verb);
  const std::string near = found == nullptr ? "" : nearest(name, option_words(*found));
  return fail_usage(verb, "unknown option " + printable(name) + (near.empty() ? "" : "; did you mean " + near + "?"));
}

}  // namespace berth
