#include "cli/taken.h"

#include <algorithm>

#include "base/text.h"
#include "engine/driver_admission.h"

namespace berth {

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

}  // namespace berth
