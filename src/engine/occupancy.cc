#include "engine/occupancy.h"

#include <algorithm>
#include <map>

#include "device/mps.h"

namespace berth {

namespace {

constexpr int64_t clock_slip_us = 2'000'000;  // between a process's start in ticks and the wall clock

// Less than this of nobody's memory is the driver's own: contexts, page tables, firmware. A card that
// nobody uses shows some megabytes, one with many contexts a few hundred.
constexpr int64_t negligible_bytes = int64_t{256} << 20;
// A stranger with less than this is a monitor that looks on, not a job.
constexpr int64_t onlooker_bytes = int64_t{32} << 20;

// Finds the lease of each process, and remembers: a card's processes share their forebears.
class Genealogy {
 public:
  Genealogy(const std::vector<LeaseRoot>& leases, ProcessTable& processes) : leases_(leases), processes_(processes) {}

  Occupant place(const DeviceProcess& process, const Device& device) {
    Occupant out;
    out.process = process;
    const bool foreign_pids = device.host_pids && !processes_.sees_everybody();
    const auto facts = foreign_pids ? std::nullopt : look_up(process.pid);
    if (!facts) return out;
    out.uid = facts->uid;
    out.command = facts->command;
    out.command_line = facts->command_line;
    if (is_shared_server(*facts)) return out;
    bool decided = false;
    const LeaseRoot* lease = of_itself_or_forebears(process.pid, *facts, device.uuid, decided);
    // Who ends has nothing left to show whose it was; its memory goes in a moment, and is nobody's until then.
    if (lease == nullptr && !facts->environment_known && facts->ending) return out;
    // Who hides its environment, as all do whose forebears we see, is believed to be of a lease of its user's
    // on that device, if there is one: counting it twice would keep the place empty for nobody.
    if (lease == nullptr && !decided) lease = of_user(facts->uid, device.uuid);
    out.whose = lease == nullptr ? Whose::stranger : Whose::lease;
    if (lease != nullptr)
      out.lease = outermost(*lease).key;
    else
      out.former_lease = facts->lease_id;
    return out;
  }

 private:
  std::optional<ProcessFacts> look_up(int64_t pid) {
    const auto known = facts_.find(pid);
    if (known != facts_.end()) return known->second;
    return facts_[pid] = processes_.facts(pid);
  }

  [[nodiscard]] const LeaseRoot* of_environment(const ProcessFacts& facts) const {
    if (facts.lease_id.empty()) return nullptr;
    for (const LeaseRoot& lease : leases_)
      if (lease.key.id.view() == facts.lease_id && lease.uid == facts.uid) return &lease;
    return nullptr;
  }

  // The nearest lease, going up, that holds the device. A place can be of two leases, and the environment
  // names but one; and who has a lease on something else is a stranger here. `decided`: somebody on the way
  // showed his environment, so that it is known to be of no lease where none is found.
  const LeaseRoot* of_itself_or_forebears(int64_t pid, ProcessFacts facts, const std::string& uuid, bool& decided) {
    for (int step = 0; step < most_forebears && pid > 1; ++step) {
      decided = decided || facts.environment_known;
      const LeaseRoot* named = of_environment(facts);
      if (named != nullptr && holds_device(outermost(*named), uuid)) return named;
      for (const LeaseRoot& lease : leases_)
        if (is_root_of(lease, pid, facts) && holds_device(outermost(lease), uuid)) return &lease;
      pid = facts.parent;
      const auto parent = look_up(pid);
      if (!parent) break;
      facts = *parent;
    }
    return nullptr;
  }

  [[nodiscard]] bool is_root_of(const LeaseRoot& lease, int64_t pid, const ProcessFacts& facts) const {
    // A pid that was used again belongs to a younger process. Root may have adopted another's.
    return lease.pid == pid && lease.pid_namespace != 0 && lease.pid_namespace == processes_.pid_namespace() &&
           (lease.uid == facts.uid || lease.uid == 0) && facts.started_us <= lease.arrival_us + clock_slip_us;
  }

  static bool holds_device(const LeaseRoot& lease, const std::string& uuid) {
    return std::find(lease.devices.begin(), lease.devices.end(), uuid) != lease.devices.end();
  }

  [[nodiscard]] const LeaseRoot* of_user(uid_t uid, const std::string& uuid) const {
    for (const LeaseRoot& lease : leases_)
      if (lease.uid == uid && holds_device(outermost(lease), uuid)) return &lease;
    return nullptr;
  }

