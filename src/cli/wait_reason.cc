#include "cli/wait_reason.h"

#include <algorithm>
#include <optional>

#include "cli/hold_and_wait.h"
#include "engine/driver_admission.h"
#include "engine/machine_memory.h"
#include "engine/processor_choice.h"
#include "sched/quota.h"
#include "sched/shape.h"

namespace berth {

namespace {

// Whether two parties compete at all: at the top, or inside the same lease.
bool compete(const Party& a, const Party& b) {
  return a.nested == b.nested && (!a.nested || a.parent_key() == b.parent_key());
}

// The driver's objection, as it shows from here and now. What the waiter asked of the driver is its own
// knowledge; where nothing shows it may be that, or something that has just gone.
std::string veto_reason(const PoolView& view, const Party& self) {
  std::string cards;
  for (const Eligible& e : view.snapshot.vetoed(self)) {
    const std::string& uuid = view.snapshot.devices[e.device];
    const auto of_it = [&](const DeviceOccupancy& use) { return use.device.uuid == uuid; };
    const auto use = std::find_if(view.uses.begin(), view.uses.end(), of_it);
    if (use == view.uses.end() && !view.complaints.empty()) return view.complaints.front();
    if (use != view.uses.end()) {
      std::string why = driver_refusal(*use, {}, view.snapshot, {}, self, e.device, /*seated=*/true);
      if (!why.empty()) return why;
    }
    cards += (cards.empty() ? "" : ", ") + (use == view.uses.end() ? uuid : device_name(use->device));
  }
  return "the driver said no to " + cards + " (--min-free, --max-util, or what was there a moment ago)";
}

enum class Of { anything, own_processors };

std::string holders_reason(const PoolView& view, int party, Of of = Of::anything) {
  std::string text;
  size_t more = 0;
  for (const LeaseView* holder : holders_in_the_way(view, party)) {
    const bool owns = view.snapshot.at(holder->party).processors.count > 0;
    if (of == Of::own_processors && !owns) continue;
    if (text.size() < 120)
      text += (text.empty() ? "held by " : ", ") + lease_name(view, *holder) +
              (holder->life == Life::unknown ? ", who hides whether it lives" : "") + waits_itself(view, holder->party);
    else
      ++more;
  }
  if (more > 0) text += " and " + std::to_string(more) + " more";
  return text;
}

// The machine's objection, likewise.
std::string machine_reason(const PoolView& view, int party) {
  const MemoryFigures now = read_memory_figures(sysfs_root(), std::nullopt);
  std::string why = memory_refusal(now, {}, view.snapshot, {}, party, MachineWord::Stand::seat);
  if (!why.empty()) return why;
  const Party& self = view.snapshot.at(party);
  if (self.pins && !view.snapshot.processors.empty())
    return std::string(no_processors_left) + ": " + holders_reason(view, party, Of::own_processors);
  return "its machine refused it a place a moment ago";
}

}  // namespace

std::string wait_reason(const PoolView& view, const Plan& plan, int party) {
  const Party& self = view.snapshot.at(party);
  if (self.state == PartyState::aside) return "stopped; passed over until it continues";
  if (self.out) return machine_reason(view, party);
  const Verdict verdict = plan.verdict_of(party);
  if (verdict == Verdict::seat) return "about to start";
  if (!view.snapshot.vetoed(self).empty()) {
    const std::string held = holders_reason(view, party);  // of what the driver would let it have
    return held + (held.empty() ? "" : "; ") + veto_reason(view, self);
  }
  if (verdict == Verdict::impossible) {
    const auto lacking = shortfalls(view.snapshot, party);
    const std::string what = lacking.empty() ? "" : ": " + lacking.front().what;
    return "asks for more than the pool has now" + what;
  }
  if (plan.is_over_quota(party)) {
    const Quota& quota = view.snapshot.policy.quotas[static_cast<size_t>(plan.over_quota[static_cast<size_t>(party)])];
    return "held back by " + quota_word(quota.name) + "=" + std::to_string(quota.most);
  }
  const std::string held = holders_reason(view, party);
  return held.empty() ? "others stand before it in line" : held;
}

std::vector<const LeaseView*> holders_in_the_way(const PoolView& view, int party) {
  std::vector<const LeaseView*> out;
  const Party& self = view.snapshot.at(party);
  for (const LeaseView& lease : view.leases) {
    const Party& other = view.snapshot.at(lease.party);
    if (other.state != PartyState::held) continue;
    // Processors are looked for over all levels.
    const bool owns_processors = self.pins && self.out && other.processors.count > 0;
    if (owns_processors) out.push_back(&lease);
    if (owns_processors || !compete(other, self)) continue;
    if (contend(view.snapshot, lease.party, party)) out.push_back(&lease);
  }
  return out;
}

std::vector<const LeaseView*> rivals_in_the_way(const PoolView& view, const Record& record) {
  PoolView with = view;
  if (decode_record(record_name(record), record_target(record), with.snapshot) != Decoded::ok) return {};
  const int self = static_cast<int>(with.snapshot.parties.size()) - 1;
  std::vector<const LeaseView*> out;
  for (const LeaseView* lease : holders_in_the_way(with, self))
    for (const LeaseView& own : view.leases)
      if (own.party == lease->party) out.push_back(&own);
  return out;
}

}  // namespace berth
