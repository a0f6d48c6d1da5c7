#include "device/topology.h"

#include <algorithm>

#include "base/text.h"
#include "device/sysfs.h"

namespace berth {

namespace {

std::optional<std::vector<ProcessorSpan>> read_list(const std::string& path) {
  const auto word = read_word(path);
  return word ? parse_processors(*word) : std::nullopt;
}

// A group is known by the first processor in it: that is unique over the machine, which core_id is not.
std::optional<uint32_t> group_of(const std::string& path) {
  const auto list = read_list(path);
  return list ? std::optional<uint32_t>(list->front().first) : std::nullopt;
}

// The cache of the highest level that is not for instructions alone, the second or above.
uint32_t last_level(const std::string& cpu_dir) {
  uint32_t group = 0;
  int64_t highest = 1;
  for (int index = 0; index < 16; ++index) {
    const std::string dir = cpu_dir + "/cache/index" + std::to_string(index);
    const auto level = read_count(dir + "/level");
    if (!level) break;
    const auto shared = *level > highest ? group_of(dir + "/shared_cpu_list") : std::nullopt;
    if (!shared) continue;
    group = *shared;
    highest = *level;
  }
  return group;
}

}  // namespace

std::vector<Processor> read_topology(const std::string& root) {
  std::vector<Processor> out;
  const std::string cpus = root + "/sys/devices/system/cpu";
  const auto online = read_list(cpus + "/online");
  if (!online) return out;
  for (const ProcessorSpan& span : *online) {
    for (uint32_t number = span.first; number <= span.last; ++number) {
      const std::string dir = cpus + "/cpu" + std::to_string(number);
      auto core = group_of(dir + "/topology/core_cpus_list");
      if (!core) core = group_of(dir + "/topology/thread_siblings_list");  // before Linux 5.3
      out.push_back({static_cast<uint16_t>(number), core.value_or(number), last_level(dir), 0});
    }
  }
  const std::string nodes = root + "/sys/devices/system/node";
  const auto names = list_names(nodes);
  if (!names) return out;
  for (const std::string& name : *names) {
    if (!name.starts_with("node")) continue;
    const auto node = parse_count(std::string_view(name).substr(4));
    const auto members = node ? read_list(nodes + "/" + name + "/cpulist") : std::nullopt;
    if (!members) continue;
    const ProcessorSet set = processor_set(*members);
    for (Processor& p : out)
      if (set[p.number]) p.node = static_cast<int>(*node);
  }
  return out;
}

}  // namespace berth
