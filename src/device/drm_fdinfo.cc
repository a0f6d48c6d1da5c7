#include "device/drm_fdinfo.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <set>

#include "base/text.h"

namespace berth {

namespace {

constexpr size_t most_processes = size_t{1} << 22;  // PID_MAX_LIMIT
constexpr size_t most_files = size_t{1} << 16;      // of one process
constexpr size_t most_lines = 1024;
constexpr size_t most_regions = 64;

// PROC_PID_INIT_INO, include/linux/proc_ns.h: the same on every machine.
constexpr std::string_view initial_pid_namespace_name = "pid:[4026531836]";

std::string_view strip(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

bool is_name(std::string_view region, std::string_view base) {  // base, base0, base1, ...
  if (!region.starts_with(base)) return false;
  region.remove_prefix(base.size());
  return region.empty() || parse_count(region).has_value();
}

// amdgpu: vram, gtt, cpu. xe: vram0, vram1, gtt, system, stolen. i915: local0, system0, stolen-local0,
// stolen-system0. What else there is (amdgpu's gds, gws, oa, doorbell) is no memory.
bool is_card_region(std::string_view region) {
  return is_name(region, "vram") || is_name(region, "local") || is_name(region, "stolen-local");
}

bool is_ram_region(std::string_view region) {
  return region == "gtt" || region == "cpu" || is_name(region, "stolen") || is_name(region, "system") ||
         is_name(region, "stolen-system");
}

// "23992 KiB", "0", "16 MiB"; bytes without a unit.
std::optional<int64_t> parse_amount(std::string_view text) {
  const size_t space = text.find_first_of(" \t");
  const auto number = parse_count(text.substr(0, space));
  if (!number) return std::nullopt;
  const std::string_view unit = space == std::string_view::npos ? "" : strip(text.substr(space));
  int shift = 0;
  if (unit == "KiB") {
    shift = 10;
  } else if (unit == "MiB") {
    shift = 20;
  } else if (unit == "GiB") {
    shift = 30;
  } else if (!unit.empty() && unit != "B") {
    return std::nullopt;
  }
  if (*number > (max_amount >> shift)) return std::nullopt;
  return *number << shift;
}

// A region is described by up to three keys. What is resident is what nobody else can have; total also
// counts what was evicted or never touched. drm-memory- is amdgpu's older name for drm-resident-; newer
// kernels print both.
struct Region {
  std::optional<int64_t> resident;
  std::optional<int64_t> memory;
  std::optional<int64_t> total;

  [[nodiscard]] std::optional<int64_t> bytes() const {
    if (resident) return resident;
    return memory ? memory : total;
  }
};

using Regions = std::map<std::string_view, Region>;

void note_region(Regions& regions, std::string_view key, std::string_view value) {
  const auto put = [&](std::string_view prefix, std::optional<int64_t> Region::*field) {
    if (!key.starts_with(prefix)) return;
    const std::string_view name = key.substr(prefix.size());
    if (!is_card_region(name) && !is_ram_region(name)) return;
    if (regions.size() >= most_regions && !regions.contains(name)) return;
    regions[name].*field = parse_amount(value);
  };
  put("drm-resident-", &Region::resident);
  put("drm-memory-", &Region::memory);
  put("drm-total-", &Region::total);
}

std::optional<int64_t> sum_of(const Regions& regions, bool (*belongs)(std::string_view)) {
  std::optional<int64_t> sum;
  for (const auto& [name, region] : regions) {
    if (!belongs(name)) continue;
    const auto bytes = region.bytes();
    if (bytes) sum = std::min(sum.value_or(0) + *bytes, max_amount);
  }
  return sum;
}

// drm-engine-compute of amdgpu and i915, drm-cycles-ccs of xe; a number above 0, in whatever unit.
bool says_computes(std::string_view key, std::string_view value) {
  if (key != "drm-engine-compute" && key != "drm-cycles-ccs") return false;
  return parse_u64(value.substr(0, value.find_first_of(" \t"))).value_or(0) > 0;
}

// Whether an error means that the process, or the file, is not there any more. All others mean that
// something is kept from us.
bool is_gone(const Error& error) { return error.sys_errno == ENOENT || error.sys_errno == ESRCH; }

// Whether a descriptor is a file of /dev/dri. The name is asked and not the device: a stat() of somebody's
// open file can hang with the network it is on, and reading the name of a link cannot.
bool leads_to_drm(const std::string& path) {
  std::array<char, 256> target{};
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  if (length <= 0) return false;
  return std::string_view(target.data(), static_cast<size_t>(length)).find("/dri/") != std::string_view::npos;
}

struct Amount {
  bool known = false;
  int64_t bytes = 0;
};

Amount amount_of(const DrmClient& client, MemoryOf memory) {
  // Without an id, two descriptors of one file cannot be told from two files.
  if (!client.id) return {};
  const bool ram = memory == MemoryOf::machine && client.ram_bytes;
  if (!client.vram_bytes && !ram) return {};
  return {true, client.vram_bytes.value_or(0) + (ram ? client.ram_bytes.value_or(0) : 0)};
}

// Adds the DRM files of one process; false if something of it was kept from us.
bool scan_process(const std::string& proc_dir, int64_t pid, std::vector<DrmHolding>& out) {
  const std::string links = proc_dir + "/fd/";
  const std::string infos = proc_dir + "/fdinfo/";
  const auto files = list_names(links, most_files);
  if (!files) return is_gone(files.error());
  bool complete = files->size() < most_files;
  std::set<std::pair<PciAddress, uint64_t>> seen;
  for (const std::string& file : *files) {
    if (!leads_to_drm(links + file)) continue;
    const auto text = read_text(infos + file);
    if (!text) {
      complete = complete && is_gone(text.error());
      continue;
    }
    auto client = parse_drm_fdinfo(*text);
    if (!client || (client->id && !seen.emplace(client->pci, *client->id).second)) continue;
    out.push_back({pid, std::move(*client)});
  }
  return complete;
}

}  // namespace

std::optional<DrmClient> parse_drm_fdinfo(std::string_view text) {
  DrmClient client;
  std::optional<PciAddress> pci;
  Regions regions;
  for (size_t lines = 0; !text.empty() && lines < most_lines; ++lines) {
    const std::string_view line = next_line(text);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !line.starts_with("drm-")) continue;
    const std::string_view key = line.substr(0, colon);
    const std::string_view value = strip(line.substr(colon + 1));
    if (key == "drm-driver") {
      client.driver = value.substr(0, 64);
    } else if (key == "drm-pdev") {
      pci = PciAddress::parse(value);
    } else if (key == "drm-client-id") {
      client.id = parse_u64(value);
    } else if (says_computes(key, value)) {
      client.computes = true;
    } else {
      note_region(regions, key, value);
    }
  }
  if (!pci || client.driver.empty()) return std::nullopt;
  client.pci = *pci;
  client.vram_bytes = sum_of(regions, is_card_region);
  client.ram_bytes = sum_of(regions, is_ram_region);
  return client;
}

DrmScan scan_drm_files(const std::string& root) {
  DrmScan scan;
  const std::string proc = root + "/proc";
  scan.initial_pid_namespace = link_name(proc + "/self/ns/pid") == initial_pid_namespace_name;
  const auto names = list_names(proc, most_processes);
  if (!names) return scan;
  std::vector<int64_t> pids;
  for (const std::string& name : *names)
    if (const auto pid = parse_count(name); pid && *pid > 0) pids.push_back(*pid);
  std::sort(pids.begin(), pids.end());
  scan.complete = scan.initial_pid_namespace && !pids.empty() && pids.front() == 1;
  for (const int64_t pid : pids)
    if (!scan_process(proc + "/" + std::to_string(pid), pid, scan.holdings)) scan.complete = false;
  return scan;
}

std::vector<DeviceProcess> processes_on(const DrmScan& scan, const PciAddress& pci, MemoryOf memory) {
  std::map<int64_t, DeviceProcess> by_pid;
  std::set<uint64_t> counted;
  for (const DrmHolding& holding : scan.holdings) {
    const DrmClient& client = holding.client;
    const Amount has = amount_of(client, memory);
    if (client.pci != pci || (has.known && has.bytes == 0 && !client.computes)) continue;
    const bool again = client.id && !counted.insert(*client.id).second;
    const auto [at, fresh] = by_pid.try_emplace(holding.pid);
    DeviceProcess& process = at->second;
    if (fresh) process = {holding.pid, DeviceProcess::Kind::graphics, 0};
    if (client.computes) process.kind = DeviceProcess::Kind::compute;
    if (!has.known) process.vram_bytes.reset();  // and so is the sum of it and anything
    if (process.vram_bytes && !again) *process.vram_bytes = std::min(*process.vram_bytes + has.bytes, max_amount);
  }
  std::vector<DeviceProcess> out;
  out.reserve(by_pid.size());
  for (auto& [pid, process] : by_pid) out.push_back(process);
  return out;
}

}  // namespace berth
