// What the options of a place say, from their words to RunOptions. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/options.h"

namespace berth {

// As getopt_long() gives them; those with a short form have its letter.
enum OptionCode : int {
  opt_gpus = 'g',
  opt_resource = 'r',
  opt_priority = 'p',
  opt_label = 'l',
  opt_help = 'h',
  opt_vram = 256,
  opt_compute,
  opt_turn,
  opt_only,
  opt_exclude,
  opt_min_free,
  opt_max_util,
  opt_cpu,
  opt_ram,
  opt_no_wait,
  opt_timeout,
  opt_expect,
  opt_threads,
  opt_dry_run,
  opt_on_timeout,
  opt_on_lost,
  opt_reclaimable,
  opt_idle,
  opt_on_reclaim,
  opt_on_return,
  opt_reclaim_signal,
  opt_preemptible,
  opt_requeue,
  opt_over_use,
  opt_cap,
  opt_limit,
  opt_grace,
  opt_until,
  opt_exec,
  opt_nice,
  opt_idle_io,
  opt_pin,
  opt_visible,
  opt_for,
  opt_ttl,
  opt_print,
};

struct GivenOption {
  int code = 0;
  std::string value;  // "" where it takes none
};

// In the order of the command line. Errors: usage, for a value that cannot be read and for options that do not go
// together. The verb and the command are left to the caller.
[[nodiscard]] Result<RunOptions> read_options(const std::vector<GivenOption>& given);

}  // namespace berth
