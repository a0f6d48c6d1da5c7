// Which of the machine's devices a claim may use, best first. Pure, but for inherited_visibility().
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/options.h"
#include "core/claim.h"
#include "device/device.h"

namespace berth {

// What the caller's environment leaves us of each vendor's devices; nullopt: it does not say.
struct InheritedVisibility {
  std::optional<std::string> cuda;  // CUDA_VISIBLE_DEVICES: nvidia's, and simulated ones
  std::optional<std::string> rocr;  // ROCR_VISIBLE_DEVICES: amd's
  std::optional<std::string> ze;    // ZE_AFFINITY_MASK: intel's
};
[[nodiscard]] InheritedVisibility inherited_visibility();

// By --only, --exclude, --min-free and what was inherited. In the order in which they are preferred
// where the plan sees no difference: the most free memory, the least load, the lowest index. Errors:
// `usage` for a device that is not there.
[[nodiscard]] Result<std::vector<DeviceRef>> eligible_devices(const RunOptions& options,
                                                              const std::vector<Device>& devices,
                                                              const InheritedVisibility& inherited);

}  // namespace berth
