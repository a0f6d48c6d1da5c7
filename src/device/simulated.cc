#include "base/text.h"
#include "device/probe.h"

namespace berth {

namespace {

constexpr int64_t most_devices = 64;

// "24G" or "2x24G"; false for anything else.
bool add_group(const std::string& word, std::vector<Device>& devices) {
  int64_t count = 1;
  std::string size = word;
  if (const size_t x = word.find('x'); x != std::string::npos) {
    const auto number = parse_count(word.substr(0, x));
    if (!number || *number < 1 || *number > most_devices) return false;
    count = *number;
    size = word.substr(x + 1);
  }
  const auto bytes = parse_size_bytes(size);
  if (!bytes || *bytes == 0) return false;
  for (int64_t i = 0; i < count; ++i) {
    if (devices.size() >= static_cast<size_t>(most_devices)) return false;
    Device d;
    d.index = static_cast<int>(devices.size());
    d.vendor_index = d.index;
    d.uuid = "SIM-" + std::to_string(d.index);
    d.name = "Simulated GPU";
    d.vendor = "simulated";
    d.simulated = true;
    d.vram_total_bytes = *bytes;
    devices.push_back(std::move(d));
  }
  return true;
}

}  // namespace

Result<std::vector<Device>> simulated_devices(const std::string& text) {
  std::vector<Device> devices;
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    if (!add_group(text.substr(start, comma - start), devices))
      return Error{ErrorKind::usage, 0, "BERTH_SIM_GPUS=" + printable(text) + " is not a list like 2x24G or 24G,48G"};
    start = comma + 1;
  }
  return devices;
}

}  // namespace berth
