// /proc/PID/stat, read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace berth {

struct ProcessStat {
  std::string name;  // as the process calls itself: any bytes
  char state = '?';  // R, S, D, T, Z ...
  int64_t parent = 0;
  uint64_t flags = 0;  // PF_*, include/linux/sched.h
  int64_t threads = 0;
  int64_t start_ticks = 0;  // since boot, in sysconf(_SC_CLK_TCK) a second

  // False for one that is dead and not taken in yet. Where only its first thread has ended the state says
  // Z as well, and others run on.
  [[nodiscard]] bool runs() const { return state != 'X' && (state != 'Z' || threads > 1); }
};

// "pid (name) state ppid ...", proc(5). The name may hold anything, so the last ')' ends it. nullopt for
// any other text.
[[nodiscard]] std::optional<ProcessStat> parse_process_stat(std::string_view text);

}  // namespace berth
