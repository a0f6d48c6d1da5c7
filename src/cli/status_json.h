// `status --json` and the one JSON line of a refusal. nlohmann-json stays behind this header, for it
// takes seconds to compile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/view.h"

namespace berth {

[[nodiscard]] std::string status_json(const PoolView& view);

// {"error":"busy","holders":[...],"eta_s":N|null,"reason":"..."|null}. `reason`: what a driver, or
// a quota, has against it; "" if nothing. `eta_s`: until it would have its place; nothing: nobody knows.
[[nodiscard]] std::string busy_json(const PoolView& view, const std::vector<const LeaseView*>& holders,
                                    const std::string& reason, const std::optional<int64_t>& eta_s);

}  // namespace berth
