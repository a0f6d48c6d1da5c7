#include <algorithm>
#include <cstdlib>

#include "base/sys.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/notes.h"
#include "cli/pool_access.h"
#include "cli/say.h"
#include "cli/status_json.h"
#include "cli/table.h"
#include "device/probe_run.h"

namespace berth {

namespace {

std::string percent(const std::optional<int>& value) { return value ? std::to_string(*value) + " %" : "-"; }

std::string resources_table(const PoolView& view) {
  Table table({"RESOURCE", "FREE", "HELD", "CAPACITY"});
  for (size_t i = 0; i < view.snapshot.resources.size(); ++i) {
    const Resource& r = view.snapshot.resources[i];
    const int64_t held = held_amount(view.snapshot, i);
    const auto show = [&](int64_t amount) { return r.name == "ram" ? show_size(amount) : std::to_string(amount); };
    table.add({r.name, show(std::max<int64_t>(0, r.capacity - held)), show(held), show(r.capacity)});
  }
  return table.text();
}

std::string devices_table(const PoolView& view) {
  if (view.devices.empty() && view.complaints.empty()) return "";
  Table table({"GPU", "NAME", "UUID", "FREE", "HELD", "TOTAL", "COMPUTE HELD", "LOAD"});
  for (size_t i = 0; i < view.devices.size(); ++i) {
    const Device& d = view.devices[i];
    table.add({std::to_string(d.index), d.name, d.uuid, show_size(free_vram_bytes(view, i)),
               show_size(held_vram_bytes(view.snapshot, d)), show_size(d.vram_total_bytes),
               std::to_string(held_compute_pct(view.snapshot, d)) + " %", percent(d.util_pct)});
  }
  std::string notes;
  for (const std::string& note : driver_notes(view)) notes += note + "\n";
  return (view.devices.empty() ? "" : "\n" + table.text()) + (notes.empty() ? "" : "\n" + notes);
}

// "1 GPU, 2 cpu": what a party asks for, and on which devices it sits.
std::string claim_text(const PoolView& view, const Party& party) {
  Claim claim;
  claim.gpu = party.gpu;
  for (const Amount& a : view.snapshot.counters(party))
    claim.counters.push_back({view.snapshot.resources[a.resource].name, a.amount});
  std::string text = describe(claim);
  std::string on;
  for (const uint16_t granted : view.snapshot.granted(party))
    for (const Device& d : view.devices)
      if (d.uuid == view.snapshot.devices[granted]) on += (on.empty() ? "" : ",") + std::to_string(d.index);
  return on.empty() ? text : text + " (GPU " + on + ")";
}

std::string lease_row_state(const PoolView& view, const LeaseView& lease) {
  const Party& party = view.snapshot.parties[static_cast<size_t>(lease.party)];
  if (party.state == PartyState::held) return "held";
  if (party.state == PartyState::aside) return "stopped";
  return "waits, " + std::to_string(lease.position);
}

std::string inside_of(const Party& party) { return party.nested ? "inside " + std::string(party.parent.view()) : ""; }

std::string leases_table(const PoolView& view) {
  if (view.leases.empty()) return "\nNobody holds or waits for anything.\n";
  Table table({"ID", "STATE", "FOR", "LEFT", "USER", "PID", "CLAIM", "LABEL", "COMMAND", "WHY"});
  for (const LeaseView& lease : view.leases) {
    const Party& party = view.snapshot.parties[static_cast<size_t>(lease.party)];
    const bool held = party.state == PartyState::held;
    const int64_t since_us = held ? party.seated_us : party.arrival_us;
    const int64_t left_s = party.seated_us / 1'000'000 + party.expect_s - view.now_us / 1'000'000;
    std::string left = "-";
    if (held && party.expect_s > 0) left = left_s >= 0 ? show_duration(left_s) : "overdue";
    table.add({std::string(party.id.view()), lease_row_state(view, lease),
               show_duration((view.now_us - since_us) / 1'000'000), left, lease.user, std::to_string(lease.info.pid),
               claim_text(view, party), lease.info.label.empty() ? "-" : shortened(lease.info.label, 24),
               shortened(lease.info.command, 40), lease.reason.empty() ? inside_of(party) : lease.reason});
  }
  return "\n" + table.text();
}

std::string notes_text(const PoolView& view) {
  std::string out;
  for (const std::string& note : view.notes) out += (out.empty() ? "\nnote: " : "note: ") + note + "\n";
  return out;
}

std::string short_text(const PoolView& view) {
  int held = 0;
  int waiting = 0;
  for (const LeaseView& lease : view.leases)
    ++(view.snapshot.parties[static_cast<size_t>(lease.party)].state == PartyState::held ? held : waiting);
  std::string text = std::to_string(held) + " held, " + std::to_string(waiting) + " waiting";
  const auto whole = std::count_if(view.devices.begin(), view.devices.end(), [&](const Device& d) {
    return held_vram_bytes(view.snapshot, d) == 0 && held_compute_pct(view.snapshot, d) == 0;
  });
  if (!view.devices.empty())
    text += "; GPU " + std::to_string(whole) + "/" + std::to_string(view.devices.size()) + " free";
  for (size_t i = 0; i < view.snapshot.resources.size(); ++i) {
    const Resource& r = view.snapshot.resources[i];
    const int64_t free = std::max<int64_t>(0, r.capacity - held_amount(view.snapshot, i));
    const auto show = [&](int64_t amount) { return r.name == "ram" ? show_size(amount) : std::to_string(amount); };
    text += "; " + r.name + " " + show(free) + "/" + show(r.capacity) + " free";
  }
  return text + "\n";
}

// A pool that nobody has made yet is an empty one with the machine's figures.
Result<PoolView> view_or_empty(const Picture& picture) {
  auto pool = open_pool(LocalPool::IfMissing::fail);
  if (pool.ok()) {
    auto view = view_pool(*pool, picture);
    if (!view.ok() || pool->config() != nullptr) return view;
    for (const NamedAmount& c : machine_figures().capacities)
      if (const auto at = view->snapshot.intern_resource(c.name); at) view->snapshot.resources[*at].capacity = c.amount;
    return view;
  }
  if (pool.error().sys_errno != ENOENT) return pool.error();
  PoolView view;
  view.path = default_pool_path(std::getenv("BERTH_POOL"));
  view.now_us = wall_us();
  view.devices = picture.devices;
  view.complaints = picture.complaints;
  LocalProcesses processes;
  view.uses = occupancy(picture.devices, {}, processes);
  view.notes = notes_on_place();
  for (const NamedAmount& c : machine_figures().capacities) view.snapshot.resources.push_back({c.name, c.amount});
  return view;
}

}  // namespace

int status_command(const Words& words) {
  bool json = false;
  bool brief = false;
  for (const std::string& word : words) {
    if (word == "--help" || word == "-h") return put(help_text("status")) ? exit_status::ok : exit_status::unavailable;
    if (word == "--json")
      json = true;
    else if (word == "--short")
      brief = true;
    else
      return fail_unknown("status", word);
  }
  // A driver that hangs is one more thing to report, and no reason to be silent about all else.
  constexpr int64_t patience_us = 3'000'000;
  auto picture = probe_devices(std::getenv("BERTH_SIM_GPUS"), sysfs_root(), patience_us);
  if (!picture && picture.error().kind == ErrorKind::usage) return fail(picture.error());
  auto view = view_or_empty(picture ? *picture : Picture{{}, {picture.error().message}, 0, 0});
  if (!view) return fail(view.error());
  std::string text;
  if (json)
    text = status_json(*view) + "\n";
  else if (brief)
    text = short_text(*view);
  else
    text = "pool " + view->path + "\n\n" + resources_table(*view) + devices_table(*view) + leases_table(*view) +
           notes_text(*view);
  return put(text) ? exit_status::ok : exit_status::unavailable;
}

}  // namespace berth