  [[nodiscard]] const LeaseRoot& outermost(const LeaseRoot& lease) const {
    const LeaseRoot* at = &lease;
    for (size_t step = 0; step < leases_.size() && at->parent; ++step) {
      const auto parent = std::find_if(leases_.begin(), leases_.end(),
                                       [&](const LeaseRoot& l) { return l.key.id == *at->parent && l.uid == at->uid; });
      if (parent == leases_.end()) break;
      at = &*parent;
    }
    return *at;
  }

  const std::vector<LeaseRoot>& leases_;
  ProcessTable& processes_;
  std::map<int64_t, std::optional<ProcessFacts>> facts_;
};

bool holds(const std::vector<Holding>& holders, const PartyKey& lease) {
  return std::any_of(holders.begin(), holders.end(), [&](const Holding& h) { return h.lease == lease; });
}

}  // namespace

bool has_no_lease(const Occupant& occupant, const std::vector<Holding>& holders) {
  return occupant.whose == Whose::stranger || (occupant.whose == Whose::lease && !holds(holders, occupant.lease));
}

std::vector<DeviceOccupancy> occupancy(const std::vector<Device>& devices, const std::vector<LeaseRoot>& leases,
                                       ProcessTable& processes) {
  Genealogy genealogy(leases, processes);
  std::vector<DeviceOccupancy> out;
  for (const Device& device : devices) {
    DeviceOccupancy use;
    use.device = device;
    for (const DeviceProcess& process : device.processes) use.occupants.push_back(genealogy.place(process, device));
    for (const LeaseRoot& lease : leases) {
      const bool on_it = std::find(lease.devices.begin(), lease.devices.end(), device.uuid) != lease.devices.end();
      const bool elsewhere = lease.pid_namespace != processes.pid_namespace() || !processes.sees_everybody();
      if (on_it && !lease.parent && (elsewhere || !device.processes_known)) use.unattributable.push_back(lease.key);
    }
    out.push_back(std::move(use));
  }
  return out;
}

std::optional<int64_t> lease_bytes(const DeviceOccupancy& use, const PartyKey& lease) {
  std::optional<int64_t> sum;
  for (const Occupant& o : use.occupants) {
    if (o.whose != Whose::lease || o.lease != lease) continue;
    if (!o.process.vram_bytes) return std::nullopt;
    sum = sum.value_or(0) + *o.process.vram_bytes;
  }
  return sum;
}

DeviceSums sums(const DeviceOccupancy& use, const std::vector<Holding>& holders) {
  DeviceSums out;
  int64_t seen = 0;
  bool serves_others = false;
  for (const Occupant& o : use.occupants) {
    const bool computes = o.process.kind == DeviceProcess::Kind::compute;
    if (computes) ++out.processes;
    const bool stranger = has_no_lease(o, holders);
    if (!o.process.vram_bytes) {
      out.stranger_of_unknown_size |= stranger && computes;
      out.compute_strangers += stranger && computes ? 1 : 0;
      serves_others |= o.whose == Whose::unknown;
      continue;
    }
    const int64_t bytes = *o.process.vram_bytes;
    if (o.whose == Whose::unknown) {
      serves_others = true;  // its memory stays among nobody's
      continue;
    }
    seen += bytes;
    if (!stranger) continue;
    (computes ? out.strangers : out.graphics) += bytes;
    if (computes && bytes >= onlooker_bytes) ++out.compute_strangers;
  }
  if (!use.device.vram_used_bytes) return out;
  int64_t rest = *use.device.vram_used_bytes - seen;
  for (const Holding& holder : holders) {
    const auto own = lease_bytes(use, holder.lease);
    const bool hidden = serves_others || std::find(use.unattributable.begin(), use.unattributable.end(),
                                                   holder.lease) != use.unattributable.end();
    const bool unknown_size = std::any_of(use.occupants.begin(), use.occupants.end(), [&](const Occupant& o) {
      return o.whose == Whose::lease && o.lease == holder.lease && !o.process.vram_bytes;
    });
    // What may well be that lease's own is not counted against others once more.
    if (hidden || unknown_size) rest -= std::max<int64_t>(0, holder.claimed_bytes - own.value_or(0));
  }
  out.nobodys = rest < negligible_bytes ? 0 : rest;
  return out;
}

std::optional<int64_t> free_bytes(const DeviceOccupancy& use, const std::vector<Holding>& holders) {
  if (use.device.vram_total_bytes == 0) return std::nullopt;
  const DeviceSums s = sums(use, holders);
  int64_t taken = s.strangers + s.graphics + s.nobodys;
  for (const Holding& holder : holders)
    taken += std::max(holder.claimed_bytes, lease_bytes(use, holder.lease).value_or(0));
  return use.device.vram_total_bytes - taken;
}

}  // namespace berth
