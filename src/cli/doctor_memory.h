// doctor, for the machine's memory: whether it is in trouble, what of that this kernel tells, and what a job that
// claims ram is held by here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/machine_memory.h"
#include "run/service_manager.h"

namespace berth {

struct MemoryFinding {
  std::string sentence;
  std::string mend;  // "": there is nothing to do
  bool is_wrong = false;
  friend bool operator==(const MemoryFinding&, const MemoryFinding&) = default;
};

// A process with something in swap.
struct SwapUser {
  int64_t pid = 0;
  std::string name;
  std::string lease;  // its id, or ""
  int64_t bytes = 0;
};

struct MemorySurroundings {
  MemoryFigures figures;
  bool pressure_is_told = true;
  bool cgroup_can_be_made = false;
  NoManager no_manager;              // where it cannot
  bool swap_is_limited = true;       // of a group of ours
  std::vector<SwapUser> swap_users;  // who has most first; of a swap that is nearly full
};

// `root` as in own_memory_cgroup(). `leases`: the ids of the leases by the process that stands for each.
[[nodiscard]] MemorySurroundings memory_surroundings(const std::string& root,
                                                     const std::map<int64_t, std::string>& leases);

// Pure.
[[nodiscard]] std::vector<MemoryFinding> memory_findings(const MemorySurroundings& around);

}  // namespace berth
