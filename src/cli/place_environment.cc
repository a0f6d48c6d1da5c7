// What the command of a place finds, and may use.
#include <algorithm>

#include "cli/place.h"
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

ProcessorSet Place::affinity() const {
  ProcessorSet own;
  for (const auto& seat : seats_) own |= processor_set(seat->engine.record().processors);
  if (own.any() || processors_of_others_.none()) return own;
  const ProcessorSet nobodys = allowed_processors() & ~processors_of_others_;
  const auto needed = static_cast<size_t>(std::max<int64_t>(1, amount_of(options_.claim, "cpu")));
  return nobodys.count() >= needed ? nobodys : ProcessorSet();
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
