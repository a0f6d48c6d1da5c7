// The memory controller of cgroups, version 2 or 1: which group this process is in, and what that may have.
//
// A kernel has either; on a machine with both mounted the controller is with version 1. Where none of it is to be
// found (a container that sees no cgroups, a sandbox) there is no group, and nothing is known.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace berth {

struct MemoryCgroup {
  int version = 2;
  std::string mount;  // where the hierarchy is mounted
  std::string path;   // our own group's directory, at or below `mount`
};

// `root` stands before /proc and /sys; "" for this machine's own.
[[nodiscard]] std::optional<MemoryCgroup> own_memory_cgroup(const std::string& root);
// The same of another process.
[[nodiscard]] std::optional<MemoryCgroup> memory_cgroup_of(const std::string& root, pid_t pid);

// How many bytes more this group and those above it may have, what the kernel could drop counted as free;
// nullopt where nobody set a limit.
[[nodiscard]] std::optional<int64_t> memory_left(const MemoryCgroup& group);

// The lowest limit of this group and those above it; nullopt as above.
[[nodiscard]] std::optional<int64_t> memory_limit(const MemoryCgroup& group);

// "name value" lines, as in memory.stat and memory.events: the value of one of them.
[[nodiscard]] std::optional<int64_t> value_in(const std::string& path, const std::string& name);

}  // namespace berth
