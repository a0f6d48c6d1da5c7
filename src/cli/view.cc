#include "cli/view.h"

#include <fcntl.h>
#include <unistd.h>

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
#include "cli/told.h"
#include "engine/driver_admission.h"
#include "engine/lease_roots.h"
#include "engine/machine_memory.h"
#include "engine/processor_choice.h"
#include "ledger/local_ledger.h"
#include "sched/plan.h"
#include "sched/shape.h"

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
    const bool owns = view.snapshot.parties[static_cast<size_t>(holder->party)].processors.count > 0;
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
  const Party& self = view.snapshot.parties[static_cast<size_t>(party)];
  if (self.pins && !view.snapshot.processors.empty())
    return std::string(no_processors_left) + ": " + holders_reason(view, party, Of::own_processors);
  return "its machine refused it a place a moment ago";
}

std::string reason_for(const PoolView& view, const Plan& plan, int party) {
  const Party& self = view.snapshot.parties[static_cast<size_t>(party)];
  if (self.state == PartyState::aside) return "stopped; passed over until it continues";
  if (self.out) return machine_reason(view, party);
  const Verdict verdict = plan.verdicts[static_cast<size_t>(party)];
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

}  // namespace

namespace {

// Everybody's verdict and expected start, each among those it competes with, by index into the whole snapshot.
// The line is the top's, then each lease's own.
Plan plan_for_all(const Snapshot& all) {
  Plan out;
  out.verdicts.assign(all.parties.size(), Verdict::none);
  out.starts_us.assign(all.parties.size(), -1);
  std::map<PartyKey, size_t> at;
  for (size_t i = 0; i < all.parties.size(); ++i) at.emplace(all.parties[i], i);
  const auto merge = [&](const Snapshot& group) {
    const Plan part = plan_with_starts(group, {});
    for (const int i : part.line) {
      const size_t index = at.at(group.parties[static_cast<size_t>(i)]);
      out.verdicts[index] = part.verdicts[static_cast<size_t>(i)];
      out.starts_us[index] = part.starts_us[static_cast<size_t>(i)];
      out.line.push_back(static_cast<int>(index));
      if (!part.is_over_quota(i)) continue;
      out.over_quota.resize(all.parties.size(), -1);
      out.over_quota[index] = part.over_quota[static_cast<size_t>(i)];
    }
  };
  for (const Snapshot& level : levels(all)) merge(level);
  return out;
}

std::optional<int64_t> eta_of(const Snapshot& snapshot, const Plan& plan, int party) {
  const int64_t start_us = plan.starts_us[static_cast<size_t>(party)];
  if (start_us < 0) return std::nullopt;
  return (std::max<int64_t>(0, start_us - snapshot.now_us) + 999'999) / 1'000'000;
}

}  // namespace

std::string lease_name(const PoolView& view, const LeaseView& lease) {
  const PartyId& id = view.snapshot.parties[static_cast<size_t>(lease.party)].id;
  return short_name(lease.info, id) + " (" + lease.user + ")";
}

std::vector<std::string> users_who_hide(const PoolView& view) {
  std::set<std::string> users;
  for (const LeaseView& lease : view.leases)
    if (lease.life == Life::unknown) users.insert(lease.user);
  return {users.begin(), users.end()};
}

int64_t held_amount(const Snapshot& snapshot, size_t resource) {
  int64_t sum = 0;
  for (const Party& p : snapshot.parties) {
    if (p.state != PartyState::held || p.nested) continue;
    for (const Amount& a : snapshot.counters(p))
      if (a.resource == resource) sum = std::min(max_amount, sum + a.amount);
  }
  return sum;
}

namespace {
template <class Add>
void for_each_holder_of(const Snapshot& snapshot, const Device& device, Add add) {
  for (const Party& p : snapshot.parties)
    for (const uint16_t granted : snapshot.granted(p))
      if (!p.nested && snapshot.devices[granted] == device.uuid) add(p);
}
}  // namespace

int64_t held_vram_bytes(const Snapshot& snapshot, const Device& device) {
  int64_t sum = 0;
  for_each_holder_of(snapshot, device, [&](const Party& p) {
    sum = std::min(max_amount, sum + (p.gpu.whole ? device.vram_total_bytes : p.gpu.vram_bytes));
  });
  return sum;
}

int held_compute_pct(const Snapshot& snapshot, const Device& device) {
  int sum = 0;
  for_each_holder_of(snapshot, device, [&](const Party& p) { sum += p.gpu.whole ? 100 : p.gpu.compute_pct; });
  return sum;
}

std::vector<Holding> holdings_of(const PoolView& view, const Device& device) {
  for (size_t i = 0; i < view.snapshot.devices.size(); ++i)
    if (view.snapshot.devices[i] == device.uuid)
      return holdings(view.snapshot, {}, static_cast<uint16_t>(i), device.vram_total_bytes);
  return {};
}

std::vector<const LeaseView*> holders_in_the_way(const PoolView& view, int party) {
  std::vector<const LeaseView*> out;
  const Party& self = view.snapshot.parties[static_cast<size_t>(party)];
  for (const LeaseView& lease : view.leases) {
    const Party& other = view.snapshot.parties[static_cast<size_t>(lease.party)];
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

int64_t free_vram_bytes(const PoolView& view, size_t index) {
  const Device& device = view.devices[index];
  int64_t left = device.vram_total_bytes - held_vram_bytes(view.snapshot, device);
  if (index < view.uses.size()) {
    const auto holders = holdings_of(view, device);
    left = free_bytes(view.uses[index], holders).value_or(left);
  }
  return std::max<int64_t>(0, left);
}

std::vector<std::string> driver_notes(const PoolView& view) {
  std::vector<std::string> notes = view.complaints;
  for (const DeviceOccupancy& use : view.uses) {
    const std::string gpu = device_name(use.device) + ": ";
    if (!use.device.trouble.empty()) notes.push_back(gpu + "cannot be used: " + use.device.trouble);
    const std::vector<Holding> holders = holdings_of(view, use.device);
    for (const Occupant& o : use.occupants) {
      if (!has_no_lease(o, holders)) continue;
      const std::string how_much = o.process.vram_bytes ? show_size(*o.process.vram_bytes) : "an unknown part";
      const std::string former = o.whose == Whose::lease ? std::string(o.lease.id.view()) : o.former_lease;
      notes.push_back(
          gpu + "pid " + std::to_string(o.process.pid) + " (" + user_name(o.uid) + ", " + o.command_line.substr(0, 60) +
          ") uses " + how_much + " without a lease" +
          (former.empty() ? "" : "; lease " + printable(former).substr(0, PartyId::size) + " left it behind"));
    }
    const DeviceSums s = sums(use, holders);
    if (s.nobodys > 0) notes.push_back(gpu + show_size(s.nobodys) + " are used by no process that is seen from here");
    for (const Holding& holder : holders) {
      const int64_t used = lease_bytes(use, holder.lease).value_or(0);
      if (used <= holder.claimed_bytes) continue;
      for (const LeaseView& lease : view.leases)
        if (view.snapshot.parties[static_cast<size_t>(lease.party)] == holder.lease)
          notes.push_back(gpu + lease_name(view, lease) + " uses " + show_size(used) + ", and claimed " +
                          show_size(holder.claimed_bytes));
    }
  }
  return notes;
}

namespace {

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

}  // namespace

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

  std::vector<LeaseRoot> roots;
  for (const Party& party : view.snapshot.parties)
    if (party.state == PartyState::held && !picture.devices.empty())
      roots.push_back(lease_root(view.snapshot, party, told->at(party).info, told->at(party).uid));
  ReadProcesses processes(picture.processes);
  view.uses = occupancy(picture.devices, roots, processes);

  const Plan plan = plan_for_all(view.snapshot);
  std::map<std::optional<PartyKey>, int> waiting;  // in each line: the top's, and each lease's own
  for (const int i : reading_order(view.snapshot, plan)) {
    const Party& party = view.snapshot.parties[static_cast<size_t>(i)];
    const Told& of = told->at(party);
    LeaseView lease{i, of.info, of.uid, user_name(of.uid), lives[party], 0, "", eta_of(view.snapshot, plan, i)};
    name_keepers(pool, party, lease);
    if (party.state == PartyState::held)
      for (const Amount& a : view.snapshot.counters(party))
        if (view.snapshot.resources[a.resource].name == "ram") lease.ram_limit = ram_limit_seen(of.info, a.amount);
    if (party.state == PartyState::waiting)
      lease.position = ++waiting[party.nested ? std::optional(party.parent_key()) : std::nullopt];
    view.leases.push_back(std::move(lease));
  }
  for (LeaseView& lease : view.leases)
    if (view.snapshot.parties[static_cast<size_t>(lease.party)].state != PartyState::held)
      lease.reason = reason_for(view, plan, lease.party);
  tell_who_gives_way(view);
  for (const std::string& user : users_who_hide(view)) {
    const auto told_already = [&](const std::string& note) { return note.starts_with(user + " has closed "); };
    if (std::none_of(view.notes.begin(), view.notes.end(), told_already))
      view.notes.push_back(user + " hides whether some jobs of his live, so they count as alive: berth doctor");
  }
  add_unseen_devices(view);
  note_overcommitment(view);
  for (std::string& note : cycle_notes(view)) view.notes.push_back(std::move(note));
  return view;
}

}  // namespace berth
