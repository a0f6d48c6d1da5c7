// All probes at once, in a process of their own that can be given up.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "device/device.h"

namespace berth {

// The devices of this machine. `sim_gpus` is the value of BERTH_SIM_GPUS or null; where it is set,
// simulated devices stand in for real ones. Errors: `usage` for a BERTH_SIM_GPUS that cannot be read.
// An empty list means that there is no device (and says nothing of why).
[[nodiscard]] Result<std::vector<Device>> probe_devices(const char* sim_gpus);

}  // namespace berth
