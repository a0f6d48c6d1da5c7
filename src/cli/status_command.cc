#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/sys.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/notes.h"
#include "cli/pool_access.h"
#include "cli/say.h"
#include "cli/status_json.h"
#include "cli/status_text.h"
#include "device/probe_run.h"

namespace berth {

namespace {

// Columns of the window that stdout is, or 0 for anything else, which takes lines of any length.
size_t window_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

// A pool that nobody has made yet is an empty one with the machine's figures.
Result<PoolView> view_or_empty(const Picture& picture) {
  auto pool = open_pool(LocalPool::IfMissing::fail);
  if (pool.ok()) {
    auto view = view_pool(*pool, picture);
    if (!view.ok() || pool->config() != nullptr) return view;
    for (const NamedAmount& c : machine_figures().capacities)
      if (const auto at = view->snapshot.intern_resource(c.name); at) view->snapshot.resources[*at].capacity = c.amount;
    return view;
  }
  if (pool.error().sys_errno != ENOENT) return pool.error();
  PoolView view;
  view.path = default_pool_path(std::getenv("BERTH_POOL"));
  view.now_us = wall_us();
  view.devices = picture.devices;
  view.complaints = picture.complaints;
  ReadProcesses processes(picture.processes);
  view.uses = occupancy(picture.devices, {}, processes);
  view.notes = notes_on_place();
  for (const NamedAmount& c : machine_figures().capacities) view.snapshot.resources.push_back({c.name, c.amount});
  return view;
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
  // A driver that hangs is one more thing to report, and no reason to be silent about all else.
  constexpr int64_t patience_us = 3'000'000;
  auto picture = probe_devices(std::getenv("BERTH_SIM_GPUS"), sysfs_root(), std::min(patience_us, probe_limit_us()));
  if (!picture && picture.error().kind == ErrorKind::usage) return fail(picture.error());
  auto view = view_or_empty(picture ? *picture : Picture{{}, {picture.error().message}, 0, 0, {}});
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
