// Which leases somebody means who names them by id or label.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/view.h"

namespace berth {

struct LeaseWanted {
  std::string id_prefix;
  std::string label;
};

// The parties that are meant: by id or unique prefix of it, or by label among one's own. A stranger who
// copied one's id is another party, and does not stand in the way. Errors: not_found, not_yours, usage.
[[nodiscard]] Result<std::vector<PartyKey>> find_leases(const PoolView& view, const LeaseWanted& wanted);

}  // namespace berth
