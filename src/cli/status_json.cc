#include "cli/status_json.h"
#include "cli/taken.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace berth {

namespace {

using Json = nlohmann::ordered_json;

// Foreign text was made printable at the door, so it is valid UTF-8; "replace" is for the impossible.
std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

const Device* find_device(const PoolView& view, const std::string& uuid) {
  for (const Device& d : view.devices)
    if (d.uuid == uuid) return &d;
  return nullptr;
}

template <class T>
Json or_null(bool known, T value) {
  return known ? Json(value) : Json(nullptr);
}

Json resources_of(const PoolView& view, const Party& party) {
  Json out = Json::object();
  for (const Amount& a : view.snapshot.counters(party)) out[view.snapshot.resources[a.resource].name] = a.amount;
  return out;
}

// "compute" stands there where some was claimed.
Json claim_of(const PoolView& view, const Party& party) {
  Json out = {{"gpus", party.gpu.count},
              {"vram", or_null(party.gpu.count > 0 && !party.gpu.whole, party.gpu.vram_bytes)},
              {"resources", resources_of(view, party)}};
  if (party.gpu.compute_pct > 0) out["compute"] = party.gpu.compute_pct;
  return out;
}

Json granted_of(const PoolView& view, const Party& party) {
  if (party.state != PartyState::held) return nullptr;
  Json devices = Json::array();
  for (const uint16_t granted : view.snapshot.granted(party)) {
    const Device* d = find_device(view, view.snapshot.devices[granted]);
    if (d == nullptr) continue;
    devices.push_back({{"uuid", d->uuid},
                       {"index", d->index},
                       {"vram", party.gpu.whole ? d->vram_total_bytes : party.gpu.vram_bytes}});
  }
  const auto own = view.snapshot.own_processors(party);
  return {{"devices", devices},
          {"resources", resources_of(view, party)},
          {"processors", or_null(!own.empty(), show_processors(own))}};
}

Json lease_json(const PoolView& view, const LeaseView& lease) {
  const Party& party = view.snapshot.parties[static_cast<size_t>(lease.party)];
  const bool held = party.state == PartyState::held;
  const int64_t now_s = view.now_us / 1'000'000;
  const int64_t since_us = held ? party.seated_us : party.arrival_us;
  const int64_t waited_us = (held ? party.seated_us : view.now_us) - party.arrival_us;
  const int64_t end_s = party.seated_us / 1'000'000 + party.expect_s;
  return {{"id", std::string(party.id.view())},
          {"state", held ? "held" : "waiting"},
          {"label", lease.info.label},
          {"user", lease.user},
          {"uid", lease.uid},
          {"pid", lease.info.pid},
          {"cmd", lease.info.command},
          {"priority", party.priority},
          {"since", since_us / 1'000'000},
          {"waited_s", std::max<int64_t>(0, waited_us / 1'000'000)},
          {"expect_s", or_null(party.expect_s > 0, party.expect_s)},
          {"remaining_s", or_null(held && party.expect_s > 0, std::max<int64_t>(0, end_s - now_s))},
          {"eta_s", or_null(lease.eta_s.has_value(), lease.eta_s.value_or(0))},
          {"position", or_null(lease.position > 0, lease.position)},
          {"reason", or_null(!lease.reason.empty(), lease.reason)},
          {"reclaimable", party.way.reclaimable},
          {"reclaim_requested", lease.asked_to_give_way},
          {"claim", claim_of(view, party)},
          {"granted", granted_of(view, party)},
          {"ram_limit", or_null(!lease.ram_limit.by.empty(), lease.ram_limit.by)},
          {"ram_limit_around", or_null(lease.ram_limit.in_outer_one, "cgroup")},
          {"parent", or_null(party.nested, std::string(party.parent.view()))}};
}

Json unleased_json(const PoolView& view, size_t index) {
  Json out = Json::array();
  if (index >= view.uses.size()) return out;
  const std::vector<Holding> holders = holdings_of(view, view.devices[index]);
  for (const Occupant& o : view.uses[index].occupants)
    if (has_no_lease(o, holders))
      out.push_back({{"pid", o.process.pid},
                     {"user", user_name(o.uid)},
                     {"cmd", o.command_line},
                     {"vram", or_null(o.process.vram_bytes.has_value(), o.process.vram_bytes.value_or(0))}});
  return out;
}

Json device_json(const PoolView& view, size_t index) {
  const Device& d = view.devices[index];
  const int64_t held = held_vram_bytes(view.snapshot, d);
  return {{"index", d.index},
          {"uuid", d.uuid},
          {"name", d.name},
          {"vendor", d.vendor},
          {"simulated", d.simulated},
          {"vram_total", d.vram_total_bytes},
          {"vram_used", or_null(d.vram_used_bytes.has_value(), d.vram_used_bytes.value_or(0))},
          {"vram_held", held},
          {"vram_free", free_vram_bytes(view, index)},
          {"util_pct", or_null(d.util_pct.has_value(), d.util_pct.value_or(0))},
          {"compute_held", held_compute_pct(view.snapshot, d)},
          {"unleased", unleased_json(view, index)},
          {"trouble", or_null(!d.trouble.empty(), d.trouble)}};
}

}  // namespace

std::string status_json(const PoolView& view) {
  Json resources = Json::array();
  for (size_t i = 0; i < view.snapshot.resources.size(); ++i) {
    const Resource& r = view.snapshot.resources[i];
    const int64_t held = held_amount(view.snapshot, i);
    resources.push_back({{"name", r.name},
                         {"capacity", r.capacity},
                         {"held", held},
                         {"free", std::max<int64_t>(0, r.capacity - held)}});
  }
  Json devices = Json::array();
  for (size_t i = 0; i < view.devices.size(); ++i) devices.push_back(device_json(view, i));
  Json leases = Json::array();
  for (const LeaseView& lease : view.leases) leases.push_back(lease_json(view, lease));
  return dump({{"version", 1},
               {"pool", view.path},
               {"now", view.now_us / 1'000'000},
               {"resources", resources},
               {"devices", devices},
               {"leases", leases},
               {"complaints", view.complaints},
               {"notes", view.notes}});
}

std::string busy_json(const PoolView& view, const std::vector<const LeaseView*>& holders, const std::string& reason,
                      const std::optional<int64_t>& eta_s) {
  Json list = Json::array();
  for (const LeaseView* lease : holders) list.push_back(lease_json(view, *lease));
  return dump({{"error", "busy"},
               {"holders", list},
               {"eta_s", or_null(eta_s.has_value(), eta_s.value_or(0))},
               {"reason", or_null(!reason.empty(), reason)}});
}

}  // namespace berth
