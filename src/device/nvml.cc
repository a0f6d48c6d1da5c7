// What is made of NVML's answers.
//
// Cards are known by their UUIDs; NVML's own index is used to go through them once and then forgotten,
// for it can be another at the next start of the driver. What people and CUDA count by is the PCI address.
//
// A card in MIG mode is no device: nothing can run on it but on its slices, each of which is a device
// with a UUID of its own. They come in NVML's order in their card's place, and share its vendor_index:
// CUDA's indices do not count slices, which can be named by UUID alone.
//
// An answer that fails leaves a value unknown. Some failures say more: that the card is gone, or that we
// are kept from it. Then what is known of it is kept, with the driver's words in `trouble`.
#include "device/nvml.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

#include "base/small_file.h"
#include "base/text.h"
#include "device/nvml_library.h"

namespace berth::nvml {

namespace {

// Bounds of loops over what a driver says, all well above what there is: 16 cards, 7 slices, 18 links.
constexpr unsigned most_cards = 256;
constexpr unsigned most_slices = 64;
constexpr unsigned most_links = 64;

struct Card {
  Handle handle = nullptr;
  Device device;
  bool is_mig = false;
  std::vector<Device> slices;
  std::set<std::string> linked_addresses;
  bool linked_to_switch = false;
};

// "" where it cannot be read.
std::string contents(const std::string& path) {
  auto text = read_text(path);
  return text ? std::move(*text) : "";
}

// --- The machine's memory, for parts that have none of their own --------------------------------

// Bytes of "MemTotal:  127600748 kB" in /proc/meminfo.
std::optional<int64_t> meminfo_bytes(const std::string& meminfo, const std::string& name) {
  for (const std::string& line : split(meminfo, '\n')) {
    const std::vector<std::string> words = split(line, ' ');
    if (words.size() < 2 || words[0] != name + ":") continue;
    const auto kib = parse_count(words[1]);
    if (!kib || *kib > max_amount / 1024) return std::nullopt;
    return *kib * 1024;
  }
  return std::nullopt;
}

// GB10, Thor, Jetson: both calls for memory say that they are not supported. The budget is the machine's
// RAM, and what anybody holds of it is what is not available, as the kernel counts.
void use_machine_memory(const std::string& root, Device& device) {
  const std::string meminfo = contents(root + "/proc/meminfo");
  device.unified_memory = true;
  device.vram_total_bytes = meminfo_bytes(meminfo, "MemTotal").value_or(0);
  const auto available = meminfo_bytes(meminfo, "MemAvailable");
  if (available && *available <= device.vram_total_bytes) device.vram_used_bytes = device.vram_total_bytes - *available;
}

// --- One card or slice ---------------------------------------------------------------------------

class Reader {
 public:
  Reader(const Library& library, const std::string& root) : nvml_(library), root_(root) {}

  // What a card and a slice have in common.
  void read(Handle handle, Device& device) const {
    if (std::string name; nvml_.name(handle, name) == success) device.name = name;
    read_memory(handle, device);
    if (unsigned mode = 0; noted(nvml_.compute_mode(handle, mode), device)) device.compute_mode = mode_of(mode);
    read_processes(handle, device);
  }

  void read_card(Card& card, std::vector<std::string>& complaints) const {
    Device& device = card.device;
    device.vendor = "nvidia";
    device.host_pids = true;
    noted(nvml_.pci_address(card.handle, device.pci_address), device);
    device.numa_node = numa_node(device.pci_address);
    if (unsigned mode = 0; noted(nvml_.mig_mode(card.handle, mode), device)) card.is_mig = mode == mig_enabled;
    if (card.is_mig) {
      read_slices(card, complaints);
      return;
    }
    read(card.handle, device);
    if (unsigned pct = 0; noted(nvml_.utilization_pct(card.handle, pct), device) && pct <= 100)
      device.util_pct = static_cast<int>(pct);
    read_links(card);
  }

  // PCI class of what a link ends at; "" where it cannot be seen.
  [[nodiscard]] std::string pci_class(const std::string& address) const {
    return contents(root_ + "/sys/bus/pci/devices/" + address + "/class");
  }

