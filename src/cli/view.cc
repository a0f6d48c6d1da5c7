#include "cli/view.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <map>
#include <optional>
#include <set>

#include "base/pid_namespace.h"
#include "base/sys.h"
#include "base/text.h"
#include "cli/giving_way_text.h"
#include "cli/hold_and_wait.h"
#include "cli/notes.h"
#include "cli/outlook.h"
#include "cli/ram_guard.h"
#include "cli/survivors.h"
#include "cli/taken.h"
#include "cli/told.h"
#include "cli/wait_reason.h"
#include "engine/driver_admission.h"
#include "engine/lease_roots.h"
#include "ledger/local_ledger.h"
#include "sched/plan.h"

namespace berth {

namespace {

// A record's target never changes, but its name does: who was renamed between the scan and our
// question is asked again by the name of the next scan, and so is everybody after a scan that left out
// somebody who moved. Newcomers since then are owed nothing: under churn there is always one more that
// is gone before it is asked.
Result<std::map<PartyKey, Told>> ask_everybody(LocalPool& pool, Snapshot& snapshot) {
  std::map<PartyKey, Told> told;
  std::set<PartyKey> owed;
  bool everybody = true;
  constexpr int most_scans = 100;
  for (int scan = 0; scan < most_scans; ++scan) {
    auto read = pool.read();
    if (!read) return read.error();
    snapshot = std::move(*read);
    std::set<PartyKey> missed;
    for (const Party& party : snapshot.parties) {
      if (told.contains(party)) continue;
      if (auto answer = ask_party(pool, party))
        told.emplace(party, std::move(*answer));
      else if (everybody || owed.contains(party))
        missed.insert(party);
    }
    everybody = pool.moved();
    if (missed.empty() && !everybody) break;
    owed = std::move(missed);
  }
  return told;
}

// Everybody's verdict and expected start, each among those it competes with, by index into the whole snapshot.
// The line is the top's, then each lease's own.
Plan plan_for_all(const Snapshot& all) {
  Plan out;
  out.verdicts.assign(all.parties.size(), Verdict::none);
  out.starts_us.assign(all.parties.size(), -1);
  std::map<PartyKey, size_t> at;
  for (size_t i = 0; i < all.parties.size(); ++i) at.emplace(all.parties[i], i);
  for (const Snapshot& group : levels(all)) {
    const Plan part = plan_with_starts(group, {});
    for (const int i : part.line) {
      const size_t index = at.at(group.at(i));
      out.verdicts[index] = part.verdict_of(i);
      out.starts_us[index] = part.starts_us[static_cast<size_t>(i)];
      out.line.push_back(static_cast<int>(index));
      if (!part.is_over_quota(i)) continue;
      out.over_quota.resize(all.parties.size(), -1);
      out.over_quota[index] = part.over_quota[static_cast<size_t>(i)];
    }
  }
  return out;
}

std::optional<int64_t> eta_of(const Snapshot& snapshot, const Plan& plan, int party) {
  const int64_t start_us = plan.starts_us[static_cast<size_t>(party)];
  if (start_us < 0) return std::nullopt;
  return (std::max<int64_t>(0, start_us - snapshot.now_us) + 999'999) / 1'000'000;
}

// Two records of one party are their owner's own mischief: one is shown. `lives` is filled in.
std::vector<Party> the_living(LocalPool& pool, const std::vector<Party>& parties, const std::map<PartyKey, Told>& told,
                              std::map<PartyKey, Life>& lives) {
  LocalLedger ledger(pool);
  std::vector<Party> living;
  std::set<PartyKey> seen;
  for (const Party& party : parties) {
    if (!told.contains(party) || !seen.insert(party).second) continue;
    const Life life = ledger.life(party);
    if (life != Life::dead) living.push_back(party);
    lives[party] = life;
  }
  return living;
}

// Indices of parties as people read them: holders by seat, then each line, then who stepped aside.
std::vector<int> reading_order(const Snapshot& snapshot, const Plan& plan) {
  const std::vector<Party>& parties = snapshot.parties;
  const auto at = [&](int i) -> const Party& { return parties[static_cast<size_t>(i)]; };
  std::vector<int> order;
  std::vector<int> aside;
  for (int i = 0; i < static_cast<int>(parties.size()); ++i) {
    if (at(i).state == PartyState::held) order.push_back(i);
    if (at(i).state == PartyState::aside) aside.push_back(i);
  }
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return std::pair(at(a).seated_us, at(a).id) < std::pair(at(b).seated_us, at(b).id); });
  // Who is out has no place in the plan, and keeps the one that it has in line.
  std::vector<int> line = plan.line;
  for (int i = 0; i < static_cast<int>(parties.size()); ++i) {
    if (!at(i).out || at(i).state != PartyState::waiting) continue;
    const OrderKey key = order_key(at(i), snapshot.policy);
    const auto behind = [&](int other) { return at(other).nested || key < order_key(at(other), snapshot.policy); };
    line.insert(std::find_if(line.begin(), line.end(), behind), i);
  }
  order.insert(order.end(), line.begin(), line.end());
  order.insert(order.end(), aside.begin(), aside.end());
  return order;
}

// More than there is can be held only by what was adopted, or after a capacity was lowered.
void note_overcommitment(PoolView& view) {
  for (size_t i = 0; i < view.snapshot.resources.size(); ++i) {
    const Resource& r = view.snapshot.resources[i];
    const int64_t held = held_amount(view.snapshot, i);
    if (held > r.capacity)
      view.notes.push_back("over-committed: " + describe_amount(r.name, held) + " held of " +
                           describe_amount(r.name, r.capacity));
  }
  for (const Device& d : view.devices) {
    const int64_t held = held_vram_bytes(view.snapshot, d);
    if (d.vram_total_bytes > 0 && held > d.vram_total_bytes)
      view.notes.push_back(device_name(d) + " is over-committed: " + show_size(held) + " held of " +
                           show_size(d.vram_total_bytes));
  }
}

// Devices that only parties speak of: another container's, or simulated ones of another shell's.
void add_unseen_devices(PoolView& view) {
  for (const Party& party : view.snapshot.parties) {
    for (const Eligible& e : view.snapshot.eligible(party)) {
      const std::string& uuid = view.snapshot.devices[e.device];
      const auto known = [&](const Device& d) { return d.uuid == uuid; };
      if (std::any_of(view.devices.begin(), view.devices.end(), known)) continue;
      Device device;
      device.index = static_cast<int>(view.devices.size());
      device.uuid = uuid;
      device.simulated = uuid.starts_with("SIM-");
      device.name = device.simulated ? "Simulated GPU" : "GPU not seen from here";
      device.vendor = device.simulated ? "simulated" : "unknown";
      device.vram_total_bytes = e.vram_bytes;
      view.devices.push_back(std::move(device));
    }
  }
}

// A killed wrapper whose command runs on: whoever looks for the job by its pid must not find a stranger that got
// that number since.
void name_keepers(LocalPool& pool, const Party& party, LeaseView& lease) {
  if (lease.life == Life::survived) {
    lease.reason = "only a survivor keeps it: " + name_processes(LocalLedger(pool).survivors(party));
    return;
  }
  const auto pid = static_cast<pid_t>(lease.info.pid);
  if (party.state != PartyState::held || pid <= 0 || lease.info.pid_namespace == 0 ||
      lease.info.pid_namespace != own_pid_namespace() || ::kill(pid, 0) == 0 || errno != ESRCH)
    return;
  const std::vector<pid_t> keepers = LocalLedger(pool).survivors(party);
  lease.reason = "pid " + std::to_string(pid) + " has ended; " +
                 (keepers.empty() ? "what it left running" : name_processes(keepers)) + " keeps the place";
  if (!keepers.empty()) lease.info.pid = keepers.front();
}

std::vector<DeviceOccupancy> uses_of_devices(const Snapshot& snapshot, const std::map<PartyKey, Told>& told,
                                             const Picture& picture) {
  std::vector<LeaseRoot> roots;
  for (const Party& party : snapshot.parties)
    if (party.state == PartyState::held && !picture.devices.empty())
      roots.push_back(lease_root(snapshot, party, told.at(party).info, told.at(party).uid));
  ReadProcesses processes(picture.processes);
  return occupancy(picture.devices, roots, processes);
}

// Everybody, as people read them; but for the reasons, which speak of other leases.
void add_leases(PoolView& view, LocalPool& pool, const Plan& plan, const std::map<PartyKey, Told>& told,
                const std::map<PartyKey, Life>& lives) {
  std::map<std::optional<PartyKey>, int> waiting;  // in each line: the top's, and each lease's own
  for (const int i : reading_order(view.snapshot, plan)) {
    const Party& party = view.snapshot.at(i);
    const Told& of = told.at(party);
    LeaseView lease{i, of.info, of.uid, user_name(of.uid), lives.at(party), 0, "", eta_of(view.snapshot, plan, i)};
    name_keepers(pool, party, lease);
    if (party.state == PartyState::held)
      for (const Amount& a : view.snapshot.counters(party))
        if (view.snapshot.resources[a.resource].name == "ram") lease.ram_limit = ram_limit_seen(of.info, a.amount);
    if (party.state == PartyState::waiting)
      lease.position = ++waiting[party.nested ? std::optional(party.parent_key()) : std::nullopt];
    view.leases.push_back(std::move(lease));
  }
}

void note_who_hides(PoolView& view) {
  for (const std::string& user : users_who_hide(view)) {
    const auto told_already = [&](const std::string& note) { return note.starts_with(user + " has closed "); };
    if (std::none_of(view.notes.begin(), view.notes.end(), told_already))
      view.notes.push_back(user + " hides whether some jobs of his live, so they count as alive: berth doctor");
  }
}

}  // namespace

