// What the command of a place finds, and may use.
#include <algorithm>

#include "cli/place.h"
#include "cli/say.h"
#include "device/mps.h"
#include "device/probe_run.h"
#include "run/affinity.h"

namespace berth {

std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) out.emplace_back(*entry);
  return out;
}

std::optional<int64_t> thread_cap(const RunOptions& options) {
  if (options.threads) return options.threads;
  const int64_t cpus = amount_of(options.claim, "cpu");
  return cpus > 0 ? std::optional<int64_t>(cpus) : std::nullopt;
}

std::vector<UsageLimit> Place::usage_limits() const {
  std::vector<UsageLimit> out;
  for (const auto& seat : seats_) {
    const Record& record = seat->engine.record();
    // Inside another lease, it is that one's use that is looked at.
    if (record.parent || record.claim.gpu.count == 0 || picture_.devices.empty()) continue;
    if (picture_.devices.front().simulated) continue;
    if (record.with && uses_memory_of_lease(record.claim.gpu)) continue;
    for (const uint16_t ordinal : record.grant) {
      const DeviceRef& d = record.claim.eligible.at(ordinal);
      out.push_back({PartyKey::of(record.id, record.dir), d.uuid,
                     record.claim.gpu.whole ? d.vram_bytes : record.claim.gpu.vram_bytes});
    }
  }
  return out;
}

bool Place::load_is_told() const {
  const std::vector<UsageLimit> limits = usage_limits();
  return !limits.empty() && std::all_of(limits.begin(), limits.end(), [&](const UsageLimit& limit) {
    return load_of(picture_, limit.uuid).has_value();
  });
}

void Place::tell_if_load_is_not_told() const {
  if (!options_.idle_ms || load_is_told()) return;
  say(std::string(usage_limits().empty() ? "--idle: there is no GPU of which a driver could say that it is idle"
                                         : "--idle: the driver does not tell whether its GPUs do anything") +
      (options_.reclaim_when_idle ? ", so it is never asked to give way (--reclaimable=idle)" : ""));
}

ProcessorSet Place::affinity() const {
  ProcessorSet own;
  for (const auto& seat : seats_) own |= processor_set(seat->engine.record().processors);
  if (own.any() || (processors_around_.none() && processors_of_others_.none())) return own;
  const auto needed = static_cast<size_t>(std::max<int64_t>(1, amount_of(options_.claim, "cpu")));
  const ProcessorSet allowed = allowed_processors();
  const ProcessorSet around = allowed & processors_around_;
  for (const ProcessorSet& set : {around & ~processors_of_others_, around, allowed & ~processors_of_others_})
    if (set.count() >= needed) return set;
  return {};
}

LeaseEnvironment Place::environment() const {
  LeaseEnvironment out;
  out.id = seats_.front()->engine.record().id.view();
  out.pool = pool_->path();
  out.life_fd = seats_.front()->life.get();
  for (const auto& seat : seats_) {
    if (!seat->token.empty()) out.tokens += (out.tokens.empty() ? "" : ":") + seat->token;
    for (const DeviceRef& granted : seat->acquired.devices)
      for (const Device& d : picture_.devices)
        if (d.uuid == granted.uuid) out.devices.push_back(d);
  }
  std::sort(out.devices.begin(), out.devices.end(), [](const Device& a, const Device& b) { return a.index < b.index; });
  if (!around_.tokens.empty()) out.tokens += ":" + around_.tokens;
  // CUDA may still count a card that its driver cannot name.
  out.visible_by_uuid = options_.visible_by_uuid || !missing_card(picture_).empty();
  if (options_.cap_env) {
    out.vram_cap_bytes = options_.claim.gpu.vram_bytes;
    out.compute_cap_pct = options_.claim.gpu.compute_pct;
    out.mps_runs = mps_runs();
  }
  out.threads = thread_cap(options_);
  if (options_.pin) out.processors = show_processors(spans_of(affinity()));
  return out;
}

}  // namespace berth