 private:
  // Whether a question was answered. Notes the failures that mean that the card cannot be used.
  bool noted(Return code, Device& device) const {
    const bool unusable = code == gpu_is_lost || code == reset_required || code == operating_system;
    if (unusable && device.trouble.empty()) device.trouble = nvml_.text(code);
    return code == success;
  }

  static ComputeMode mode_of(unsigned mode) {
    if (mode == compute_prohibited) return ComputeMode::prohibited;
    return mode == compute_exclusive_process ? ComputeMode::exclusive_process : ComputeMode::shared;
  }

  void read_memory(Handle handle, Device& device) const {
    Memory memory;
    const Return code = nvml_.memory(handle, memory);
    // Some parts without memory of their own answer, and say 0 (nvtop issue 411).
    if ((code == not_supported || (code == success && memory.total_bytes == 0)) && device.mig_parent.empty()) {
      use_machine_memory(root_, device);
      return;
    }
    if (noted(code, device)) {
      device.vram_total_bytes = memory.total_bytes;
      device.vram_used_bytes = memory.used_bytes;
    }
    // What a card that fell off the bus may answer too; one whose memory is a riddle is no place for a job.
    if (code == unknown_error && device.trouble.empty()) device.trouble = nvml_.text(code);
  }

  // A process may be on more than one list, with the same memory on each.
  void read_processes(Handle handle, Device& device) const {
    std::map<int64_t, DeviceProcess> found;
    const auto add = [&](Library::List list, DeviceProcess::Kind kind) {
      std::vector<Process> listed;
      const Return code = nvml_.processes(handle, list, listed);
      noted(code, device);
      for (const Process& process : listed) {
        DeviceProcess& known = found.try_emplace(process.pid, DeviceProcess{process.pid, kind, {}}).first->second;
        if (process.used_bytes) known.vram_bytes = std::max(known.vram_bytes.value_or(0), *process.used_bytes);
      }
      return code;
    };
    const Return compute = add(Library::List::compute, DeviceProcess::Kind::compute);
    const Return mps = add(Library::List::mps, DeviceProcess::Kind::compute);
    const Return graphics = add(Library::List::graphics, DeviceProcess::Kind::graphics);
    // Where graphics or MPS are not to be had there is nothing of theirs to list.
    device.processes_known = compute == success && (graphics == success || graphics == not_supported) &&
                             (mps == success || mps == not_supported || mps == function_not_found);
    for (const auto& [pid, process] : found)
      if (pid > 0) device.processes.push_back(process);
  }

  void read_slices(Card& card, std::vector<std::string>& complaints) const {
    unsigned slots = 0;
    noted(nvml_.most_mig_devices(card.handle, slots), card.device);
    for (unsigned slot = 0; slot < std::min(slots, most_slices); ++slot) {
      Handle handle = nullptr;
      const Return code = nvml_.mig_device(card.handle, slot, handle);
      if (code == not_found) continue;  // a gap: slots are not closed up
      Device slice;
      if (const Return got = code == success ? nvml_.uuid(handle, slice.uuid) : code; got != success) {
        complaints.push_back("NVML: " + card.device.uuid + ", MIG device " + std::to_string(slot) + ": " +
                             nvml_.text(got));
        continue;
      }
      slice.vendor = card.device.vendor;
      slice.host_pids = card.device.host_pids;
      slice.mig_parent = card.device.uuid;
      slice.pci_address = card.device.pci_address;
      slice.numa_node = card.device.numa_node;
      slice.trouble = card.device.trouble;
      read(handle, slice);
      card.slices.push_back(std::move(slice));
    }
    if (!card.slices.empty()) return;
    // Shown, lest a card vanish without a word.
    if (std::string name; nvml_.name(card.handle, name) == success) card.device.name = name;
    if (card.device.trouble.empty()) card.device.trouble = "MIG mode is on and there is no MIG device";
  }

  [[nodiscard]] int numa_node(const std::string& address) const {
    if (address.empty()) return -1;
    const std::vector<std::string> lines =
        split(contents(root_ + "/sys/bus/pci/devices/" + address + "/numa_node"), '\n');
    const auto node = lines.empty() ? std::nullopt : parse_count(lines[0]);
    return node && *node < 4096 ? static_cast<int>(*node) : -1;
  }

