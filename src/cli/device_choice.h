// Which of the machine's devices a claim may use, best first. Pure, but for inherited_visibility().
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/options.h"
#include "core/claim.h"
#include "device/device.h"
#include "device/probe_run.h"

namespace berth {

// What the caller's environment leaves us of each vendor's devices; nullopt: it does not say.
struct InheritedVisibility {
  std::optional<std::string> cuda;  // CUDA_VISIBLE_DEVICES: nvidia's, and simulated ones
  std::optional<std::string> rocr;  // ROCR_VISIBLE_DEVICES: amd's
  std::optional<std::string> ze;    // ZE_AFFINITY_MASK: intel's
};
[[nodiscard]] InheritedVisibility inherited_visibility();
// Of that, what says more than the leases around us: a variable that names exactly the cards of the innermost
// one, two ... of them was set for these, and says nothing. `leases`: the UUIDs of each, innermost first.
[[nodiscard]] InheritedVisibility beyond_leases(const InheritedVisibility& inherited,
                                                const std::vector<Device>& devices,
                                                const std::vector<std::vector<std::string>>& leases);

// The complaint, where a driver says that there is a card which it cannot name: those after it have moved up,
// and a number may mean another card to us than to whoever wrote it. "" where all cards are known.
[[nodiscard]] std::string missing_card(const Picture& picture);
// Whether the choice hangs on a number.
[[nodiscard]] bool chooses_by_number(const RunOptions& options, const InheritedVisibility& inherited);

// By --only, --exclude, --min-free and what was inherited. In the order in which they are preferred
// where the plan sees no difference: the most free memory, the least load, the lowest index. Errors:
// `usage` for a device that is not there.
[[nodiscard]] Result<std::vector<DeviceRef>> eligible_devices(const RunOptions& options,
                                                              const std::vector<Device>& devices,
                                                              const InheritedVisibility& inherited);

}  // namespace berth
