// MemoryProof: whether a lease has really let go of its GPUs' memory, by the driver's word.
//
// "200 OK" is not free memory: a model server says that it unloads and goes on doing so for seconds. So the
// driver is asked again and again, in a process of its own (device/probe_run.h), until it shows next to nothing of
// the lease any more. What it does not know is not nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "device/probe_run.h"
#include "engine/usage_watch.h"

namespace berth {

class MemoryProof {
 public:
  // As UsageWatch. `for_whole_cards`: whoever is to have them shares them with nobody, so nothing may be left there.
  MemoryProof(std::vector<UsageLimit> limits, std::function<std::vector<LeaseRoot>()> leases, bool for_whole_cards);

  // Readable when act() has something to do; -1: nothing is under way.
  [[nodiscard]] int fd() const { return run_ ? run_->fd() : -1; }
  [[nodiscard]] int64_t due_us() const;
  // Does what is due; never blocks. True once the memory is seen to be free.
  [[nodiscard]] bool act();
  // Whether this process asks the drivers for us.
  [[nodiscard]] bool owns(pid_t pid) const { return run_ && run_->is(pid); }

 private:
  std::vector<UsageLimit> limits_;
  std::function<std::vector<LeaseRoot>()> leases_;
  std::optional<ProbeRun> run_;
  int64_t next_us_;
  int64_t pace_us_;
  bool for_whole_cards_;
};

// Whether `lease` uses at most `rest` of the device; false where that cannot be told. Pure.
[[nodiscard]] bool has_let_go(const DeviceOccupancy& use, const PartyKey& lease, int64_t rest_bytes);

}  // namespace berth
