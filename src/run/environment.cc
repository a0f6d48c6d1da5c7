#include "run/environment.h"

#include <algorithm>
#include <utility>

namespace berth {

namespace {

std::string joined(const std::vector<Device>& devices, bool by_uuid) {
  std::string out;
  for (const Device& d : devices) out += (out.empty() ? "" : ",") + (by_uuid ? d.uuid : std::to_string(d.index));
  return out;
}

}  // namespace

std::vector<std::string> lease_environment(const std::vector<std::string>& inherited, const LeaseEnvironment& lease) {
  std::vector<std::pair<std::string, std::string>> ours;
  if (!lease.id.empty()) {
    ours = {{"BERTH_ID", lease.id}, {"BERTH_POOL", lease.pool}, {"BERTH_LEASE", lease.tokens}};
    if (lease.life_fd >= 0) ours.emplace_back("BERTH_LIFE_FD", std::to_string(lease.life_fd));
  }
  if (!lease.devices.empty()) {
    // Indices, which every program reads; without this order CUDA counts the fastest card first.
    ours.emplace_back("CUDA_VISIBLE_DEVICES", joined(lease.devices, lease.visible_by_uuid));
    ours.emplace_back("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    ours.emplace_back("NVIDIA_VISIBLE_DEVICES", joined(lease.devices, true));
    ours.emplace_back("BERTH_DEVICES", joined(lease.devices, true));
  }
  if (lease.threads) {
    for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                             "VECLIB_MAXIMUM_THREADS"})
      ours.emplace_back(name, std::to_string(*lease.threads));
  }
  std::vector<std::string> out;
  for (const std::string& entry : inherited) {
    const std::string_view name = std::string_view(entry).substr(0, entry.find('='));
    const bool replaced = std::any_of(ours.begin(), ours.end(), [&](const auto& o) { return o.first == name; });
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
