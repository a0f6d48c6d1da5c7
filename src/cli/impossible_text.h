// Why a claim can never be met here: by how much, and what is at fault. Pure.
#pragma once

#include <string>
#include <vector>

#include "cli/device_choice.h"
#include "cli/options.h"
#include "device/device.h"
#include "sched/plan.h"

namespace berth {

// "can never run here: it asks for 2 GPUs, but --only 0 leaves 1 of the 2 here". `devices`: all that the probe
// saw. Named is the filter without which there would be enough; where no single one is, all that leave some out.
[[nodiscard]] std::string impossible_text(const std::vector<Shortfall>& shortfalls, const RunOptions& options,
                                          const std::vector<Device>& devices, const InheritedVisibility& inherited);

}  // namespace berth
