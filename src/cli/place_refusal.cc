// What is said of a claim that gets no place, or is only asked for one.
#include "cli/exit_status.h"
#include "cli/hold_and_wait.h"
#include "cli/impossible_text.h"
#include "cli/place.h"
#include "cli/say.h"
#include "cli/status_json.h"
#include "cli/view.h"
#include "cli/wait_reason.h"
#include "cli/waiting_look.h"

namespace berth {

int Place::refuse_busy(const Record& record, const std::string& reason) {
  auto view = view_pool(*pool_, picture_);
  if (!view) return fail(view.error());
  const auto words = look_for_waiter(*pool_, picture_, record, reason);
  const std::optional<int64_t> eta_s = words.ok() ? words->eta_s : std::nullopt;
  const std::string& why = words.ok() ? words->objection : reason;
  const std::string line = busy_json(*view, rivals_in_the_way(*view, record), why, eta_s) + "\n";
  put_last(line);
  return exit_status::busy;
}

// Inside of a lease it is a part of the claim that falls short; said is the whole of it.
int Place::refuse_impossible(const Acquired& acquired) const {
  std::vector<Shortfall> shortfalls = acquired.shortfalls;
  for (Shortfall& s : shortfalls) {
    if (s.what == "gpu") s.asked = options_.claim.gpu.count;
    for (const NamedAmount& c : options_.claim.counters)
      if (s.what == c.name) s.asked = c.amount;
  }
  say_last(impossible_text(shortfalls, options_, picture_.devices, inherited_));
  return exit_status::impossible;
}

// What no part of the claim tells by itself. No record has room for more cards than a pool can have; and inside of
// leases each part may fit where the whole never does.
std::optional<int> Place::refuse_beyond_all() {
  Acquired beyond;
  if (options_.claim.gpu.count > static_cast<int>(max_claim_devices))
    beyond.shortfalls.push_back({"gpu", options_.claim.gpu.count, static_cast<int64_t>(eligible_.size())});
  if (!around_.leases.empty())
    if (const auto snapshot = pool_->read(); snapshot.ok())
      for (const NamedAmount& c : options_.claim.counters)
        for (const Resource& r : snapshot->resources)
          if (r.name == c.name && c.amount > r.capacity) beyond.shortfalls.push_back({c.name, c.amount, r.capacity});
  if (beyond.shortfalls.empty()) return std::nullopt;
  return refuse_impossible(beyond);
}

int Place::refuse_cycle(const Acquired& acquired) {
  auto view = view_pool(*pool_, picture_);
  if (!view) return fail(view.error());
  say_last("would wait for ever: " + cycle_text(*view, acquired.snapshot, acquired.cycle) +
           "; ask for all of it in one claim, or first");
  return exit_status::impossible;
}

int Place::tell_preview(const PartyInfo& info) {
  if (const auto failed = refuse_beyond_all()) return *failed;
  std::string on;
  for (const ClaimPart& part : parts()) {
    Seat seat(*pool_, -1);
    const auto admission = admission_for(part);
    if (admission) seat.engine.heed(*admission);
    const auto machine = machine_for(part);
    if (machine) seat.engine.heed(*machine);
    if (processors_) seat.engine.heed(*processors_);
    const auto preview = seat.engine.preview(request_for(part, info));
    if (!preview) return fail(preview.error());
    if (preview->ending == Ending::impossible) return refuse_impossible(*preview);
    if (preview->ending == Ending::cycle) return refuse_cycle(*preview);
    if (preview->ending != Ending::seated) {
      const auto words = look_for_waiter(*pool_, picture_, seat.engine.record(), preview->refusal);
      if (!words) return fail(words.error());
      return put("would wait for " + waiting_text(*words) + "\n") ? exit_status::busy : exit_status::unavailable;
    }
    for (const DeviceRef& granted : preview->devices)
      for (const Device& d : picture_.devices)
        if (d.uuid == granted.uuid) on += (on.empty() ? " on GPU " : ", ") + std::to_string(d.index);
  }
  return put("would start now" + on + "\n") ? exit_status::ok : exit_status::unavailable;
}

}  // namespace berth
