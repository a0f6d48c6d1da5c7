#include "cli/lapse.h"

#include <algorithm>
#include <string>

#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

// A tenth of the time before the end, but no less than that and no more.
constexpr int64_t least_notice_us = 5'000'000;
constexpr int64_t most_notice_us = 300'000'000;

}  // namespace

Lapse::Lapse(Place& place, const OwnTerminal& terminal) : place_(place), terminal_(terminal) { look(); }

void Lapse::look() {
  if (!place_.options().ttl_ms) return;
  // A place can be of several leases; the one whose id was printed says when all of them end.
  Engine& engine = place_.seats().front()->engine;
  if (!engine.seated()) {  // it gave way, and has the rest of its time when it is back
    end_us_ = warn_us_ = -1;
    return;
  }
  const int64_t ends_us = engine.refresh() ? engine.record().ends_us : 0;
  if (ends_us == 0) return;  // it cannot be seen just now
  const int64_t left_us = std::max<int64_t>(0, ends_us - wall_us());
  const int64_t end_us = monotonic_us() + left_us;
  constexpr int64_t same_us = 100'000;
  if (end_us_ >= 0 && std::abs(end_us - end_us_) < same_us) return;
  end_us_ = end_us;
  const int64_t notice_us = std::clamp(left_us / 10, least_notice_us, most_notice_us);
  warn_us_ = left_us > notice_us && terminal_.is_there() ? end_us_ - notice_us : -1;
}

int64_t Lapse::due_us() const { return warn_us_ >= 0 ? warn_us_ : end_us_; }

bool Lapse::act() {
  const int64_t now_us = monotonic_us();
  if (warn_us_ >= 0 && now_us >= warn_us_) {
    warn_us_ = -1;
    warn();
  }
  return end_us_ >= 0 && now_us >= end_us_;
}

void Lapse::warn() const {
  const auto& record = place_.seats().front()->engine.record();
  const std::string id(record.id.view());
  terminal_.tell("the lease " + id + (record.info.label.empty() ? "" : " (" + printable(record.info.label) + ")") +
                 " ends in " + show_duration((end_us_ - monotonic_us() + 999'999) / 1'000'000) + "; berth resize " +
                 id + " --ttl DUR moves that");
}

}  // namespace berth
