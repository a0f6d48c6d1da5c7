// AMD's GPUs from amdgpu's and KFD's files in sysfs; no library.
//
// Identity. ROCm names a GPU "GPU-" and 16 hexadecimal digits of its unique_id, a number burnt into the
// chip, and ROCR_VISIBLE_DEVICES takes that name (without regard to case). It is the UUID here. Where a
// GPU has none (APUs, most cards before Vega and many a Radeon of RDNA 1), or two GPUs claim the same,
// the UUID is "PCI-" and the address: "PCI-0000:03:00.0". It is as stable as the slot, and no variable
// takes it: such a GPU is shown to a job by its index alone.
//
// Order. vendor_index counts as ROCR_VISIBLE_DEVICES does, in the order of KFD's nodes (see kfd.h), and
// counts GPUs that are not devices here too. A card that KFD does not know follows after all it knows:
// ROCm cannot use it, Vulkan and OpenCL can.
#include <algorithm>
#include <array>
#include <cstdio>

#include "base/text.h"
#include "device/drm_fdinfo.h"
#include "device/kfd.h"
#include "device/pci_name.h"
#include "device/probe.h"
#include "device/sysfs.h"

namespace berth {

namespace {

constexpr uint32_t amd = 0x1002;
constexpr uint32_t mi300a = 0x74A0;  // its memory is the machine's; see is_integrated()

struct Pool {
  std::optional<int64_t> total;
  std::optional<int64_t> used;
};

// `name`: "vram", the memory of the card or what firmware carved out of RAM; "gtt", what of RAM the
// driver will lend.
Pool read_pool(const DrmCard& card, const std::string& name) {
  const std::string file = card.device_dir + "/mem_info_" + name;
  return {read_count(file + "_total"), read_count(file + "_used")};
}

// An APU has two pools, and what runs on it mostly takes from the larger one: since Linux 6.10 ROCm does
// so by rule. If that is the carve-out, it is taken out of RAM for good, and the machine knows nothing of
// it any more: as good as a card of its own.
void fill_memory(const DrmCard& card, Device& device) {
  const Pool vram = read_pool(card, "vram");
  Pool pool = vram;
  const bool apu = card.device_id == mi300a || is_integrated(card);
  if (apu) {
    const Pool gtt = read_pool(card, "gtt");
    const bool lent = gtt.total.value_or(0) > vram.total.value_or(0);
    if (lent) pool = gtt;
    device.unified_memory = lent || card.device_id == mi300a;
  }
  device.vram_total_bytes = pool.total.value_or(0);
  device.vram_used_bytes = pool.used;
}

// The load of a card that sleeps is 0, and to ask for it would wake it.
std::optional<int> load_of(const DrmCard& card) {
  if (read_word(card.device_dir + "/power/runtime_status") == "suspended") return 0;
  const auto percent = read_count(card.device_dir + "/gpu_busy_percent");
  if (!percent || *percent > 100) return std::nullopt;
  return static_cast<int>(*percent);
}

std::string uuid_of(const DrmCard& card, const std::vector<KfdGpu>& nodes) {
  uint64_t id = nodes.empty() ? 0 : nodes.front().unique_id;
  if (id == 0) {
    const auto word = read_word(card.device_dir + "/unique_id");
    id = word ? parse_u64(*word, 16).value_or(0) : 0;
  }
  if (id == 0) return "PCI-" + card.pci.text();
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "GPU-%016llx", static_cast<unsigned long long>(id));
  return out.data();
}

std::string name_of(const std::string& root, const DrmCard& card) {
  // Only cards with a chip that says so (FRU) have this file filled: the Instinct ones.
  if (const auto name = read_word(card.device_dir + "/product_name")) return printable(name->substr(0, 96));
  return card_name(root, card, "AMD");
}

std::vector<KfdGpu> nodes_of(const KfdTopology& kfd, const DrmCard& card) {
  std::vector<KfdGpu> out;
  const auto is_it = [&](const KfdGpu& gpu) { return gpu.pci == card.pci; };
  std::copy_if(kfd.gpus.begin(), kfd.gpus.end(), std::back_inserter(out), is_it);
  std::copy_if(kfd.closed.begin(), kfd.closed.end(), std::back_inserter(out), is_it);
  return out;
}

std::string trouble_of(const KfdTopology& kfd, const std::vector<KfdGpu>& nodes) {
  if (nodes.size() > 1)
    return "is split into " + std::to_string(nodes.size()) + " partitions; berth seats jobs on whole cards (mode SPX)";
  for (const KfdGpu& node : kfd.closed)
    if (!nodes.empty() && node.pci == nodes.front().pci) return "this user may not open " + node.render_node;
  if (nodes.empty() && kfd.some_refused) return "a device cgroup keeps it from this process (KFD refuses its node)";
  return "";
}

// What KFD knows of a process and what its open files tell are two views of the same memory: an open
// file counts the buffers of KFD too (they are in the same address space), but not what was migrated to
// the card by page fault. So the larger one is true, not the sum.
std::vector<DeviceProcess> merge(std::vector<DeviceProcess> processes, const std::map<int64_t, int64_t>& computing) {
  for (const auto& [pid, bytes] : computing) {
    const auto at = std::lower_bound(processes.begin(), processes.end(), pid,
                                     [](const DeviceProcess& p, int64_t wanted) { return p.pid < wanted; });
    if (at == processes.end() || at->pid != pid) {
      processes.insert(at, {pid, DeviceProcess::Kind::compute, bytes});
    } else {
      at->kind = DeviceProcess::Kind::compute;
      at->vram_bytes = std::max(at->vram_bytes.value_or(0), bytes);
    }
  }
  return processes;
}

void fill_processes(const std::string& root, const DrmScan& scan, const DrmCard& card, const std::vector<KfdGpu>& nodes,
                    Device& device) {
  device.processes = processes_on(scan, card.pci, device.unified_memory ? MemoryOf::machine : MemoryOf::card);
  device.processes_known = scan.complete;
  // In another PID namespace KFD's PIDs would name strangers.
  if (!scan.initial_pid_namespace) return;
  std::vector<uint64_t> gpu_ids;
  gpu_ids.reserve(nodes.size());
  for (const KfdGpu& node : nodes) gpu_ids.push_back(node.gpu_id);
  device.processes = merge(std::move(device.processes), read_kfd_processes(root, gpu_ids));
}

// `after`: the index of the next card that KFD does not know.
int index_of(const KfdTopology& kfd, const DrmCard& card, int& after) {
  const auto at =
      std::find_if(kfd.gpus.begin(), kfd.gpus.end(), [&](const KfdGpu& gpu) { return gpu.pci == card.pci; });
  return at == kfd.gpus.end() ? after++ : static_cast<int>(at - kfd.gpus.begin());
}

void part_twins(std::vector<Device>& devices) {
  std::vector<std::string> uuids;
  uuids.reserve(devices.size());
  for (const Device& d : devices) uuids.push_back(d.uuid);
  for (Device& d : devices)
    if (std::count(uuids.begin(), uuids.end(), d.uuid) > 1) d.uuid = "PCI-" + d.pci_address;
}

void fill_peers(const KfdTopology& kfd, std::vector<Device>& devices) {
  const auto device_at = [&](const PciAddress& pci) {
    return std::find_if(devices.begin(), devices.end(), [&](const Device& d) { return d.pci_address == pci.text(); });
  };
  for (const KfdGpu& from : kfd.gpus) {
    const auto device = device_at(from.pci);
    if (device == devices.end()) continue;
    for (const KfdGpu& to : kfd.gpus) {
      if (std::count(from.xgmi_nodes.begin(), from.xgmi_nodes.end(), to.node) == 0) continue;
      const auto peer = device_at(to.pci);
      if (peer == devices.end() || peer == device) continue;
      if (std::count(device->peers.begin(), device->peers.end(), peer->uuid) == 0) device->peers.push_back(peer->uuid);
    }
  }
}

}  // namespace

