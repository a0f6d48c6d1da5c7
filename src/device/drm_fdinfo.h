// Who has what on a GPU, as the kernel tells of every open file of a DRM driver: /proc/PID/fdinfo/FD.
//
// Source: Documentation/gpu/drm-usage-stats.rst, and what amdgpu (5.19 and later), i915 (5.19; its
// memory 6.7), and xe (6.8) print. A file is readable to those who may trace its process: our own, and
// to root all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "device/device.h"
#include "device/sysfs.h"

namespace berth {

// One fdinfo.
struct DrmClient {
  std::string driver;
  PciAddress pci;
  std::optional<uint64_t> id;  // the same for all descriptors of one open file, in whatever process
  // What it has in the memory of the card, and in RAM for the card. nullopt: the driver does not say.
  std::optional<int64_t> vram_bytes;
  std::optional<int64_t> ram_bytes;
  bool computes = false;  // it has run something on an engine that only computes
};

// nullopt: not the fdinfo of a DRM file on a PCI device.
[[nodiscard]] std::optional<DrmClient> parse_drm_fdinfo(std::string_view text);

struct DrmHolding {
  int64_t pid = 0;
  DrmClient client;
};

struct DrmScan {
  // Every open DRM file that could be read, by pid; each once in a process.
  std::vector<DrmHolding> holdings;
  bool initial_pid_namespace = false;
  // Nothing was kept from us: we are in the initial PID namespace (so nobody lives where we cannot see
  // him), PID 1 was there and readable (so /proc is not mounted with hidepid), and so was all else.
  bool complete = false;
};

// Goes through all of /proc below `root`.
[[nodiscard]] DrmScan scan_drm_files(const std::string& root);

enum class MemoryOf { card, machine };

// The processes on one card, by pid, each once. `machine`: the card lives in RAM, and what counts is
// what it has there too.
//
// A file that two processes share (inherited, or passed on by a display server) is the same memory: it
// is counted for the lower pid, and is 0 for the other. A process that is known to have nothing is left
// out: a desktop opens every card there is, to look.
[[nodiscard]] std::vector<DeviceProcess> processes_on(const DrmScan& scan, const PciAddress& pci, MemoryOf memory);

}  // namespace berth
