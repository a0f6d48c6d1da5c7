// `status --json` and the one JSON line of a refusal. nlohmann-json stays behind this header, for it
// takes seconds to compile.
#pragma once

#include <string>

#include "cli/view.h"

namespace berth {

[[nodiscard]] std::string status_json(const PoolView& view);

// {"error":"busy","holders":[...],"eta_s":N|null}, for a claim that is parties[self] of the picture.
[[nodiscard]] std::string busy_json(const PoolView& view, const std::vector<const LeaseView*>& holders);

}  // namespace berth
