// What a command finds in its environment. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "device/device.h"

namespace berth {

struct LeaseEnvironment {
  std::string id;  // empty: it runs without a lease
  std::string pool;
  int life_fd = -1;                // -1: the command inherits none
  std::string tokens;              // BERTH_LEASE: who can say one of them is inside that lease
  std::vector<Device> devices;     // granted; empty leaves the visibility variables alone
  bool visible_by_uuid = false;    // CUDA_VISIBLE_DEVICES as UUIDs instead of indices
  std::optional<int64_t> threads;  // caps for the usual thread pools
  std::string processors;          // those that are its own, "0-3,8"; empty: it has none
  int64_t vram_cap_bytes = 0;      // of each device, for frameworks that take a limit; 0: none is set
  int compute_cap_pct = 0;         // the same, of each device's compute
  bool mps_runs = false;           // whether what only NVIDIA's MPS heeds is worth setting
};

// `inherited` ("NAME=value" each) with what the lease says put in place of what stood there.
[[nodiscard]] std::vector<std::string> lease_environment(const std::vector<std::string>& inherited,
                                                         const LeaseEnvironment& lease);

// What frameworks take for a limit on their own use of a GPU, as "NAME=value": advice that the job's own
// libraries follow, not a fence. `inherited` as above: a PyTorch setting is added to, not replaced.
[[nodiscard]] std::vector<std::string> framework_caps(const std::vector<std::string>& inherited,
                                                      const LeaseEnvironment& lease);

// The command as one line for people, quoted where a shell would need it.
[[nodiscard]] std::string command_line(const std::vector<std::string>& argv);

}  // namespace berth
