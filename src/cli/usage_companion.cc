#include "cli/usage_companion.h"

#include <utility>

#include "base/text.h"
#include "engine/lease_roots.h"

namespace berth {

UsageCompanion::UsageCompanion(Place& place, GivingWayCompanion* giving, std::function<void(const std::string&)> tell)
    : place_(place),
      giving_(giving),
      tell_(std::move(tell)),
      watch_(
          place.usage_limits(), [&place] { return lease_roots(place.pool()); },
          [this](const Overuse& overuse) { speak_of(overuse); }) {
  if (const auto idle_ms = place.options().idle_ms) watch_.watch_idleness(*idle_ms * 1000);
}

int64_t UsageCompanion::due_us() const { return watch_.due_us(); }

bool UsageCompanion::act() {
  watch_.set_limits(place_.usage_limits());
  watch_.act();
  look_for_idleness();
  return over_ && place_.options().over_use_ends;
}

void UsageCompanion::speak_of(const Overuse& overuse) {
  if (place_.options().verb != PlaceVerb::run) return;  // there is no command to speak of
  over_ = true;
  tell_("it uses " + show_size(overuse.used_bytes) + " of GPU " + std::to_string(overuse.device_index) +
        " and claimed " + show_size(overuse.claimed_bytes) + "; others may run out of memory" +
        (place_.options().over_use_ends ? ", so it is ended (--over-use term)" : ""));
}

// Looked at with every answer of the driver, which come often enough.
void UsageCompanion::look_for_idleness() {
  const auto& options = place_.options();
  if (!options.idle_ms) return;
  if (const auto told = watch_.load_told(); told && giving_ != nullptr) giving_->set_load_told(*told);
  const bool idle = watch_.quiet_us() >= *options.idle_ms * 1000;
  if (idle == idle_) return;
  idle_ = idle;
  publish(idle);
  if (idle)
    tell_("its GPUs have shown no activity for " + show_duration(*options.idle_ms / 1000) + " (--idle)" +
          (options.reclaim_when_idle ? "; it may be asked to give way" : "; others can see that"));
}

void UsageCompanion::publish(bool idle) {
  if (giving_ != nullptr) return giving_->set_idle(idle);
  for (const auto& seat : place_.seats())
    (void)seat->engine.heed_requests([&](const Asked&) {
      Way way = seat->engine.record().way;
      way.idle = idle;
      return way;
    });
}

}  // namespace berth
