// Device: a GPU as its driver reports it at one moment. A plain value.
//
// Unknown is a value here, and never 0: what a driver does not say is nullopt, and whoever reads it
// has to decide what that means to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace berth {

// A process that the driver says has something on a device.
struct DeviceProcess {
  enum class Kind { compute, graphics };
  int64_t pid = 0;  // as Device::host_pids says
  Kind kind = Kind::compute;
  std::optional<int64_t> vram_bytes;
  friend bool operator==(const DeviceProcess&, const DeviceProcess&) = default;
};

// Who may open a device. NVML's compute mode; all others are `shared`.
enum class ComputeMode {
  shared,
  exclusive_process,  // one process at a time
  prohibited,         // none
};

struct Device {
  int index = 0;         // for people, over all vendors, in PCI order; can change between boots
  int vendor_index = 0;  // in its vendor's own order, as the number in its visibility variable counts
  std::string uuid;      // its identity
  std::string name;
  std::string vendor;  // "nvidia", "amd", "intel"; "simulated"
  bool simulated = false;
  std::string pci_address;                 // "0000:17:00.0"; "" where it has none
  int64_t vram_total_bytes = 0;            // 0: unknown
  std::optional<int64_t> vram_used_bytes;  // by anybody, without what the driver keeps for itself where it says so
  std::optional<int> util_pct;             // 0..100
  bool unified_memory = false;             // its memory is the machine's RAM
  std::string mig_parent;                  // a MIG device: the UUID of the card it is a slice of
  ComputeMode compute_mode = ComputeMode::shared;
  int numa_node = -1;              // -1: unknown
  std::vector<std::string> peers;  // UUIDs of the devices it has a fast link to (NVLink, xGMI)
  // Whether its driver counts processes as the initial PID namespace does (NVIDIA's); else they are read from our
  // own /proc.
  bool host_pids = false;
  bool processes_known = false;  // whether `processes` is all there is to say
  std::vector<DeviceProcess> processes;
  std::string trouble;  // not empty: it cannot be used now, in the driver's own words
  friend bool operator==(const Device&, const Device&) = default;
};

}  // namespace berth
