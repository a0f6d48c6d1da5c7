// A view of a pool as people read it.
#pragma once

#include <string>

#include "cli/view.h"

namespace berth {

// Tables: resources, devices, leases with those inside them below. `width`: of the window they have to
// fit into, where less important columns give way; 0 for none.
[[nodiscard]] std::string status_text(const PoolView& view, size_t width);
// One line.
[[nodiscard]] std::string short_text(const PoolView& view);

}  // namespace berth