Sighting probe_amd(const std::string& root) {
  Sighting out;
  const std::vector<DrmCard> all = drm_cards(root);
  std::vector<DrmCard> cards;
  std::copy_if(all.begin(), all.end(), std::back_inserter(cards),
               [](const DrmCard& card) { return card.vendor_id == amd && card.driver == "amdgpu"; });
  if (cards.empty()) return out;
  const bool discrete = has_discrete_gpu(root, all);
  const KfdTopology kfd = read_kfd_topology(root);
  const DrmScan scan = scan_drm_files(root);
  int after = static_cast<int>(kfd.gpus.size());
  for (const DrmCard& card : cards) {
    const std::vector<KfdGpu> nodes = nodes_of(kfd, card);
    Device device;
    device.vendor_index = index_of(kfd, card, after);
    if (discrete && is_integrated(card)) continue;
    device.uuid = uuid_of(card, nodes);
    device.name = name_of(root, card);
    device.vendor = "amd";
    device.pci_address = card.pci.text();
    device.util_pct = load_of(card);
    device.numa_node = numa_node_of(card);
    device.trouble = trouble_of(kfd, nodes);
    fill_memory(card, device);
    fill_processes(root, scan, card, nodes, device);
    out.devices.push_back(std::move(device));
  }
  part_twins(out.devices);
  fill_peers(kfd, out.devices);
  return out;
}

}  // namespace berth
