#include "cli/status_look.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/sys.h"
#include "cli/notes.h"
#include "cli/pool_access.h"
#include "device/probe_run.h"

namespace berth {

namespace {

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

Result<PoolView> look_at_pool() {
  constexpr int64_t patience_us = 3'000'000;
  auto picture = probe_devices(std::getenv("BERTH_SIM_GPUS"), sysfs_root(), std::min(patience_us, probe_limit_us()));
  if (!picture && picture.error().kind == ErrorKind::usage) return picture.error();
  return view_or_empty(picture ? *picture : Picture{{}, {picture.error().message}, 0, 0, {}});
}

}  // namespace berth
