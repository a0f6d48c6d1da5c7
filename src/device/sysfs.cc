#include "device/sysfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>

#include "base/own_fd.h"
#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

constexpr size_t most_cards = 256;  // minors of DRM: 64, in newer kernels more

// The file whose presence tells an APU; see is_integrated().
bool has_vddnb(const std::string& device_dir) {
  const std::string dir = device_dir + "/hwmon/";
  const auto monitors = list_names(dir, 16);
  if (!monitors) return false;
  return std::any_of(monitors->begin(), monitors->end(),
                     [&](const std::string& name) { return read_word(dir + name + "/in1_label") == "vddnb"; });
}

uint32_t read_hex(const std::string& path) {
  const auto word = read_word(path);
  const auto value = word ? parse_u64(*word, 16) : std::nullopt;
  return value && *value <= UINT32_MAX ? static_cast<uint32_t>(*value) : 0;
}

std::optional<DrmCard> card_at(const std::string& dir) {
  DrmCard card;
  card.card_dir = dir;
  card.device_dir = dir + "/device";
  const auto pci = PciAddress::parse(link_name(card.device_dir));
  card.driver = link_name(card.device_dir + "/driver");
  if (!pci || card.driver.empty()) return std::nullopt;
  card.pci = *pci;
  card.vendor_id = read_hex(card.device_dir + "/vendor");
  card.device_id = read_hex(card.device_dir + "/device");
  card.revision = read_hex(card.device_dir + "/revision");
  return card;
}

bool is_card_name(std::string_view name) { return name.starts_with("card") && parse_count(name.substr(4)).has_value(); }

}  // namespace

std::string link_name(const std::string& path) {
  std::array<char, 4096> target{};
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  if (length <= 0) return "";
  const std::string_view text(target.data(), static_cast<size_t>(length));
  return std::string(text.substr(text.rfind('/') + 1));
}

std::optional<uint64_t> parse_u64(std::string_view text, int base) {
  if (base == 16 && text.starts_with("0x")) text.remove_prefix(2);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view next_line(std::string_view& rest) {
  const size_t end = std::min(rest.find('\n'), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

std::optional<PciAddress> PciAddress::parse(std::string_view text) {
  const size_t first = text.find(':');
  if (first == std::string_view::npos || first < 4 || first > 8 || text.find('x') != std::string_view::npos)
    return std::nullopt;
  const std::string_view tail = text.substr(first + 1);  // "17:00.0"
  if (tail.size() != 7 || tail[2] != ':' || tail[5] != '.') return std::nullopt;
  const auto domain = parse_u64(text.substr(0, first), 16);
  const auto bus = parse_u64(tail.substr(0, 2), 16);
  const auto device = parse_u64(tail.substr(3, 2), 16);
  const auto function = parse_u64(tail.substr(6), 16);
  if (!domain || !bus || !device || !function || *device > 31 || *function > 7) return std::nullopt;
  return PciAddress{static_cast<uint32_t>(*domain), static_cast<uint32_t>(*bus), static_cast<uint32_t>(*device),
                    static_cast<uint32_t>(*function)};
}

std::string PciAddress::text() const {
  std::array<char, 48> out{};
  std::snprintf(out.data(), out.size(), "%04x:%02x:%02x.%x", domain, bus, device, function);
  return out.data();
}

std::vector<DrmCard> drm_cards(const std::string& root) {
  std::vector<DrmCard> cards;
  const std::string drm = root + "/sys/class/drm/";
  const auto names = list_names(drm);
  if (!names) return cards;
  for (const std::string& name : *names) {
    if (!is_card_name(name) || cards.size() == most_cards) continue;
    if (auto card = card_at(drm + name)) cards.push_back(std::move(*card));
  }
  std::stable_sort(cards.begin(), cards.end(), [](const DrmCard& a, const DrmCard& b) { return a.pci < b.pci; });
  // One device, one card: a second minor of the same device is the same GPU.
  cards.erase(
      std::unique(cards.begin(), cards.end(), [](const DrmCard& a, const DrmCard& b) { return a.pci == b.pci; }),
      cards.end());
  return cards;
}

bool is_integrated(const DrmCard& card) {
  if (card.driver == "i915" || card.driver == "xe") return card.pci == PciAddress{0, 0, 2, 0};
  if (card.driver == "amdgpu") return has_vddnb(card.device_dir);
  return false;
}

bool has_discrete_gpu(const std::string& root, const std::vector<DrmCard>& cards) {
  const auto bound = list_names(root + "/sys/bus/pci/drivers/nvidia");
  if (bound && std::any_of(bound->begin(), bound->end(),
                           [](const std::string& name) { return PciAddress::parse(name).has_value(); }))
    return true;
  return std::any_of(cards.begin(), cards.end(), [](const DrmCard& card) {
    return (card.driver == "amdgpu" || card.driver == "i915" || card.driver == "xe") && !is_integrated(card);
  });
}

int numa_node_of(const DrmCard& card) {
  const auto word = read_word(card.device_dir + "/numa_node");
  const auto node = word ? parse_signed(*word) : std::nullopt;
  return node && *node >= 0 && *node < 65536 ? static_cast<int>(*node) : -1;
}

}  // namespace berth
