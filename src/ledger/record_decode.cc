// Reads what record.cc writes. A name and its target are foreign bytes: every loop has a bound, and what is
// not as it should be is garbage as a whole.
#include <algorithm>
#include <array>
#include <optional>

#include "base/fields.h"
#include "base/text.h"
#include "ledger/record.h"
#include "ledger/way_letters.h"

namespace berth {

namespace {

bool valid_dir(std::string_view dir) {
  if (dir.empty() || dir.size() > max_dir_bytes) return false;
  return std::all_of(dir.begin(), dir.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

bool valid_uuid(std::string_view uuid) {
  if (uuid.empty() || uuid.size() > 96) return false;
  return std::all_of(uuid.begin(), uuid.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == ':' || c == '/' || c == '_';
  });
}

bool decode_device(std::string_view value, Party& party, Snapshot& snapshot) {
  const size_t colon = value.rfind(':');
  if (colon == std::string_view::npos || party.eligible.count >= max_claim_devices) return false;
  const auto bytes = parse_count(value.substr(colon + 1));
  const std::string_view uuid = value.substr(0, colon);
  if (!bytes || !valid_uuid(uuid)) return false;
  const auto device = snapshot.intern_device(uuid);
  if (!device) return false;
  for (const Eligible& e : snapshot.eligible(party))
    if (e.device == *device) return false;
  snapshot.eligibles.push_back({*device, static_cast<uint8_t>(party.eligible.count), 0, 0, *bytes});
  ++party.eligible.count;
  return true;
}

// One number for each "on" word before it.
bool decode_groups(std::string_view text, uint8_t Eligible::*group, const Party& party, Snapshot& snapshot) {
  Fields numbers(text, '.');
  for (uint32_t i = 0; i < party.eligible.count; ++i) {
    const auto word = numbers.next();
    const auto number = word ? parse_count(*word) : std::nullopt;
    if (!number || *number > UINT8_MAX) return false;
    snapshot.eligibles[party.eligible.first + i].*group = static_cast<uint8_t>(*number);
  }
  return !numbers.next();
}

bool decode_counter(std::string_view key, int64_t amount, Party& party, Snapshot& snapshot) {
  if (amount == 0 || party.counters.count >= max_claim_counters) return false;
  // The two names that nearly every claim uses are checked only once, when they are interned.
  if (key != "cpu" && key != "ram" && !valid_resource_name(key)) return false;
  const auto resource = snapshot.intern_resource(key);
  if (!resource) return false;
  for (const Amount& a : snapshot.counters(party))
    if (a.resource == *resource) return false;
  snapshot.amounts.push_back({*resource, amount});
  ++party.counters.count;
  return true;
}

bool decode_claim(std::string_view text, Party& party, Snapshot& snapshot) {
  party.gpu.whole = true;
  Fields words(text, '+');
  while (const auto word = words.next()) {
    const size_t equals = word->find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view key = word->substr(0, equals);
    const std::string_view value = word->substr(equals + 1);
    if (key == "on") {
      if (!decode_device(value, party, snapshot)) return false;
      continue;
    }
    if (key == "link" || key == "numa") {
      if (!decode_groups(value, key == "link" ? &Eligible::link : &Eligible::numa, party, snapshot)) return false;
      continue;
    }
    const auto amount = parse_count(value);
    if (!amount) return false;
    if (key == "gpu") {
      if (*amount < 1 || *amount > static_cast<int64_t>(max_claim_devices)) return false;
      party.gpu.count = static_cast<int>(*amount);
    } else if (key == "vram") {
      party.gpu.whole = false;
      party.gpu.vram_bytes = *amount;
    } else if (key == "compute") {
      if (*amount > 100) return false;
      party.gpu.whole = false;
      party.gpu.compute_pct = static_cast<int>(*amount);
    } else if (!decode_counter(key, *amount, party, snapshot)) {
      return false;
    }
  }
  if (party.gpu.count == 0) return party.eligible.count == 0 && party.gpu.whole && party.counters.count > 0;
  return true;
}

std::optional<OrdinalMask> decode_veto(std::string_view digits) {
  if (digits.empty() || digits.size() > 16 || digits.front() == '0') return std::nullopt;
  OrdinalMask mask = 0;
  for (const char c : digits) {
    const bool decimal = c >= '0' && c <= '9';
    if (!decimal && (c < 'a' || c > 'f')) return std::nullopt;
    mask = mask << 4U | static_cast<OrdinalMask>(decimal ? c - '0' : c - 'a' + 10);
  }
  return mask;
}

bool decode_grant(std::string_view text, Party& party, Snapshot& snapshot) {
  if (text == "!!") return party.state != PartyState::held;
  if (text.starts_with('!')) {
    const auto veto = decode_veto(text.substr(1));
    return veto && party.state != PartyState::held &&
           (party.eligible.count >= 64 || *veto >> party.eligible.count == 0);
  }
  if (text == "-") return party.state != PartyState::held || party.gpu.count == 0;
  if (party.state != PartyState::held) return false;
  uint64_t seen = 0;
  static_assert(max_claim_devices <= 64);
  Fields ordinals(text, '.');
  while (const auto ordinal = ordinals.next()) {
    const auto index = parse_count(*ordinal);
    if (!index || *index >= static_cast<int64_t>(party.eligible.count)) return false;
    const uint64_t bit = uint64_t{1} << static_cast<unsigned>(*index);
    if ((seen & bit) != 0) return false;
    seen |= bit;
    const uint16_t device = snapshot.eligible(party)[static_cast<size_t>(*index)].device;
    snapshot.grants.push_back(device);
    ++party.granted.count;
  }
  return party.granted.count == static_cast<uint32_t>(party.gpu.count);
}

// False for a word that we know and cannot read.
bool decode_more(std::string_view text, Party& party, std::vector<ProcessorSpan>& pinned) {
  Fields words(text, '+');
  while (const auto word = words.next()) {
    const size_t equals = word->find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = word->substr(0, equals);
    const std::string_view value = word->substr(equals + 1);
    if (key == "with") {
      const auto id = PartyId::parse(value);
      if (!id) return false;
      party.seconds = true;
      party.with = *id;
    } else if (key == "debt") {
      const auto debt = parse_count(value);
      if (!debt) return false;
      party.debt_us = *debt;
    } else if (key == "ends") {
      const auto ends = parse_count(value);
      if (!ends) return false;
      party.ends_us = *ends;
    } else if (key == "pin") {
      party.pins = true;
      if (value == "-") continue;
      auto spans = parse_processors(value, '.');
      if (!spans) return false;
      pinned = std::move(*spans);
    } else if (key == "way") {
      for (const auto& [letter, flag] : way_letters)
        if (value.find(letter) != std::string_view::npos) party.way.*flag = true;
    }
  }
  return true;
}

// Nobody has more processors of its own than it has claimed.
bool take_processors(const std::vector<ProcessorSpan>& pinned, Party& party, Snapshot& snapshot) {
  if (pinned.empty() || party.state != PartyState::held) return true;
  int64_t claimed = 0;
  for (const Amount& a : snapshot.counters(party))
    if (snapshot.resources[a.resource].name == "cpu") claimed = a.amount;
  if (count_of(pinned) > claimed) return false;
  party.processors = {static_cast<uint32_t>(snapshot.processors.size()), static_cast<uint32_t>(pinned.size())};
  snapshot.processors.insert(snapshot.processors.end(), pinned.begin(), pinned.end());
  return true;
}

// The fields up to SEATED.
bool decode_head(const std::array<std::string_view, 8>& f, Party& party) {
  const auto id = PartyId::parse(f[0]);
  const auto arrival = parse_count(f[2]);
  const auto priority = parse_signed(f[3]);
  const auto expect = parse_count(f[4]);
  const auto seated = parse_count(f[5]);
  if (!id || !valid_dir(f[1]) || !arrival || !priority || !expect || !seated) return false;
  if (*priority > max_priority_magnitude || *priority < -max_priority_magnitude) return false;
  static_cast<PartyKey&>(party) = PartyKey::of(*id, f[1]);
  party.arrival_us = *arrival;
  party.priority = static_cast<int>(*priority);
  party.expect_s = *expect;
  party.seated_us = *seated;
  return true;
}

bool decode_parent(std::string_view text, Party& party) {
  if (text.empty() || text == "-") return true;
  const auto id = PartyId::parse(text);
  if (!id) return false;
  party.nested = true;
  party.parent = *id;
  return true;
}

std::optional<PartyState> decode_state(char letter) {
  if (letter == 'h') return PartyState::held;
  if (letter == 'w') return PartyState::waiting;
  if (letter == 'a') return PartyState::aside;
  return std::nullopt;
}

}  // namespace

Decoded decode_record(std::string_view name, std::string_view target, Snapshot& snapshot) {
  if (name.size() < 3 || name.size() > max_name_bytes) return Decoded::foreign;
  const auto state = decode_state(name[0]);
  const size_t comma = name.find(',');
  if (!state || comma == std::string_view::npos) return Decoded::foreign;
  const auto version = parse_count(name.substr(1, comma - 1));
  if (!version || *version == 0) return Decoded::foreign;
  if (*version != 1) return Decoded::newer;

  Fields fields(name.substr(3), ',');
  std::array<std::string_view, 8> f;
  for (std::string_view& field : f) {
    const auto next = fields.next();
    if (!next) return Decoded::garbage;
    field = *next;
  }
  Party party;
  party.state = *state;
  if (!decode_head(f, party)) return Decoded::garbage;

  std::string_view claim = f[7];
  if (claim == "@") {
    if (target.empty()) return Decoded::needs_target;
    claim = target.substr(0, target.find('\n'));
  }
  if (const auto parent = fields.next(); parent && !decode_parent(*parent, party)) return Decoded::garbage;
  std::vector<ProcessorSpan> pinned;
  if (const auto more = fields.next(); more && !decode_more(*more, party, pinned)) return Decoded::garbage;
  if (!snapshot.has_room()) return Decoded::no_room;
  const Snapshot::Lengths before = snapshot.lengths();
  party.counters.first = static_cast<uint32_t>(before.amounts);
  party.eligible.first = static_cast<uint32_t>(before.eligibles);
  party.granted.first = static_cast<uint32_t>(before.grants);
  if (!decode_claim(claim, party, snapshot) || !decode_grant(f[6], party, snapshot) ||
      !take_processors(pinned, party, snapshot)) {
    snapshot.cut(before);
    return Decoded::garbage;
  }
  snapshot.parties.push_back(party);
  snapshot.any_reclaimable |= party.way.reclaimable && party.state == PartyState::held;
  snapshot.parties.back().out = f[6] == "!!";
  if (f[6].starts_with('!') && f[6] != "!!")
    snapshot.set_veto(snapshot.parties.size() - 1, *decode_veto(f[6].substr(1)));
  return Decoded::ok;
}

PartyInfo decode_info(std::string_view target) {
  PartyInfo info;
  Fields lines(target, '\n');
  (void)lines.next();  // the claim
  while (const auto line = lines.next()) {
    const size_t space = line->find(' ');
    if (space == std::string_view::npos) continue;
    const std::string_view key = line->substr(0, space);
    const std::string_view value = line->substr(space + 1);
    if (key == "pid") info.pid = parse_count(value).value_or(0);
    if (key == "pidns") info.pid_namespace = static_cast<uint64_t>(parse_count(value).value_or(0));
    if (key == "token" && value.size() == 64) info.token_sha256 = value;
    if (key == "label") info.label = printable(value);
    if (key == "cmd") info.command = printable(value);
  }
  return info;
}

}  // namespace berth