  void read_links(Card& card) const {
    for (unsigned link = 0; link < most_links; ++link) {
      unsigned active = 0;
      const Return code = nvml_.link_is_active(card.handle, link, active);
      if (code == invalid_argument || code == function_not_found) return;  // past the last
      if (code != success || active != feature_enabled) continue;
      unsigned type = ~0U;
      if (nvml_.link_remote_type(card.handle, link, type) != success) type = ~0U;
      if (type == link_to_switch) card.linked_to_switch = true;
      std::string address;
      if (type == link_to_switch || type == link_to_npu) continue;
      if (nvml_.link_remote_address(card.handle, link, address) == success) card.linked_addresses.insert(address);
    }
  }

  const Library& nvml_;
  const std::string& root_;
};

// --- Links ---------------------------------------------------------------------------------------

// Class 0x0680, "other bridge", is an NVSwitch; 0x068001 an NPU. One that cannot be seen, in a virtual
// machine, where its address is made up of ones, is taken for a switch, as NCCL does.
bool is_switch(const std::string& pci_class) { return pci_class.empty() || pci_class.starts_with("0x068000"); }

// Two cards are peers where a link of one ends at the other, or where both have links to switches: all
// switches of a machine are one fabric.
void join_peers(std::vector<Card>& cards, const Reader& reader) {
  std::set<std::string> ours;
  for (const Card& card : cards) ours.insert(card.device.pci_address);
  for (Card& card : cards)
    for (const std::string& address : card.linked_addresses)
      if (!ours.contains(address) && is_switch(reader.pci_class(address))) card.linked_to_switch = true;
  for (Card& card : cards)
    for (const Card& other : cards) {
      if (&card == &other || card.is_mig || other.is_mig) continue;  // slices have no peers
      if (card.linked_addresses.contains(other.device.pci_address) ||
          other.linked_addresses.contains(card.device.pci_address) || (card.linked_to_switch && other.linked_to_switch))
        card.device.peers.push_back(other.device.uuid);
    }
}

// --- All cards -----------------------------------------------------------------------------------

std::vector<Card> read_cards(const Library& library, const Reader& reader, std::vector<std::string>& complaints) {
  std::vector<Card> cards;
  unsigned count = 0;
  if (const Return code = library.count(count); code != success) {
    complaints.push_back("NVML: " + library.text(code));
    return cards;
  }
  std::set<std::string> seen;
  for (unsigned index = 0; index < std::min(count, most_cards); ++index) {
    Card card;
    Return code = library.card(index, card.handle);
    if (code == success) code = library.uuid(card.handle, card.device.uuid);
    if (code != success) {
      complaints.push_back("NVML: GPU " + std::to_string(index) + ": " + library.text(code));
      continue;
    }
    if (!seen.insert(card.device.uuid).second) continue;
    reader.read_card(card, complaints);
    cards.push_back(std::move(card));
  }
  // Those whose address is not known come last, and wide PCI domains after the usual four digits.
  const auto place = [](const Card& card) {
    const std::string& address = card.device.pci_address;
    return std::tuple(address.empty(), address.size(), address);
  };
  std::stable_sort(cards.begin(), cards.end(), [&](const Card& a, const Card& b) { return place(a) < place(b); });
  return cards;
}

}  // namespace

Sighting probe(const char* library, const std::string& root) {
  Sighting sighting;
  const auto started = Library::start(library);
  if (!started) {
    sighting.complaints.push_back(started.error().message);
    return sighting;
  }
  if (*started == nullptr) return sighting;
  const Reader reader(**started, root);
  std::vector<Card> cards = read_cards(**started, reader, sighting.complaints);
  join_peers(cards, reader);
  int vendor_index = 0;
  for (Card& card : cards) {
    std::vector<Device> devices = std::move(card.slices);
    if (devices.empty()) devices.push_back(std::move(card.device));
    for (Device& device : devices) {
      device.vendor_index = vendor_index;
      sighting.devices.push_back(std::move(device));
    }
    ++vendor_index;
  }
  return sighting;
}

}  // namespace berth::nvml

namespace berth {

Sighting probe_nvidia(const std::string& root) { return nvml::probe("libnvidia-ml.so.1", root); }

}  // namespace berth
