// The table as parts of a man page. Knows as much of roff as that takes.
#include "base/text.h"
#include "cli/help.h"

namespace berth {

namespace {

// For the reader of roff: a backslash is \e, what is typed with a hyphen is \-.
std::string literal(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '\'')
      out += "\\(aq";
    else
      out += c;
  }
  return out;
}

bool is_placeholder(const std::string& word) {
  static constexpr std::string_view known[] = {"N",    "SIZE", "PCT", "LIST", "NAME", "AMOUNT", "DUR",
                                               "TEXT", "PID",  "CMD", "ARG",  "ID",   "TIME"};
  for (const std::string_view k : known)
    if (word == k) return true;
  return false;
}

// Options in bold and what stands for a value in italics, whatever stands around them.
std::string styled(std::string_view text) {
  std::string out;
  size_t at = 0;
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '$';
  };
  while (at < text.size()) {
    size_t end = at;
    while (end < text.size() && is_word(text[end])) ++end;
    if (end == at) {
      out += literal(text.substr(at++, 1));
      continue;
    }
    const std::string word(text.substr(at, end - at));
    at = end;
    if (word.starts_with("-") && word != "-")
      out += "\\fB" + literal(word) + "\\fR";
    else if (is_placeholder(word))
      out += "\\fI" + word + "\\fR";
    else
      out += word.find("--") == std::string::npos && word[0] != '-' ? word : literal(word);
  }
  return out;
}

// One sentence a line, as roff likes it; none may look like a request.
std::string sentences(std::string_view text) {
  std::string out;
  std::string rest = styled(text);
  for (size_t stop = 0; (stop = rest.find_first_of(".?", stop)) != std::string::npos; ++stop)
    if (stop + 1 < rest.size() && rest[stop + 1] == ' ') rest[stop + 1] = '\n';
  for (const std::string& line : split(rest, '\n'))
    out += (line[0] == '.' || line[0] == '\'' ? "\\&" : "") + line + "\n";
  return out;
}

std::string one_line(std::string_view lines) {
  std::string out;
  for (const std::string& line : split(std::string(lines), '\n')) out += (out.empty() ? "" : " ") + line;
  return out;
}

std::string rows(const HelpSection& section) {
  std::string out;
  for (const OptionHelp& row : section.options) {
    out += ".TP\n" + styled(row.words) + "\n";
    if (!row.brief.empty()) out += sentences(std::string(row.brief) + ".");
    if (!row.more.empty()) out += sentences(row.more);
  }
  return out;
}

std::string code(std::string_view lines) {
  std::string out = ".nf\n";
  for (const std::string& line : split(std::string(lines), '\n')) out += literal(line) + "\n";
  return out + ".fi\n";
}

std::string synopsis() {
  std::string out;
  for (const VerbHelp& verb : all_verbs()) {
    const std::string usage(verb.usage.substr(verb.name.size()));
    const std::string words = usage.substr(0, usage.find("   "));
    if (!out.empty()) out += ".br\n";
    out += "\\fBberth " + std::string(verb.name) + "\\fR" + styled(words) + "\n";
  }
  return out;
}

}  // namespace

std::string man_parts() {
  std::string out = "@@ SYNOPSIS\n" + synopsis();
  std::string examples;
  for (const VerbHelp& verb : all_verbs()) {
    examples += code(verb.examples);
    if (verb.about.empty()) {
      for (const HelpSection& section : verb.sections) {
        out += "@@ " + std::string(section.title) + "\n";
        if (!section.note.empty()) out += sentences("In short: " + std::string(section.note) + ".");
        out += rows(section);
      }
      continue;
    }
    out += "@@ " + std::string(verb.name) + "\n" + sentences(one_line(verb.about));
    for (const HelpSection& section : verb.sections) out += rows(section);
  }
  return out + "@@ EXAMPLES\n" + examples;
}

}  // namespace berth
