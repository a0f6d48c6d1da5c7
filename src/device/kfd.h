// What AMD's compute driver (KFD) shows in sysfs: the order in which ROCm counts the GPUs, who is
// linked to whom, and how much memory each process has where.
//
// Source: drivers/gpu/drm/amd/amdkfd/kfd_topology.c and kfd_process.c of Linux 5.10 to 6.12.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "device/sysfs.h"

namespace berth {

// A node of the topology that computes: a card, or one partition of a card (MI300 in a mode but SPX).
struct KfdGpu {
  int64_t node = 0;                 // its number in the topology
  uint64_t gpu_id = 0;              // KFD's own name for it; never 0
  PciAddress pci;                   // of the card; partitions of one card have the same
  uint64_t unique_id = 0;           // 0: it has none
  std::string render_node;          // "/dev/dri/renderD128"; "" where it is not known
  std::vector<int64_t> xgmi_nodes;  // nodes that an xGMI link goes to; the processor's may be among them
};

struct KfdTopology {
  bool present = false;       // there is a KFD
  bool some_refused = false;  // some nodes are not ours to see: a device cgroup keeps their GPU from us
  // Those whose render node we may not open, or that have none here, as in a container that was given
  // some of the cards. ROCm passes them over and does not count them (libhsakmt's
  // topology_sysfs_check_node_supported).
  std::vector<KfdGpu> closed;
  // In the order of their nodes. It is the order in which ROCR_VISIBLE_DEVICES counts: ROCr goes through
  // the nodes from 0 up and counts those with compute cores (simd_count) that it may read, integrated
  // ones too (amd_filter_device.cpp, amd_topology.cpp). It is mostly, but need not be, the PCI order:
  // nodes stand in the order in which the driver took up the cards.
  std::vector<KfdGpu> gpus;
};

[[nodiscard]] KfdTopology read_kfd_topology(const std::string& root);

// pid -> bytes of device memory on the GPUs with one of these ids. PIDs are those of the initial
// namespace; everybody may read them, so this knows of other users' processes too. One that has nothing
// there is left out: KFD shows each process that opened it with a file for each card.
[[nodiscard]] std::map<int64_t, int64_t> read_kfd_processes(const std::string& root,
                                                            const std::vector<uint64_t>& gpu_ids);

}  // namespace berth
