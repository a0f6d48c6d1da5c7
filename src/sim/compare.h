// The comparison: who schedules, and the table of medians.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/baselines.h"
#include "sim/replay.h"
#include "sim/sources.h"

namespace berth::sim {

struct Contender {
  std::string name;
  std::function<Schedule(const Trace&, uint64_t seed)> run;
  bool ignores_estimates = false;  // whatever jobs say, it comes to the same
};

// What is compared beside what always is.
struct Besides {
  bool everybody = false;       // berth if everybody looked always
  std::optional<Policy> share;  // berth with this policy
};

// The baselines, berth without any estimates and with learned ones, and berth.
[[nodiscard]] std::vector<Contender> contenders(const Besides& besides);

struct Source {
  std::string name;
  std::function<Trace(uint64_t seed)> make;
  bool as_given = false;  // one trace, whatever the seed
};

// Medians over seeds 1 to 10 at 70, 100 and 130 % load, with true and with wrong estimates. A table in Markdown.
[[nodiscard]] std::string compare(const std::vector<Source>& sources, const Besides& besides);

}  // namespace berth::sim
