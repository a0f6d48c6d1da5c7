#include "cli/own_processors.h"

#include <algorithm>

#include "sched/own_processors.h"

namespace berth {

OwnProcessors::OwnProcessors(std::vector<Processor> machine, const ProcessorSet& allowed, const Picture& picture)
    : machine_(std::move(machine)), allowed_(allowed) {
  // Where the kernel shows nothing of how they lie (no /sys), one is as good as another.
  ProcessorSet known;
  for (const Processor& p : machine_) known.set(p.number);
  for (const ProcessorSpan& span : spans_of(allowed_ & ~known))
    for (uint32_t number = span.first; number <= span.last; ++number)
      machine_.push_back({static_cast<uint16_t>(number), number, 0, 0});
  for (const Device& d : picture.devices)
    if (d.numa_node >= 0) node_of_device_.emplace_back(d.uuid, d.numa_node);
}

ProcessorSet OwnProcessors::choose(int64_t count, const ProcessorSet& taken,
                                   const std::vector<std::string>& devices) const {
  std::vector<int> near;
  for (const auto& [uuid, node] : node_of_device_)
    if (std::find(devices.begin(), devices.end(), uuid) != devices.end()) near.push_back(node);
  return choose_processors(machine_, allowed_ & ~taken, count, near);
}

}  // namespace berth
