#include "core/snapshot.h"

#include <algorithm>
#include <set>

#include "base/text.h"

namespace berth {

std::optional<PartyId> PartyId::parse(std::string_view text) {
  if (text.size() != size) return std::nullopt;
  bool fine = true;
  PartyId id;
  for (size_t i = 0; i < size; ++i) {
    const char c = text[i];
    fine &= (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
    id.text[i] = c;
  }
  if (!fine) return std::nullopt;
  return id;
}

PartyKey PartyKey::of(const PartyId& id, std::string_view dir) {
  PartyKey key;
  key.id = id;
  std::copy(dir.begin(), dir.end(), key.dir_text.begin());
  key.dir_size = static_cast<uint8_t>(dir.size());
  return key;
}

std::optional<uint16_t> Snapshot::intern_resource(std::string_view name) {
  const auto name_at = [&](size_t i) -> const std::string& { return resources[i].name; };
  if (const auto known = resource_index_.find(name, resources.size(), name_at)) return known;
  if (resources.size() >= max_snapshot_names) return std::nullopt;
  resources.push_back({std::string(name), 0});
  return static_cast<uint16_t>(resources.size() - 1);
}

std::optional<uint16_t> Snapshot::intern_device(std::string_view uuid) {
  const auto name_at = [&](size_t i) -> const std::string& { return devices[i]; };
  if (const auto known = device_index_.find(uuid, devices.size(), name_at)) return known;
  if (devices.size() >= max_snapshot_names) return std::nullopt;
  devices.emplace_back(uuid);
  return static_cast<uint16_t>(devices.size() - 1);
}

bool Snapshot::has_room() const {
  return parties.size() < max_snapshot_parties && resources.size() + max_claim_counters <= max_snapshot_names &&
         devices.size() + max_claim_devices <= max_snapshot_names;
}

Snapshot::Lengths Snapshot::lengths() const {
  return {resources.size(), devices.size(), amounts.size(), eligibles.size(), grants.size(), processors.size()};
}

void Snapshot::cut(const Lengths& lengths) {
  resource_index_.cut(lengths.resources, [&](size_t i) -> const std::string& { return resources[i].name; });
  device_index_.cut(lengths.devices, [&](size_t i) -> const std::string& { return devices[i]; });
  resources.resize(lengths.resources);
  devices.resize(lengths.devices);
  amounts.resize(lengths.amounts);
  eligibles.resize(lengths.eligibles);
  grants.resize(lengths.grants);
  processors.resize(lengths.processors);
}

void Snapshot::grant(size_t party, const std::vector<uint16_t>& devices_granted) {
  parties[party].granted = {static_cast<uint32_t>(grants.size()), static_cast<uint32_t>(devices_granted.size())};
  grants.insert(grants.end(), devices_granted.begin(), devices_granted.end());
}

OrdinalMask Snapshot::veto(const Party& party) const {
  OrdinalMask mask = 0;
  for (const Eligible& e : vetoed(party)) mask |= OrdinalMask{1} << e.ordinal;
  return mask;
}

void Snapshot::set_veto(size_t party, OrdinalMask veto) {
  Party& self = parties[party];
  const auto first = eligibles.begin() + self.eligible.first;
  const auto last = first + self.eligible.count + self.vetoed.count;
  std::sort(first, last, [](const Eligible& a, const Eligible& b) { return a.ordinal < b.ordinal; });
  const auto middle =
      std::stable_partition(first, last, [&](const Eligible& e) { return (veto >> e.ordinal & 1U) == 0; });
  self.eligible.count = static_cast<uint32_t>(middle - first);
  self.vetoed = {self.eligible.first + self.eligible.count, static_cast<uint32_t>(last - middle)};
}

int Snapshot::find(const PartyKey& who) const {
  for (size_t i = 0; i < parties.size(); ++i)
    if (parties[i] == who) return static_cast<int>(i);
  return -1;
}

int Snapshot::find(const PartyId& id) const {
  for (size_t i = 0; i < parties.size(); ++i)
    if (parties[i].id == id) return static_cast<int>(i);
  return -1;
}

namespace {

template <class Keep>
Snapshot only(const Snapshot& all, Keep keep) {
  Snapshot out = all;
  std::erase_if(out.parties, [&](const Party& p) { return !keep(p); });
  return out;
}

// A lease inside another has no more of a card than that one has by now, and none that it has no more: what it
// says of cards is of when it came.
void cut_to(const Party& around, Party& party, Snapshot& out) {
  const auto granted = out.granted(around);
  const auto present_bytes = [&](uint16_t device) -> int64_t {
    if (std::find(granted.begin(), granted.end(), device) == granted.end()) return -1;
    if (!around.gpu.whole) return around.gpu.vram_bytes;
    for (const Eligible& e : out.eligible(around))
      if (e.device == device) return e.vram_bytes;
    return -1;
  };
  const auto kept = [&](std::span<const Eligible> before) {
    std::vector<Eligible> after;
    for (Eligible e : before) {
      const int64_t bytes = present_bytes(e.device);
      if (bytes < 0) continue;
      e.vram_bytes = std::min(e.vram_bytes, bytes);
      after.push_back(e);
    }
    return after;
  };
  const std::vector<Eligible> eligible = kept(out.eligible(party));
  const std::vector<Eligible> vetoed = kept(out.vetoed(party));
  party.eligible = {static_cast<uint32_t>(out.eligibles.size()), static_cast<uint32_t>(eligible.size())};
  out.eligibles.insert(out.eligibles.end(), eligible.begin(), eligible.end());
  party.vetoed = {static_cast<uint32_t>(out.eligibles.size()), static_cast<uint32_t>(vetoed.size())};
  out.eligibles.insert(out.eligibles.end(), vetoed.begin(), vetoed.end());
}

}  // namespace

bool is_inside(const Snapshot& all, const Party& party, const PartyKey& lease) {
  const Party* at = &party;
  for (size_t step = 0; at->nested && step < all.parties.size(); ++step) {
    if (at->parent_key() == lease) return true;
    const int index = all.find(at->parent_key());
    if (index < 0) return false;
    at = &all.at(index);
  }
  return false;
}

Snapshot top_level(const Snapshot& all) {
  Snapshot out = only(all, [](const Party& p) { return !p.nested; });
  for (Party& p : out.parties) {
    if (!p.seconds) continue;
    int lease = all.find(p.with_key());
    for (size_t step = 0; step < all.parties.size() && lease >= 0; ++step) {
      const Party& around = all.parties[static_cast<size_t>(lease)];
      p.with = around.id;
      if (!around.nested) break;
      lease = all.find(around.parent_key());
    }
  }
  return out;
}

std::optional<Snapshot> inside(const Snapshot& all, const PartyKey& parent) {
  const int index = all.find(parent);
  if (index < 0 || all.parties[static_cast<size_t>(index)].state != PartyState::held) return std::nullopt;
  Snapshot out = only(all, [&](const Party& p) { return p.nested && p.parent_key() == parent; });
  for (Resource& r : out.resources) r.capacity = 0;
  const Party& around = all.parties[static_cast<size_t>(index)];
  for (const Amount& a : all.counters(around)) out.resources[a.resource].capacity = a.amount;
  for (Party& p : out.parties) cut_to(around, p, out);
  return out;
}

std::vector<Snapshot> levels(const Snapshot& all) {
  std::vector<Snapshot> out{top_level(all)};
  std::set<PartyKey> parents;
  for (const Party& p : all.parties)
    if (p.nested) parents.insert(p.parent_key());
  for (const PartyKey& parent : parents)
    if (auto group = inside(all, parent)) out.push_back(std::move(*group));
  return out;
}

OrderKey order_key(const Party& party, const Policy& policy) {
  // A million points of a year each are more than an int64 holds: past that, more is the same.
  const int64_t point_us = std::max<int64_t>(1, policy.age_s * 1'000'000);
  const int64_t most_points = max_amount / point_us;
  const int64_t points = std::clamp<int64_t>(party.priority, -most_points, most_points);
  return OrderKey{party.arrival_us + party.debt_us - points * point_us, party.key()};
}

}  // namespace berth
