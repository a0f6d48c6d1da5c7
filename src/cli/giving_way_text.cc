#include "cli/giving_way_text.h"

#include <map>

#include "sched/reclaim.h"

namespace berth {

namespace {

void add(std::string& reason, const std::string& more) { reason += (reason.empty() ? "" : "; ") + more; }

// For whom each is asked, by index into the whole snapshot: at the top, and inside of each lease.
std::map<int, int> asked_of_all(const Snapshot& all) {
  std::map<int, int> out;
  for (const Snapshot& level : levels(all)) {
    for (const Reclaim& r : reclaims(level)) {
      const int holder = all.find(level.parties[static_cast<size_t>(r.holder)]);
      out[holder] = r.waiter < 0 ? r.waiter : all.find(level.parties[static_cast<size_t>(r.waiter)]);
    }
  }
  return out;
}

// "llama (alice) is asked to give way", or "a (alice), b (bob) are": for the waiter `waiter`.
std::string asked_for(const PoolView& view, const std::map<int, int>& asked, int waiter) {
  std::string names;
  int count = 0;
  for (const LeaseView& lease : view.leases) {
    const auto found = asked.find(lease.party);
    if (found == asked.end() || found->second != waiter) continue;
    names += (names.empty() ? "" : ", ") + lease_name(view, lease);
    ++count;
  }
  return names.empty() ? "" : names + (count == 1 ? " is" : " are") + " asked to give way";
}

}  // namespace

void tell_who_gives_way(PoolView& view) {
  const std::map<int, int> asked = view.snapshot.any_reclaimable ? asked_of_all(view.snapshot) : std::map<int, int>{};
  for (LeaseView& lease : view.leases) {
    const Party& party = view.snapshot.parties[static_cast<size_t>(lease.party)];
    const Way& way = party.way;
    if (party.state != PartyState::held) {
      if (const std::string others = asked_for(view, asked, lease.party); !others.empty()) {
        lease.reason = others + (lease.reason.empty() ? "" : "; ") + lease.reason;
        lease.eta_s.reset();
      }
      if (way.yielding) add(lease.reason, "it gave way and comes back");
      continue;
    }
    const auto found = asked.find(lease.party);
    lease.asked_to_give_way = found != asked.end() || way.asked || way.yielding || way.unheeded;
    std::string whom;
    if (found != asked.end() && found->second >= 0)
      for (const LeaseView& other : view.leases)
        if (other.party == found->second) whom = " to " + lease_name(view, other);
    if (way.unheeded)
      add(lease.reason, std::string("was asked ") + (way.asked ? "by hand " : "") + "to give way and did not");
    else if (lease.asked_to_give_way)
      add(lease.reason, "asked to give way" + whom);
    if (way.busy && way.unseen)
      add(lease.reason, "no driver tells whether its GPUs do anything, so it is not asked");
    else if (way.busy)
      add(lease.reason, lease.asked_to_give_way ? "busy, so not yet" : "busy, so it is not asked");
    if (way.idle) add(lease.reason, "its GPUs are idle");
  }
}

}  // namespace berth
