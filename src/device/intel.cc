// Intel's GPUs from the files of xe and i915 in sysfs; no library.
//
// Identity. Level Zero makes a device's UUID from what PCI says of it (compute-runtime, Device::
// generateUuidFromPciBusInfo): vendor, device, revision and domain in two bytes each, lowest first; bus,
// device, function; four zeros; the number of the sub-device, 0 for all of it. xpu-smi prints the
// sixteen bytes from the last to the first, and so does this: "00000000-0000-0003-0000-000856a08086"
// is an Arc A770 (56a0, revision 8) at 0000:03:00.0. It is as stable as the slot. (For server cards
// Level Zero can be told to take a number from the chip instead; this does not.)
//
// Order. vendor_index counts as ZE_AFFINITY_MASK does: cards by PCI address, and after them what is
// integrated (compute-runtime, ExecutionEnvironment::comparePciIdBusNumber, which sorts before the mask
// is read). A job that sets ZE_ENABLE_PCI_ID_DEVICE_ORDER=1 counts the integrated one first.
//
// Memory. No file says how much of it is in use. It is the sum of what processes have, where all of them
// could be read (root), and else unknown. That sum lacks what the kernel has for itself (page tables,
// the console), and counts a buffer twice that two processes share; for compute jobs neither matters.
#include <algorithm>
#include <array>
#include <cstdio>

#include "base/text.h"
#include "device/drm_fdinfo.h"
#include "device/pci_name.h"
#include "device/probe.h"
#include "device/sysfs.h"

namespace berth {

namespace {

constexpr uint32_t intel = 0x8086;
constexpr int most_tiles = 8;

std::string uuid_of(const DrmCard& card) {
  std::array<char, 64> out{};
  std::snprintf(out.data(), out.size(), "00000000-00%02x-%02x%02x-%04x-%04x%04x%04x", card.pci.function,
                card.pci.device, card.pci.bus, card.pci.domain & 0xFFFF, card.revision & 0xFFFF,
                card.device_id & 0xFFFF, card.vendor_id & 0xFFFF);
  return out.data();
}

// The device memory cgroup (Linux 6.14; xe takes part in it) lists what each card has in the file
// dmem.capacity of its root: "drm/0000:03:00.0/vram0 17028874240", one line for each region.
std::optional<int64_t> capacity_in_cgroup(const std::string& root, const DrmCard& card) {
  const auto text = read_text(root + "/sys/fs/cgroup/dmem.capacity");
  if (!text) return std::nullopt;
  const std::string prefix = "drm/" + card.pci.text() + "/vram";
  std::optional<int64_t> sum;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = next_line(rest);
    const size_t space = line.rfind(' ');
    if (!line.starts_with(prefix) || space == std::string_view::npos) continue;
    if (const auto bytes = parse_count(line.substr(space + 1))) sum = std::min(sum.value_or(0) + *bytes, max_amount);
  }
  return sum;
}

// xe shows the physical size of each tile's memory, which is a little more than can be had.
std::optional<int64_t> size_of_tiles(const DrmCard& card) {
  std::optional<int64_t> sum;
  for (int tile = 0; tile < most_tiles; ++tile) {
    const std::string dir = card.device_dir + "/tile" + std::to_string(tile);
    auto bytes = read_count(dir + "/physical_vram_size_bytes");
    if (!bytes) bytes = read_count(dir + "/memory/physical_vram_size_bytes");
    if (bytes) sum = std::min(sum.value_or(0) + *bytes, max_amount);
  }
  return sum;
}

// 0: unknown. i915 says it only where it comes from Intel's own packages (lmem_total_bytes beside the
// card); the kernel's own i915 has no file for it.
int64_t memory_of(const std::string& root, const DrmCard& card) {
  if (const auto bytes = capacity_in_cgroup(root, card)) return *bytes;
  if (const auto bytes = size_of_tiles(card)) return *bytes;
  return read_count(card.card_dir + "/lmem_total_bytes").value_or(0);
}

std::optional<int64_t> sum_of(const std::vector<DeviceProcess>& processes) {
  int64_t sum = 0;
  for (const DeviceProcess& process : processes) {
    if (!process.vram_bytes) return std::nullopt;
    sum = std::min(sum + *process.vram_bytes, max_amount);
  }
  return sum;
}

Device device_of(const std::string& root, const DrmScan& scan, const DrmCard& card) {
  Device device;
  device.uuid = uuid_of(card);
  device.name = card_name(root, card, "Intel");
  device.vendor = "intel";
  device.pci_address = card.pci.text();
  device.numa_node = numa_node_of(card);
  device.unified_memory = is_integrated(card);
  device.processes = processes_on(scan, card.pci, device.unified_memory ? MemoryOf::machine : MemoryOf::card);
  device.processes_known = scan.complete;
  // Integrated graphics may have as much of RAM as there is: its driver knows no limit to report.
  if (!device.unified_memory) device.vram_total_bytes = memory_of(root, card);
  if (scan.complete) device.vram_used_bytes = sum_of(device.processes);
  if (device.vram_used_bytes && device.vram_total_bytes > 0)
    device.vram_used_bytes = std::min(*device.vram_used_bytes, device.vram_total_bytes);
  return device;
}

}  // namespace

Sighting probe_intel(const std::string& root) {
  Sighting out;
  const std::vector<DrmCard> all = drm_cards(root);
  std::vector<DrmCard> cards;
  std::copy_if(all.begin(), all.end(), std::back_inserter(cards), [](const DrmCard& card) {
    return card.vendor_id == intel && (card.driver == "xe" || card.driver == "i915");
  });
  // Integrated ones only where there is nothing else; they come last in Intel's own order, so that
  // leaving them out moves no index.
  if (has_discrete_gpu(root, all)) std::erase_if(cards, is_integrated);
  if (cards.empty()) return out;
  const DrmScan scan = scan_drm_files(root);
  for (const DrmCard& card : cards) {
    out.devices.push_back(device_of(root, scan, card));
    out.devices.back().vendor_index = static_cast<int>(out.devices.size()) - 1;
  }
  return out;
}

}  // namespace berth
