// How the machine's processors lie: nodes, caches, cores, as the kernel shows them.
#pragma once

#include <string>
#include <vector>

#include "core/processors.h"

namespace berth {

// Those that are online, by number. `root` as in sysfs.h. What a file does not say makes no difference between
// processors; where none says anything, it is empty.
// Source: Documentation/admin-guide/cputopology.rst and Documentation/ABI/{stable/sysfs-devices-node,
// testing/sysfs-devices-system-cpu} of Linux.
[[nodiscard]] std::vector<Processor> read_topology(const std::string& root);

}  // namespace berth
