#include "cli/hold_and_wait.h"

namespace berth {

namespace {

const Party& at(const Snapshot& snapshot, int index) { return snapshot.parties[static_cast<size_t>(index)]; }

std::string name_of(const PoolView& view, const PartyKey& who) {
  for (const LeaseView& lease : view.leases)
    if (at(view.snapshot, lease.party) == who) return lease_name(view, lease);
  return std::string(who.id.view());
}

}  // namespace

std::string cycle_text(const PoolView& view, const Snapshot& snapshot, const std::vector<CycleWait>& cycle) {
  const std::string first = name_of(view, at(snapshot, cycle.back().blocker));
  if (cycle.size() == 1)
    return first + " holds " + cycle[0].wants + " and waits for more of it, which only its end frees";
  std::string text = first + " holds " + cycle.back().wants + " and waits for " + cycle.front().wants;
  for (size_t i = 0; i + 1 < cycle.size(); ++i) {
    const Party& blocker = at(snapshot, cycle[i].blocker);
    const std::string name = name_of(view, blocker);
    text +=
        blocker.state == PartyState::held ? ", which " + name + " holds" : ", for which " + name + " is ahead in line";
    text += ", who waits for " + cycle[i + 1].wants;
  }
  return text;
}

std::vector<std::string> cycle_notes(const PoolView& view) {
  std::vector<std::string> notes;
  for (const std::vector<CycleWait>& cycle : cycles(view.snapshot, work_at_leisure))
    notes.push_back("hold-and-wait: " + cycle_text(view, view.snapshot, cycle) + "; it ends when one of them gives up");
  return notes;
}

std::string waits_itself(const PoolView& view, int holder) {
  const Party& lease = at(view.snapshot, holder);
  for (const Party& p : view.snapshot.parties) {
    const bool more = p.state == PartyState::waiting && p.seconds && !p.nested && p.with_key() == lease;
    if (!more || uses_memory_of_lease(p.gpu)) continue;  // a turn is a matter of its residents
    std::string what = p.gpu.count > 0 ? "gpu" : "";
    for (const Amount& a : view.snapshot.counters(p))
      what += (what.empty() ? "" : ", ") + view.snapshot.resources[a.resource].name;
    return ", who waits for " + what;
  }
  return "";
}

}  // namespace berth
