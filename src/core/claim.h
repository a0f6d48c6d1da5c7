// Claim: what a job asks for, all or nothing. A plain value, with resources by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

// Bounds on what one party may say. A record that goes past them is garbage.
inline constexpr size_t max_claim_counters = 12;
inline constexpr size_t max_claim_devices = 64;
inline constexpr size_t max_resource_name = 32;
inline constexpr int max_priority_magnitude = 1'000'000;

struct NamedAmount {
  std::string name;    // [A-Za-z0-9_.-]{1,32}; not one of gpu, vram, compute, on, link, numa
  int64_t amount = 0;  // 1 .. max_amount; bytes for ram
  friend bool operator==(const NamedAmount&, const NamedAmount&) = default;
};

// A device that its party may be seated on, as that party's own driver reports it.
struct DeviceRef {
  std::string uuid;
  int64_t vram_bytes = 0;
  // Devices of one number have a fast link between them, or hang on one NUMA node. 0 for all: nothing is
  // known, or it makes no difference.
  uint8_t link = 0;
  uint8_t numa = 0;
  friend bool operator==(const DeviceRef&, const DeviceRef&) = default;
};

// `count` devices, each either whole (nobody beside us) or a share of it.
struct GpuClaim {
  int count = 0;  // 0: no GPU at all
  bool whole = true;
  int64_t vram_bytes = 0;  // on each device; 0 when whole
  int compute_pct = 0;     // 0..100 on each device; 0 when whole
  friend bool operator==(const GpuClaim&, const GpuClaim&) = default;
};

// Whether what was asked for like that from inside of a lease leaves its memory to that lease: a turn.
[[nodiscard]] inline bool uses_memory_of_lease(const GpuClaim& gpu) {
  return gpu.count > 0 && !gpu.whole && gpu.vram_bytes == 0;
}

struct Claim {
  std::vector<NamedAmount> counters;  // no name twice
  GpuClaim gpu;
  std::vector<DeviceRef> eligible;  // the devices it may use, in the order of their index
  friend bool operator==(const Claim&, const Claim&) = default;
};

// True for a name that a counter may have.
[[nodiscard]] bool valid_resource_name(std::string_view name);

// Of that counter; 0: it is not claimed.
[[nodiscard]] int64_t amount_of(const Claim& claim, std::string_view counter);

// "1 GPU with 8 GiB, 4 cpu, 16 GiB ram": for people.
[[nodiscard]] std::string describe(const Claim& claim);
// The amount of one counter for people: bytes for ram, a count for all else.
[[nodiscard]] std::string describe_amount(const std::string& name, int64_t amount);

}  // namespace berth
