// What processes have of the machine's memory, by /proc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

// The threads' children of a process, dead or alive; empty where the kernel does not say. `proc`: "/proc".
[[nodiscard]] std::vector<pid_t> children_of(const std::string& proc, pid_t parent);

// What a process has of its own or shares with others, in memory and in swap, but for files that the kernel
// could drop: RssAnon, RssShmem and VmSwap of /proc/PID/status. What a fork left shared is counted in both.
[[nodiscard]] std::optional<int64_t> bytes_in_status(std::string_view status);

// What of it is in swap.
[[nodiscard]] std::optional<int64_t> swapped_in_status(std::string_view status);

// The same from /proc/PID/smaps_rollup, where what is shared counts in part. Reading that file waits for whoever
// has the process's memory locked.
[[nodiscard]] std::optional<int64_t> bytes_in_rollup(std::string_view rollup);

// The sum of it over a process and all below it.
[[nodiscard]] int64_t tree_bytes(const std::string& proc, pid_t root);

}  // namespace berth
