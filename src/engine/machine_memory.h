// MachineMemory: the machine's word on memory, by its kernel's own figures.
//
// Two questions. Is there as much as is asked for, beside what leases that have begun have yet to use? And
// is the machine in trouble already, so that whoever comes in makes it worse for all? Files that are not
// there (no PSI, no swap, no cgroups, a recorded machine) do not count. What the numbers are and why:
// docs/adr/0010.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/memory_cgroup.h"
#include "engine/machine_word.h"
#include "engine/occupancy.h"

namespace berth {

struct MemoryFigures {
  std::optional<int64_t> total_bytes;
  std::optional<int64_t> available_bytes;
  int64_t swap_total_bytes = 0;
  int64_t swap_free_bytes = 0;
  std::optional<double> stalled_pct;      // of the last ten seconds in which some process waited for memory
  std::optional<int64_t> own_left_bytes;  // what our own cgroup leaves us
};

// `root` as in own_memory_cgroup(). Of the pressure only where it can decide something.
[[nodiscard]] MemoryFigures read_memory_figures(const std::string& root, const std::optional<MemoryCgroup>& group);

// Whether the machine is short of memory and suffers from it; "" where it does not.
[[nodiscard]] std::string memory_trouble(const MemoryFigures& figures);

// What each lease uses so far, in bytes. Who is not in it is not known.
using LeaseUsage = std::map<PartyKey, int64_t>;

// MachineWord::refusal() as a function of what was read. Pure.
[[nodiscard]] std::string memory_refusal(const MemoryFigures& figures, const LeaseUsage& usage,
                                         const Snapshot& snapshot, const std::vector<bool>& dead, int index,
                                         MachineWord::Stand stand);

// A lease that claimed some of the memory, and where its processes are.
struct RamLease {
  LeaseRoot root;
  int64_t ram_bytes = 0;
};

class MachineMemory : public MachineWord {
 public:
  // `ram_bytes`: what is claimed of it; 0: processors only. `leases` reads who holds how much ram, from a pool,
  // without its lock; called where the figures alone do not say yes.
  MachineMemory(std::string root, int64_t ram_bytes, std::function<std::vector<RamLease>()> leases)
      : root_(std::move(root)),
        ram_bytes_(ram_bytes),
        leases_(std::move(leases)),
        group_(ram_bytes > 0 ? own_memory_cgroup(root_) : std::nullopt) {}

  void look() override;
  [[nodiscard]] std::string refusal(const Snapshot& snapshot, const std::vector<bool>& dead, int index,
                                    Stand stand) const override {
    return memory_refusal(figures_, usage_, snapshot, dead, index, stand);
  }

 private:
  std::string root_;
  int64_t ram_bytes_;
  std::function<std::vector<RamLease>()> leases_;
  std::optional<MemoryCgroup> group_;
  MemoryFigures figures_;
  LeaseUsage usage_;
};

}  // namespace berth