std::string lease_name(const PoolView& view, const LeaseView& lease) {
  const PartyId& id = view.snapshot.at(lease.party).id;
  return short_name(lease.info, id) + " (" + lease.user + ")";
}

std::vector<std::string> users_who_hide(const PoolView& view) {
  std::set<std::string> users;
  for (const LeaseView& lease : view.leases)
    if (lease.life == Life::unknown) users.insert(lease.user);
  return {users.begin(), users.end()};
}

Result<PoolView> view_pool(LocalPool& pool, const Picture& picture) {
  PoolView view;
  view.path = pool.path();
  view.devices = picture.devices;
  view.complaints = picture.complaints;
  auto told = ask_everybody(pool, view.snapshot);
  if (!told) return told.error();
  view.now_us = wall_us();
  std::map<PartyKey, Life> lives;
  view.snapshot.parties = the_living(pool, view.snapshot.parties, *told, lives);
  view.notes = notes_on(pool, view.snapshot);

  view.uses = uses_of_devices(view.snapshot, *told, picture);

  const Plan plan = plan_for_all(view.snapshot);
  add_leases(view, pool, plan, *told, lives);
  for (LeaseView& lease : view.leases)
    if (view.snapshot.at(lease.party).state != PartyState::held) lease.reason = wait_reason(view, plan, lease.party);
  tell_who_gives_way(view);
  note_who_hides(view);
  add_unseen_devices(view);
  note_overcommitment(view);
  for (std::string& note : cycle_notes(view)) view.notes.push_back(std::move(note));
  return view;
}

}  // namespace berth
