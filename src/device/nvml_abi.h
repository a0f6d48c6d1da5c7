// The few facts of NVML's binary interface that berth needs: structures, versions, codes.
//
// NVML is asked through dlopen, for its header is in no distribution's free part and a machine without
// an NVIDIA driver must run berth all the same. The names here are ours; the layouts are those of
// nvml.h from API 7 to 13 on 64-bit Linux. What differed between drivers is told where it matters.
//
// Rule of the interface: a call that has changed has a suffix (_v2, _v3), and libnvidia-ml.so.1 keeps
// the older ones. The header's plain names are macros for the newest; the plain symbols are the oldest.
#pragma once

#include <cstddef>
#include <cstdint>

namespace berth::nvml {

// nvmlReturn_t: an enum in C, so an int. Only those that are told apart.
using Return = int;
inline constexpr Return success = 0;
inline constexpr Return invalid_argument = 2;
inline constexpr Return not_supported = 3;
inline constexpr Return not_found = 6;
inline constexpr Return insufficient_size = 7;
inline constexpr Return function_not_found = 13;  // also ours, for a call that this driver lacks
inline constexpr Return gpu_is_lost = 15;         // fell off the bus
inline constexpr Return reset_required = 16;      // of no use before
inline constexpr Return operating_system = 17;    // blocked by a cgroup
inline constexpr Return unknown_error = 999;      // also what a GPU that is lost may answer

struct Opaque;
using Handle = Opaque*;  // nvmlDevice_t: a card, or a MIG device. The library's; valid until nvmlShutdown

// NVML_DEVICE_UUID_V2_BUFFER_SIZE, NVML_DEVICE_NAME_V2_BUFFER_SIZE: the older 80 and 64 are too small for MIG.
inline constexpr unsigned text_size = 96;

// nvmlPciInfo_t of _v3. The structures of the older calls begin alike up to `device` and are shorter, so
// this one holds any of them, and only those four fields mean the same in all.
struct PciInfo {
  char bus_id_legacy[16];
  unsigned domain;
  unsigned bus;
  unsigned device;
  unsigned pci_device_id;
  unsigned pci_subsystem_id;
  char bus_id[32];
};
static_assert(sizeof(PciInfo) == 68 && offsetof(PciInfo, domain) == 16 && offsetof(PciInfo, bus_id) == 36);

struct MemoryV1 {
  uint64_t total;
  uint64_t free;
  uint64_t used;  // with what the driver keeps for itself: total = free + used
};
static_assert(sizeof(MemoryV1) == 24);

// From driver 510. `version` is the size with the number of the version above it, set by the caller; the
// documentation's "must be 2" is wrong and answered by FUNCTION_NOT_FOUND (nvidia-settings issue 78).
struct MemoryV2 {
  unsigned version;
  uint64_t total;
  uint64_t reserved;
  uint64_t free;
  uint64_t used;
};
static_assert(sizeof(MemoryV2) == 40 && offsetof(MemoryV2, total) == 8);
inline constexpr unsigned memory_v2_version = sizeof(MemoryV2) | (2U << 24);
static_assert(memory_v2_version == 0x02000028);

struct Utilization {
  unsigned gpu;  // percent of the last second or less during which a kernel ran
  unsigned memory;
};
static_assert(sizeof(Utilization) == 8);

// An entry of the lists of processes. Three sizes are about, and the name of the call does not tell which:
//   16  the plain calls; and the _v3 calls of at least one driver (nvitop issue 226)
//   24  _v2 (API 11) and _v3 (510), with the ids of the MIG instance; 0xffffffff: none
//   32  _v3 of drivers 535.43 to 535.86, with protected memory; taken back in 535.98 (nvitop issues 79, 89, 94)
// They begin alike.
struct ProcessV1 {
  unsigned pid;
  uint64_t used_bytes;  // all ones: not known
};
struct ProcessV2 {
  unsigned pid;
  uint64_t used_bytes;
  unsigned gpu_instance_id;
  unsigned compute_instance_id;
};
struct ProcessV3 {
  unsigned pid;
  uint64_t used_bytes;
  unsigned gpu_instance_id;
  unsigned compute_instance_id;
  uint64_t protected_bytes;
};
static_assert(sizeof(ProcessV1) == 16 && sizeof(ProcessV2) == 24 && sizeof(ProcessV3) == 32);
static_assert(offsetof(ProcessV1, used_bytes) == 8 && offsetof(ProcessV2, used_bytes) == 8 &&
              offsetof(ProcessV3, used_bytes) == 8);
inline constexpr uint64_t value_not_available = ~uint64_t{0};  // NVML_VALUE_NOT_AVAILABLE

// Enumerations travel as unsigned.
inline constexpr unsigned feature_enabled = 1;            // nvmlEnableState_t: a link that is up
inline constexpr unsigned mig_enabled = 1;                // NVML_DEVICE_MIG_ENABLE
inline constexpr unsigned compute_prohibited = 2;         // nvmlComputeMode_t; 1, one thread, is gone since CUDA 8
inline constexpr unsigned compute_exclusive_process = 3;  //
inline constexpr unsigned link_to_gpu = 0;                // nvmlIntNvLinkDeviceType_t
inline constexpr unsigned link_to_npu = 1;                // a POWER9's own
inline constexpr unsigned link_to_switch = 2;             // anything else: unknown

}  // namespace berth::nvml
