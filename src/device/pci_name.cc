#include "device/pci_name.h"

#include <array>
#include <cstdio>

#include "base/text.h"

namespace berth {

namespace {

constexpr size_t most_ids_bytes = size_t{8} << 20;  // pci.ids of 2024: 1.5 MiB
constexpr size_t most_name_bytes = 96;

// Debian, Fedora and Arch, Gentoo.
constexpr std::array pci_ids_files = {"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids"};

std::string hex4(uint32_t value) {
  std::array<char, 16> out{};
  std::snprintf(out.data(), out.size(), "%04x", value);
  return out.data();
}

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::string tidy(std::string_view name) { return printable(trim(name).substr(0, most_name_bytes)); }

// "DG2 [Arc A770]" is "Arc A770" to people.
std::string_view in_brackets(std::string_view name) {
  const size_t open = name.rfind('[');
  const size_t close = name.rfind(']');
  if (open == std::string_view::npos || close == std::string_view::npos || close <= open + 1) return name;
  return name.substr(open + 1, close - open - 1);
}

}  // namespace

std::string name_in_pci_ids(std::string_view text, uint32_t vendor_id, uint32_t device_id) {
  const std::string vendor = hex4(vendor_id) + "  ";
  const std::string device = "\t" + hex4(device_id) + "  ";
  bool ours = false;
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    if (line.empty() || line.front() == '#') continue;
    if (line.front() != '\t') {
      if (ours) break;
      ours = line.starts_with(vendor);
    } else if (ours && line.starts_with(device)) {
      return tidy(in_brackets(line.substr(device.size())));
    }
  }
  return "";
}

std::string name_in_amdgpu_ids(std::string_view text, uint32_t device_id, uint32_t revision) {
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    const size_t first = line.find(',');
    if (line.starts_with('#') || first == std::string_view::npos) continue;
    const size_t second = line.find(',', first + 1);
    if (second == std::string_view::npos) continue;
    if (parse_u64(trim(line.substr(0, first)), 16) == device_id &&
        parse_u64(trim(line.substr(first + 1, second - first - 1)), 16) == revision)
      return tidy(line.substr(second + 1));
  }
  return "";
}

std::string card_name(const std::string& root, const DrmCard& card, const std::string& vendor) {
  if (card.driver == "amdgpu") {
    if (const auto ids = read_text(root + "/usr/share/libdrm/amdgpu.ids", most_ids_bytes)) {
      std::string name = name_in_amdgpu_ids(*ids, card.device_id, card.revision);
      if (!name.empty()) return name;
    }
  }
  for (const char* file : pci_ids_files) {
    const auto ids = read_text(root + file, most_ids_bytes);
    if (!ids) continue;
    std::string name = name_in_pci_ids(*ids, card.vendor_id, card.device_id);
    if (name.empty()) continue;
    if (!name.starts_with(vendor)) name.insert(0, vendor + " ");
    return name;
  }
  return vendor + " GPU " + hex4(card.device_id);
}

}  // namespace berth
