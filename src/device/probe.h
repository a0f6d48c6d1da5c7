// Probe: one vendor's driver, asked once.
//
// A probe may load a vendor's library, and the driver behind it may hang or crash. So probes run in a
// process of their own (probe_run.h) that has a time limit; nothing here is called by a process that
// holds a place.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "device/device.h"

namespace berth {

// What one vendor's driver said. Both may hold something: a machine with four cards of which one is
// lost has four devices, one of them with `trouble`.
struct Sighting {
  std::vector<Device> devices;          // by PCI address; `vendor_index` filled in, `index` not
  std::vector<std::string> complaints;  // one line each: why a driver that is there says nothing, in its own words
};

// Each returns an empty Sighting where the vendor has nothing on this machine. None throws. Not
// thread-safe. May block for as long as the driver does.
// `root`: "" for this machine, or a directory that has sys/ and proc/ of another one, recorded. (NVIDIA's driver
// is this machine's all the same: it is asked, and only what the kernel says beside it is read there.)
[[nodiscard]] Sighting probe_nvidia(const std::string& root);
[[nodiscard]] Sighting probe_amd(const std::string& root);
[[nodiscard]] Sighting probe_intel(const std::string& root);

// Simulated devices from "2x24G" or "24G,48G". Errors: `usage` for a text that cannot be read.
[[nodiscard]] Result<std::vector<Device>> simulated_devices(const std::string& text);

}  // namespace berth
