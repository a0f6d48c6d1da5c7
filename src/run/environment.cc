#include "run/environment.h"

#include <algorithm>
#include <utility>

namespace berth {

namespace {

using Variables = std::vector<std::pair<std::string, std::string>>;

// The numbers are the vendor's own, for it is its library that reads them.
std::string joined(const std::vector<Device>& devices, bool by_uuid) {
  std::string out;
  for (const Device& d : devices) out += (out.empty() ? "" : ",") + (by_uuid ? d.uuid : std::to_string(d.vendor_index));
  return out;
}

// Each vendor's programs find the granted ones of its devices. A vendor of whom nothing was granted is
// not hidden: the variables of one are read by the programs of another.
void show_devices(const LeaseEnvironment& lease, Variables& ours, std::vector<std::string>& dropped) {
  std::vector<Device> cuda;
  std::vector<Device> amd;
  std::vector<Device> intel;
  for (const Device& d : lease.devices) (d.vendor == "amd" ? amd : d.vendor == "intel" ? intel : cuda).push_back(d);
  const bool mig = std::any_of(cuda.begin(), cuda.end(), [](const Device& d) { return !d.mig_parent.empty(); });
  // ROCm's own programs read CUDA_VISIBLE_DEVICES too, and count what ROCR_VISIBLE_DEVICES left over anew:
  // one of them is enough. Intel's level-zero counts as the mask does.
  if (!amd.empty()) {
    // Without a number burnt into the chip there is no UUID that ROCr would take (device/amd.cc).
    const bool named = std::all_of(amd.begin(), amd.end(), [](const Device& d) { return d.uuid.starts_with("GPU-"); });
    ours.emplace_back("ROCR_VISIBLE_DEVICES", joined(amd, lease.visible_by_uuid && named));
    dropped = {"HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"};
    if (cuda.empty()) dropped.emplace_back("CUDA_VISIBLE_DEVICES");
  }
  if (!intel.empty()) {
    ours.emplace_back("ZE_AFFINITY_MASK", joined(intel, false));
    dropped.emplace_back("ZE_ENABLE_PCI_ID_DEVICE_ORDER");  // it would count in another order
  }
  if (cuda.empty()) return;
  // Indices, which every program reads; without this order CUDA counts the fastest card first. A slice of
  // a card has no index.
  ours.emplace_back("CUDA_VISIBLE_DEVICES", joined(cuda, lease.visible_by_uuid || mig));
  ours.emplace_back("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
  ours.emplace_back("NVIDIA_VISIBLE_DEVICES", joined(cuda, true));
}

std::string value_of(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& entry : environment)
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
      return entry.substr(name.size() + 1);
  return "";
}

// "0.33": rounded down, so that it is never more than was granted.
std::string fraction(int64_t part, int64_t whole) {
  const int64_t hundredths = part / std::max<int64_t>(1, whole / 100);
  const std::string digits = std::to_string(std::clamp<int64_t>(hundredths, 1, 100) + 100);
  return (digits[0] == '2' ? "1." : "0.") + digits.substr(1);
}

}  // namespace

std::vector<std::string> framework_caps(const std::vector<std::string>& inherited, const LeaseEnvironment& lease) {
  std::vector<std::string> out;
  if (lease.devices.empty()) return out;
  if (lease.vram_cap_bytes > 0) {
    int64_t largest = 0;  // a fraction that fits all of them
    for (const Device& d : lease.devices) largest = std::max(largest, d.vram_total_bytes);
    const std::string part = fraction(lease.vram_cap_bytes, largest);
    out.push_back("XLA_PYTHON_CLIENT_MEM_FRACTION=" + part);  // JAX: what it takes at its start
    out.emplace_back("TF_FORCE_GPU_ALLOW_GROWTH=true");       // TensorFlow: else it takes the whole card
    const std::string torch = value_of(inherited, "PYTORCH_CUDA_ALLOC_CONF");
    if (torch.find("per_process_memory_fraction") == std::string::npos)
      out.push_back("PYTORCH_CUDA_ALLOC_CONF=" + torch + (torch.empty() ? "" : ",") +
                    "per_process_memory_fraction:" + part);
  }
  if (!lease.mps_runs) return out;
  if (lease.vram_cap_bytes > 0) {
    std::string limits;
    // MPS counts the visible devices, from 0.
    for (size_t i = 0; i < lease.devices.size(); ++i)
      limits += (i == 0 ? "" : ",") + std::to_string(i) + "=" + std::to_string(lease.vram_cap_bytes >> 20U) + "M";
    out.push_back("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=" + limits);
  }
  if (lease.compute_cap_pct > 0)
    out.push_back("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=" + std::to_string(lease.compute_cap_pct));
  return out;
}

std::vector<std::string> lease_environment(const std::vector<std::string>& inherited, const LeaseEnvironment& lease) {
  Variables ours;
  if (!lease.id.empty()) {
    ours = {{"BERTH_ID", lease.id}, {"BERTH_POOL", lease.pool}, {"BERTH_LEASE", lease.tokens}};
    if (lease.life_fd >= 0) ours.emplace_back("BERTH_LIFE_FD", std::to_string(lease.life_fd));
  }
  std::vector<std::string> dropped;
  if (!lease.devices.empty()) {
    show_devices(lease, ours, dropped);
    ours.emplace_back("BERTH_DEVICES", joined(lease.devices, true));
  }
  if (lease.threads) {
    for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                             "VECLIB_MAXIMUM_THREADS"})
      ours.emplace_back(name, std::to_string(*lease.threads));
  }
  if (!lease.processors.empty()) ours.emplace_back("BERTH_PROCESSORS", lease.processors);
  for (const std::string& cap : framework_caps(inherited, lease)) {
    const size_t equals = cap.find('=');
    ours.emplace_back(cap.substr(0, equals), cap.substr(equals + 1));
  }
  std::vector<std::string> out;
  for (const std::string& entry : inherited) {
    const std::string_view name = std::string_view(entry).substr(0, entry.find('='));
    const bool replaced = std::any_of(ours.begin(), ours.end(), [&](const auto& o) { return o.first == name; }) ||
                          std::find(dropped.begin(), dropped.end(), name) != dropped.end();
    if (!replaced) out.push_back(entry);
  }
  for (const auto& [name, value] : ours) {
    std::string entry = name;
    entry += '=';
    entry += value;
    out.push_back(std::move(entry));
  }
  return out;
}

std::string command_line(const std::vector<std::string>& argv) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  std::string out;
  for (const std::string& word : argv) {
    if (!out.empty()) out += ' ';
    if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) {
      out += word;
      continue;
    }
    out += '\'';
    for (const char c : word) {
      if (c == '\'')
        out += "'\\''";
      else
        out += c;
    }
    out += '\'';
  }
  return out;
}

}  // namespace berth
