#include "device/kfd.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"

namespace berth {

namespace {

constexpr size_t most_nodes = 1024;
constexpr size_t most_links = 1024;
constexpr uint64_t link_type_xgmi = 11;  // CRAT_IOLINK_TYPE_XGMI, kfd_crat.h

// The value of a line "key value" in the text of a properties file.
std::optional<uint64_t> property(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ')
      return parse_u64(line.substr(key.size() + 1));
  }
  return std::nullopt;
}

// location_id is bus << 8 | device << 3 | function; a partition has its number in bits 28 to 31 (Linux
// 6.9 and later).
PciAddress address(uint64_t domain, uint64_t location) {
  return {static_cast<uint32_t>(domain), static_cast<uint32_t>(location >> 8 & 0xFF),
          static_cast<uint32_t>(location >> 3 & 0x1F), static_cast<uint32_t>(location & 7)};
}

std::vector<int64_t> xgmi_nodes(const std::string& node_dir) {
  std::vector<int64_t> out;
  const std::string dir = node_dir + "/io_links/";
  const auto links = list_names(dir, most_links);
  if (!links) return out;
  for (const std::string& link : *links) {
    const auto text = read_text(dir + link + "/properties");
    if (!text || property(*text, "type") != link_type_xgmi) continue;
    const auto to = property(*text, "node_to");
    if (to && *to < most_nodes) out.push_back(static_cast<int64_t>(*to));
  }
  return out;
}

// Asked and not tried: to open it would wake the card. A recording has no /dev.
bool is_closed(const std::string& root, const KfdGpu& gpu) {
  if (gpu.render_node.empty() || ::access((root + "/dev/dri").c_str(), F_OK) != 0) return false;
  return ::access((root + gpu.render_node).c_str(), R_OK | W_OK) != 0;
}

}  // namespace

KfdTopology read_kfd_topology(const std::string& root) {
  KfdTopology out;
  const std::string dir = root + "/sys/class/kfd/kfd/topology/nodes";
  const auto names = list_names(dir, most_nodes);
  if (!names) return out;
  out.present = true;
  std::vector<int64_t> nodes;
  for (const std::string& name : *names)
    if (const auto node = parse_count(name)) nodes.push_back(*node);
  std::sort(nodes.begin(), nodes.end());  // as numbers: 10 stands after 9
  for (const int64_t node : nodes) {
    const std::string node_dir = dir + "/" + std::to_string(node);
    const auto text = read_text(node_dir + "/properties");
    // The device cgroup makes the read fail with EPERM (kfd_devcgroup_check_permission).
    if (!text && (text.error().sys_errno == EPERM || text.error().sys_errno == EACCES)) out.some_refused = true;
    if (!text || property(*text, "simd_count").value_or(0) == 0) continue;
    const auto gpu_id = read_word(node_dir + "/gpu_id");
    const uint64_t id = gpu_id ? parse_u64(*gpu_id).value_or(0) : 0;
    const auto location = property(*text, "location_id");
    if (id == 0 || !location) continue;
    KfdGpu gpu;
    gpu.node = node;
    gpu.gpu_id = id;
    gpu.pci = address(property(*text, "domain").value_or(0), *location);
    gpu.unique_id = property(*text, "unique_id").value_or(0);
    if (const uint64_t minor = property(*text, "drm_render_minor").value_or(0); minor > 0)
      gpu.render_node = "/dev/dri/renderD" + std::to_string(minor);
    gpu.xgmi_nodes = xgmi_nodes(node_dir);
    (is_closed(root, gpu) ? out.closed : out.gpus).push_back(std::move(gpu));
  }
  return out;
}

std::map<int64_t, int64_t> read_kfd_processes(const std::string& root, const std::vector<uint64_t>& gpu_ids) {
  std::map<int64_t, int64_t> out;
  const std::string dir = root + "/sys/class/kfd/kfd/proc/";
  const auto names = list_names(dir);
  if (!names) return out;
  for (const std::string& name : *names) {
    const auto pid = parse_count(name);
    if (!pid || *pid == 0) continue;
    const std::string files = dir + name + "/vram_";
    int64_t bytes = 0;
    for (const uint64_t id : gpu_ids) {
      const auto here = read_count(files + std::to_string(id));
      bytes = std::min(bytes + here.value_or(0), max_amount);
    }
    if (bytes > 0) out[*pid] = bytes;
  }
  return out;
}

}  // namespace berth
