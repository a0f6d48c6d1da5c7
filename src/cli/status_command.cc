#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/say.h"
#include "cli/status_json.h"
#include "cli/status_look.h"
#include "cli/status_text.h"

namespace berth {

namespace {

// Columns of the window that stdout is, or 0 for anything else, which takes lines of any length.
size_t window_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace

int status_command(const Words& words) {
  bool json = false;
  bool brief = false;
  for (const std::string& word : words) {
    if (word == "--help" || word == "-h") return put(help_text("status")) ? exit_status::ok : exit_status::unavailable;
    if (word == "--json")
      json = true;
    else if (word == "--short")
      brief = true;
    else
      return fail_unknown("status", word);
  }
  auto view = look_at_pool();
  if (!view) return fail(view.error());
  std::string text;
  if (json)
    text = status_json(*view) + "\n";
  else if (brief)
    text = short_text(*view);
  else
    text = status_text(*view, window_width());
  return put(text) ? exit_status::ok : exit_status::unavailable;
}

}  // namespace berth
