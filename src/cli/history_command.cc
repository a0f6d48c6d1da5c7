// history: what ran, how long it waited, what it used and how it ended.
#include <pwd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>

#include "base/result.h"
#include "base/sys.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/history_text.h"
#include "cli/say.h"
#include "history/gather.h"

namespace berth {

namespace {

constexpr int64_t usual_rows = 40;  // of the table; JSON is for programs, which are given all

struct HistoryOptions {
  bool help = false;
  bool json = false;
  HistoryFilter filter;
};

Error usage(std::string sentence) { return Error{ErrorKind::usage, 0, std::move(sentence)}; }

Result<int64_t> uid_of(const std::string& name) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return int64_t{found->pw_uid};
  const auto number = parse_count(name);
  if (number && *number < int64_t{UINT32_MAX}) return *number;
  return usage("there is no user " + printable(name));
}

Result<> take(HistoryOptions& options, const std::string& name, const std::string& value) {
  HistoryFilter& filter = options.filter;
  if (name == "--label") {
    filter.label = kept_text(value);
    return success();
  }
  if (name == "--user") {
    const auto uid = uid_of(value);
    if (!uid) return uid.error();
    filter.uid = *uid;
    return success();
  }
  if (name == "--since") {
    const auto since = parse_since_us(value, wall_us());
    if (!since)
      return usage("--since " + printable(value) +
                   " is no time: say 2h, 2026-11-21, \"2026-11-21 10:30\" or @1795277061");
    filter.since_us = *since;
    return success();
  }
  const auto limit = parse_count(value);
  if (!limit || *limit == 0 || *limit > max_amount / 2)
    return usage("--limit " + printable(value) + " is not a number from 1 up");
  filter.limit = *limit;
  return success();
}

// The long name of an option that takes a value, or "".
std::string valued(const std::string& name) {
  if (name == "-l" || name == "--label" || name == "--name") return "--label";
  if (name == "-u" || name == "--user") return "--user";
  if (name == "-n" || name == "--limit") return "--limit";
  return name == "--since" ? name : "";
}

// A value is the exit status of a wrong call, said.
std::optional<int> parse(const Words& words, HistoryOptions& options) {
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--help" || word == "-h") return options.help = true, std::nullopt;
    if (word == "--json") {
      options.json = true;
      continue;
    }
    // --limit=5, -n5, or the value is the next word.
    const bool is_long = word.starts_with("--");
    const size_t end = is_long ? word.find('=') : word.size() > 2 ? 2 : std::string::npos;
    const std::string name = valued(word.substr(0, end));
    if (name.empty()) return fail_unknown("history", word);
    if (end == std::string::npos && i + 1 == words.size()) return fail_usage("history", word + " needs a value");
    const std::string value = end == std::string::npos ? words[++i] : word.substr(end + (is_long ? 1 : 0));
    if (auto took = take(options, name, value); !took) return fail_usage("history", took.error().message);
  }
  if (!options.json && options.filter.limit == 0) options.filter.limit = usual_rows;
  return std::nullopt;
}

size_t window_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace

int history_command(const Words& words) {
  HistoryOptions options;
  if (const auto failed = parse(words, options)) return *failed;
  if (options.help) return put(help_text("history")) ? exit_status::ok : exit_status::unavailable;
  const auto where = own_history();
  Gathered gathered;
  if (where)
    gathered = gather_history(*where, options.filter);
  else
    gathered.note = "no history is kept: BERTH_HISTORY is off, or neither XDG_STATE_HOME nor HOME is a path";
  if (!gathered.note.empty()) say(gathered.note);
  const int64_t now_us = wall_us();
  const std::string text =
      options.json ? history_json(gathered.jobs, now_us) + "\n" : history_text(gathered.jobs, now_us, window_width());
  return put(text) && !gathered.incomplete ? exit_status::ok : exit_status::unavailable;
}

}  // namespace berth
