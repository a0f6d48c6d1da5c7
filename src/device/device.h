// Device: a GPU as its driver reports it. A plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace berth {

struct Device {
  int index = 0;     // for people, in PCI order; can change between boots
  std::string uuid;  // its identity
  std::string name;
  std::string vendor;  // "nvidia", "amd", "intel"; "simulated"
  bool simulated = false;
  int64_t vram_total_bytes = 0;
  std::optional<int64_t> vram_used_bytes;  // nullopt: the driver does not say
  std::optional<int> util_pct;
};

// The devices of this machine. `sim_gpus` is the value of BERTH_SIM_GPUS or null; where it is set,
// simulated devices stand in for real ones. Errors: `usage` for a BERTH_SIM_GPUS that cannot be read.
// An empty list means that there is no device (and says nothing of why).
[[nodiscard]] Result<std::vector<Device>> probe_devices(const char* sim_gpus);

}  // namespace berth
