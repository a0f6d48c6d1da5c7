// Survivors: processes of a job that closed even its life.
//
// sudo, daemons and careful programs close every descriptor they do not know. So a supervisor writes
// down the pids of its command, and of what the command leaves running, beside the life. A life that is
// closed while one of them still runs is not dead. A pid alone may be another's by now; with the time its
// process was started it is not. This may only delay a release, never cause one: who cannot be seen from
// here (another PID namespace) is as if he were not written down.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

inline constexpr size_t max_survivors = 64;

// "PIDNS PID:START PID:START ...", START in the kernel's ticks since boot (proc(5), field 22 of stat).
// Those that do not run, and those past the bound, are left out; "" if none is left.
[[nodiscard]] std::string encode_survivors(const std::vector<pid_t>& pids);

struct StillRunning {
  std::vector<pid_t> pids;
  bool unsure = false;  // others may run as well: we lack what it takes to look (a descriptor, memory)
};
// Those of such a text that run now. Takes any bytes.
[[nodiscard]] StillRunning still_running(std::string_view text);
// Whether a call that looks for a survivor, and failed so, says that there is none. Every other errno is
// our own want, and says nothing of him.
[[nodiscard]] bool says_gone(int failed);

}  // namespace berth
