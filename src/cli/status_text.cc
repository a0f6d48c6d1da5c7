#include "cli/status_text.h"

#include <algorithm>
#include <functional>
#include <set>

#include "base/text.h"
#include "cli/claim_text.h"
#include "cli/table.h"
#include "cli/taken.h"
#include "engine/driver_admission.h"

namespace berth {

namespace {

std::string percent(const std::optional<int>& value) { return value ? std::to_string(*value) + " %" : "-"; }

// What gives way in a window too narrow for all of it, in this order.
constexpr Squeeze resource_squeezes[] = {{"RESOURCE", 12}};
constexpr Squeeze device_squeezes[] = {{"UUID", 12},        {"UUID", 0}, {"NAME", 10},
                                       {"COMPUTE HELD", 0}, {"NAME", 0}, {"LOAD", 0}};
constexpr Squeeze brief_squeezes[] = {{"WHY", 24},  {"CLAIM", 18}, {"WHAT", 18}, {"WHY", 14}, {"FOR", 0},  {"WHY", 12},
                                      {"WHAT", 12}, {"USER", 0},   {"LEFT", 0},  {"WHY", 0},  {"CLAIM", 8}};

std::string resources_table(const PoolView& view, size_t width) {
  Table table({"RESOURCE", "FREE", "HELD", "CAPACITY"});
  for (size_t i = 0; i < view.snapshot.resources.size(); ++i) {
    const Resource& r = view.snapshot.resources[i];
    const int64_t held = held_amount(view.snapshot, i);
    const auto show = [&](int64_t amount) { return r.name == "ram" ? show_size(amount) : std::to_string(amount); };
    table.add({r.name, show(std::max<int64_t>(0, r.capacity - held)), show(held), show(r.capacity)});
  }
  return table.text(width, resource_squeezes);
}

std::string devices_table(const PoolView& view, size_t width) {
  if (view.devices.empty() && view.complaints.empty()) return "";
  Table table({"GPU", "NAME", "UUID", "FREE", "HELD", "TOTAL", "COMPUTE HELD", "LOAD"});
  for (size_t i = 0; i < view.devices.size(); ++i) {
    const Device& d = view.devices[i];
    const auto show = [&](int64_t bytes) { return d.vram_total_bytes == 0 ? std::string("?") : show_size(bytes); };
    table.add({std::to_string(d.index), d.name, d.uuid, show(free_vram_bytes(view, i)),
               show(held_vram_bytes(view.snapshot, d)), show(d.vram_total_bytes),
               std::to_string(held_compute_pct(view.snapshot, d)) + " %", percent(d.util_pct)});
  }
  std::string notes;
  for (const std::string& note : driver_notes(view)) notes += note + "\n";
  return (view.devices.empty() ? "" : "\n" + table.text(width, device_squeezes)) + (notes.empty() ? "" : "\n" + notes);
}

const Party& party_of(const PoolView& view, const LeaseView& lease) {
  return view.snapshot.parties[static_cast<size_t>(lease.party)];
}

// What holds it to its memory.
std::string limit_text(const LeaseView& lease) {
  const RamLimitSeen& limit = lease.ram_limit;
  const std::string text = limit.by == "booked" ? "booked only" : limit.by;
  return limit.in_outer_one ? text + ", in the outer cgroup" : text;
}

// What a lease asks for, and where it has that.
std::string claim_of(const PoolView& view, const LeaseView& lease) {
  const Party& party = party_of(view, lease);
  Claim claim;
  claim.gpu = party.gpu;
  for (const Amount& a : view.snapshot.counters(party))
    claim.counters.push_back({view.snapshot.resources[a.resource].name, a.amount});
  std::string on;
  for (const uint16_t granted : view.snapshot.granted(party))
    for (const Device& d : view.devices)
      if (d.uuid == view.snapshot.devices[granted]) on += (on.empty() ? "" : ",") + std::to_string(d.index);
  return claim_text(claim, {on, show_processors(view.snapshot.own_processors(party)), limit_text(lease)});
}

std::string inside_of(const Party& party) { return party.nested ? "inside " + std::string(party.parent.view()) : ""; }

// A lease and how deep inside others it stands.
struct Row {
  const LeaseView* lease;
  size_t depth;
};

// Those inside a lease come below it, each line on its own; who is inside one that is not there, at the end.
std::vector<Row> rows_of(const PoolView& view) {
  constexpr size_t deepest = 8;
  std::vector<Row> rows;
  std::set<int> placed;
  const std::function<void(const PartyId*, size_t)> place = [&](const PartyId* parent, size_t depth) {
    for (const LeaseView& lease : view.leases) {
      const Party& party = party_of(view, lease);
      const bool here = parent == nullptr ? !party.nested : party.nested && party.parent == *parent;
      if (!here || !placed.insert(lease.party).second) continue;
      rows.push_back({&lease, depth});
      if (party.state == PartyState::held && depth < deepest) place(&party.id, depth + 1);
    }
  };
  place(nullptr, 0);
  for (const LeaseView& lease : view.leases)
    if (placed.insert(lease.party).second) rows.push_back({&lease, 0});
  return rows;
}

// As much of the ids as tells them apart, and no less than four letters.
size_t id_length(const PoolView& view) {
  std::vector<std::string_view> ids;
  for (const LeaseView& lease : view.leases) ids.push_back(party_of(view, lease).id.view());
  std::sort(ids.begin(), ids.end());
  size_t length = 4;
  for (size_t i = 1; i < ids.size(); ++i)
    while (length < PartyId::size && ids[i - 1].substr(0, length) == ids[i].substr(0, length)) ++length;
  return length;
}

struct Times {
  std::string since;
  std::string left;
};

// Of a holder the time until it should be gone, of a waiter until it should have its place.
Times times_of(const PoolView& view, const LeaseView& lease) {
  const Party& party = party_of(view, lease);
  const bool held = party.state == PartyState::held;
  const int64_t since_us = held ? party.seated_us : party.arrival_us;
  const int64_t left_s = party.seated_us / 1'000'000 + party.expect_s - view.now_us / 1'000'000;
  Times out{show_duration(std::max<int64_t>(0, view.now_us - since_us) / 1'000'000), "-"};
  if (held && party.expect_s > 0) out.left = left_s >= 0 ? show_duration(left_s) : "overdue";
  if (!held && lease.eta_s) out.left = *lease.eta_s == 0 ? "now" : "~" + show_duration(*lease.eta_s);
  return out;
}

std::string full_table(const PoolView& view, const std::vector<Row>& rows) {
  Table table({"ID", "STATE", "FOR", "LEFT", "USER", "PID", "CLAIM", "LABEL", "COMMAND", "WHY"});
  for (const auto& [lease, depth] : rows) {
    const Party& party = party_of(view, *lease);
    const bool held = party.state == PartyState::held;
    const Times times = times_of(view, *lease);
    const std::string state = held                  ? "held"
                              : lease->position > 0 ? "waits, " + std::to_string(lease->position)
                                                    : "stopped";
    table.add({std::string(depth * 2, ' ') + std::string(party.id.view()), state, times.since, times.left, lease->user,
               std::to_string(lease->info.pid), claim_of(view, *lease),
               lease->info.label.empty() ? "-" : shortened(lease->info.label, 24), shortened(lease->info.command, 40),
               lease->reason.empty() ? inside_of(party) : lease->reason});
  }
  return table.text();
}

// For a window: what is most worth knowing, as wide as that is.
std::string brief_table(const PoolView& view, const std::vector<Row>& rows, size_t width) {
  Table table({"ID", "STATE", "FOR", "LEFT", "USER", "CLAIM", "WHAT", "WHY"});
  const size_t length = id_length(view);
  for (const auto& [lease, depth] : rows) {
    const Party& party = party_of(view, *lease);
    const bool held = party.state == PartyState::held;
    const Times times = times_of(view, *lease);
    const std::string state = held                  ? "held"
                              : lease->position > 0 ? "wait " + std::to_string(lease->position)
                                                    : "stopped";
    const std::string& what = lease->info.label.empty() ? lease->info.command : lease->info.label;
    table.add({std::string(depth * 2, ' ') + std::string(party.id.view().substr(0, length)), state, times.since,
               times.left, lease->user, claim_of(view, *lease), shortened(what, 32), lease->reason});
  }
  return table.text(width, brief_squeezes);
}

std::string leases_table(const PoolView& view, size_t width) {
  if (view.leases.empty()) return "\nNobody holds or waits for anything.\n";
  const std::vector<Row> rows = rows_of(view);
  const std::string full = full_table(view, rows);
  const bool fits = width == 0 || longest_line(full) <= width;
  return "\n" + (fits ? full : brief_table(view, rows, width));
}

int strangers_on(const PoolView& view, const DeviceOccupancy& use) {
  const std::vector<Holding> holders = holdings_of(view, use.device);
  return static_cast<int>(std::count_if(use.occupants.begin(), use.occupants.end(),
                                        [&](const Occupant& o) { return has_no_lease(o, holders); }));
}

// What of the drivers' word belongs in a line: cards that cannot be used, who is there without a lease, silence.
std::string short_driver_text(const PoolView& view) {
  std::string text;
  int strangers = 0;
  for (const DeviceOccupancy& use : view.uses) {
    if (!use.device.trouble.empty()) text += "; " + device_name(use.device) + " cannot be used: " + use.device.trouble;
    strangers += strangers_on(view, use);
  }
  if (strangers > 0)
    text += "; " + std::to_string(strangers) + (strangers == 1 ? " process" : " processes") + " without a lease";
  return view.complaints.empty() ? text : text + "; " + view.complaints.front();
}

std::string notes_text(const PoolView& view) {
  std::string out;
  for (const std::string& note : view.notes) out += (out.empty() ? "\nnote: " : "note: ") + note + "\n";
  return out;
}

}  // namespace

std::string status_text(const PoolView& view, size_t width) {
  return "pool " + view.path + "\n\n" + resources_table(view, width) + devices_table(view, width) +
         leases_table(view, width) + notes_text(view);
}

std::string short_text(const PoolView& view) {
  int held = 0;
  int waiting = 0;
  for (const LeaseView& lease : view.leases)
    ++(view.snapshot.parties[static_cast<size_t>(lease.party)].state == PartyState::held ? held : waiting);
  std::string text = std::to_string(held) + " held, " + std::to_string(waiting) + " waiting";
  int whole = 0;
  for (size_t i = 0; i < view.devices.size(); ++i) {
    const Device& d = view.devices[i];
    const bool taken = held_vram_bytes(view.snapshot, d) > 0 || held_compute_pct(view.snapshot, d) > 0;
    const bool strange = i < view.uses.size() && strangers_on(view, view.uses[i]) > 0;
    whole += taken || strange || !d.trouble.empty() ? 0 : 1;
  }
  if (!view.devices.empty())
    text += "; GPU " + std::to_string(whole) + "/" + std::to_string(view.devices.size()) + " free";
  text += short_driver_text(view);
  for (size_t i = 0; i < view.snapshot.resources.size(); ++i) {
    const Resource& r = view.snapshot.resources[i];
    const int64_t free = std::max<int64_t>(0, r.capacity - held_amount(view.snapshot, i));
    const auto show = [&](int64_t amount) { return r.name == "ram" ? show_size(amount) : std::to_string(amount); };
    text += "; " + r.name + " " + show(free) + "/" + show(r.capacity) + " free";
  }
  return text + "\n";
}

}  // namespace berth
