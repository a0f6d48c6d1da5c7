// A claim as people read it in a table, with what was given of each thing beside that thing:
// "8 GiB on 1 GPU (GPU 0), 2 cpu (cpu 0-1), 4 GiB ram (watched)".
#pragma once

#include <string>

#include "core/claim.h"

namespace berth {

// What each part lies on; "": nothing is known, or there is nothing to say.
struct GivenParts {
  std::string gpus;        // "0,1"
  std::string processors;  // "0-3,8"
  std::string ram;         // what holds it to that
};

[[nodiscard]] std::string claim_text(const Claim& claim, const GivenParts& given);

}  // namespace berth
