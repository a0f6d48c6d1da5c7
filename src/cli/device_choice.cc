#include "cli/device_choice.h"

#include <algorithm>
#include <cstdlib>
#include <tuple>

#include "base/text.h"

namespace berth {

namespace {

Error usage(std::string message) { return Error{ErrorKind::usage, 0, std::move(message)}; }

bool names_device(const std::string& word, const Device& device, int index) {
  if (const auto number = parse_count(word)) return index == *number;
  return device.uuid.starts_with(word);
}

// The devices that a list of indices, UUIDs and unique prefixes names.
Result<std::vector<bool>> listed(const std::string& option, const std::vector<std::string>& words,
                                 const std::vector<Device>& devices) {
  std::vector<bool> out(devices.size(), false);
  for (const std::string& word : words) {
    int found = 0;
    for (size_t i = 0; i < devices.size(); ++i) {
      if (!names_device(word, devices[i], devices[i].index)) continue;
      out[i] = true;
      ++found;
      if (devices[i].uuid == word) break;
    }
    if (found == 0)
      return usage(option + ": there is no GPU " + printable(word) + " (this machine has " +
                   std::to_string(devices.size()) + ")");
    if (found > 1 && !parse_count(word)) return usage(option + ": " + printable(word) + " names more than one GPU");
  }
  return out;
}

const std::optional<std::string>& inherited_of(const Device& device, const InheritedVisibility& inherited) {
  if (device.vendor == "amd") return inherited.rocr;
  if (device.vendor == "intel") return inherited.ze;
  return inherited.cuda;
}

// As CUDA reads its own variable: everything after the first word that names nothing, or a prefix of more
// than one UUID, is ignored. The numbers are the vendor's, not ours. "0.1" of Intel is a tile of device 0.
void hide(const std::string& vendor, const std::optional<std::string>& inherited, const std::vector<Device>& devices,
          std::vector<bool>& seen) {
  if (!inherited) return;
  std::vector<bool> named(devices.size(), false);
  for (const std::string& word : split(*inherited, ',')) {
    const std::string plain = vendor == "intel" ? word.substr(0, word.find('.')) : word;
    std::vector<size_t> found;
    for (size_t i = 0; i < devices.size(); ++i) {
      if (devices[i].vendor != vendor || !names_device(plain, devices[i], devices[i].vendor_index)) continue;
      if (devices[i].uuid == plain) found.clear();
      found.push_back(i);
      if (devices[i].uuid == plain) break;
    }
    // A number can be that of a card's many slices.
    if (found.empty() || (found.size() > 1 && !parse_count(plain))) break;
    for (const size_t i : found) named[i] = true;
  }
  for (size_t i = 0; i < devices.size(); ++i)
    if (devices[i].vendor == vendor) seen[i] = seen[i] && named[i];
}

// Less is better. In steps, so that noise does not reorder equal cards.
std::tuple<int64_t, int, int> preference(const Device& d) {
  constexpr int64_t step_bytes = int64_t{512} << 20;
  constexpr int step_pct = 20;
  return {d.vram_used_bytes.value_or(0) / step_bytes - d.vram_total_bytes / step_bytes,
          d.util_pct.value_or(0) / step_pct, d.index};
}

// Numbers the groups: 0, 1, 2 ... as they first come. Where all devices are in one group, or each is in one
// of its own, there is nothing to say.
void number_groups(const std::vector<size_t>& group_of, std::vector<DeviceRef>& refs, uint8_t DeviceRef::*number) {
  std::vector<size_t> known;
  for (const size_t group : group_of)
    if (std::find(known.begin(), known.end(), group) == known.end()) known.push_back(group);
  if (known.size() == 1 || known.size() == group_of.size()) return;
  for (size_t i = 0; i < refs.size(); ++i)
    refs[i].*number = static_cast<uint8_t>(std::find(known.begin(), known.end(), group_of[i]) - known.begin());
}

// Who has a fast link to whom, directly or through others; and who hangs on which node.
void number_neighbours(const std::vector<const Device*>& devices, std::vector<DeviceRef>& refs) {
  if (devices.size() < 3 || devices.size() > max_claim_devices) return;
  std::vector<size_t> link(devices.size());
  for (size_t i = 0; i < link.size(); ++i) link[i] = i;
  for (size_t i = 0; i < devices.size(); ++i)
    for (size_t j = 0; j < devices.size(); ++j) {
      const auto& peers = devices[i]->peers;
      if (std::find(peers.begin(), peers.end(), devices[j]->uuid) == peers.end()) continue;
      const size_t from = link[j];
      std::replace(link.begin(), link.end(), from, link[i]);
    }
  number_groups(link, refs, &DeviceRef::link);
  std::vector<size_t> node;
  node.reserve(devices.size());
  for (const Device* d : devices) node.push_back(static_cast<size_t>(d->numa_node + 1));
  number_groups(node, refs, &DeviceRef::numa);
}

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace

InheritedVisibility inherited_visibility() {
  return {variable("CUDA_VISIBLE_DEVICES"), variable("ROCR_VISIBLE_DEVICES"), variable("ZE_AFFINITY_MASK")};
}

InheritedVisibility beyond_leases(const InheritedVisibility& inherited, const std::vector<Device>& devices,
                                  const std::vector<std::vector<std::string>>& leases) {
  InheritedVisibility out = inherited;
  const auto drop_if_ours = [&](std::initializer_list<const char*> vendors, std::optional<std::string>& variable) {
    std::vector<bool> of_it(devices.size(), false);
    for (const char* vendor : vendors)
      for (size_t i = 0; i < devices.size(); ++i) of_it[i] = of_it[i] || devices[i].vendor == vendor;
    std::vector<bool> seen = of_it;
    for (const char* vendor : vendors) hide(vendor, variable, devices, seen);
    std::vector<bool> ours(devices.size(), false);
    for (const std::vector<std::string>& lease : leases) {
      for (size_t i = 0; i < devices.size(); ++i)
        ours[i] = ours[i] || (of_it[i] && std::find(lease.begin(), lease.end(), devices[i].uuid) != lease.end());
      if (ours != seen || std::find(ours.begin(), ours.end(), true) == ours.end()) continue;
      variable.reset();
      return;
    }
  };
  drop_if_ours({"nvidia", "simulated"}, out.cuda);
  drop_if_ours({"amd"}, out.rocr);
  drop_if_ours({"intel"}, out.ze);
  return out;
}

std::string missing_card(const Picture& picture) {
  for (const std::string& complaint : picture.complaints)
    if (complaint.starts_with("NVML: GPU ")) return complaint;
  return "";
}

bool chooses_by_number(const RunOptions& options, const InheritedVisibility& inherited) {
  std::vector<std::string> words = inherited.cuda ? split(*inherited.cuda, ',') : std::vector<std::string>{};
  words.insert(words.end(), options.only.begin(), options.only.end());
  words.insert(words.end(), options.exclude.begin(), options.exclude.end());
  return std::any_of(words.begin(), words.end(), [](const std::string& w) { return parse_count(w).has_value(); });
}

Result<std::vector<DeviceRef>> eligible_devices(const RunOptions& options, const std::vector<Device>& devices,
                                                const InheritedVisibility& inherited) {
  auto only = listed("--only", options.only, devices);
  if (!only) return only.error();
  auto exclude = listed("--exclude", options.exclude, devices);
  if (!exclude) return exclude.error();
  std::vector<bool> seen(devices.size(), true);
  for (const char* vendor : {"nvidia", "amd", "intel", "simulated"})
    for (const Device& d : devices)
      if (d.vendor == vendor) {
        hide(vendor, inherited_of(d, inherited), devices, seen);
        break;
      }
  std::vector<const Device*> chosen;
  for (size_t i = 0; i < devices.size(); ++i) {
    const Device& d = devices[i];
    if (!options.only.empty() && !only.value()[i]) continue;
    if (exclude.value()[i] || !seen[i]) continue;
    if (d.vram_total_bytes > 0 && d.vram_total_bytes < options.min_free_bytes) continue;  // it never will be
    chosen.push_back(&d);
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [](const Device* a, const Device* b) { return preference(*a) < preference(*b); });
  std::vector<DeviceRef> out;
  out.reserve(chosen.size());
  for (const Device* d : chosen) out.push_back({d->uuid, d->vram_total_bytes, 0, 0});
  number_neighbours(chosen, out);
  return out;
}

}  // namespace berth
