#include "ledger/record.h"

#include <algorithm>
#include <optional>

#include "base/text.h"

namespace berth {

namespace {

char state_letter(PartyState state) {
  switch (state) {
    case PartyState::held: return 'h';
    case PartyState::waiting: return 'w';
    case PartyState::aside: return 'a';
  }
  std::abort();
}

std::string encode_claim(const Claim& claim) {
  std::string out;
  const auto word = [&](std::string_view key, const std::string& value) {
    if (!out.empty()) out += '+';
    out += key;
    out += '=';
    out += value;
  };
  for (const NamedAmount& c : claim.counters) word(c.name, std::to_string(c.amount));
  if (claim.gpu.count > 0) {
    word("gpu", std::to_string(claim.gpu.count));
    if (!claim.gpu.whole) {
      word("vram", std::to_string(claim.gpu.vram_bytes));
      word("compute", std::to_string(claim.gpu.compute_pct));
    }
    for (const DeviceRef& d : claim.eligible) word("on", d.uuid + ":" + std::to_string(d.vram_bytes));
    const auto groups = [&](std::string_view key, uint8_t DeviceRef::*group) {
      std::string text;
      bool known = false;
      for (const DeviceRef& d : claim.eligible) {
        text += (text.empty() ? "" : ".") + std::to_string(d.*group);
        known = known || d.*group != 0;
      }
      if (known) word(key, text);
    };
    groups("link", &DeviceRef::link);
    groups("numa", &DeviceRef::numa);
  }
  return out;
}

std::string encode_grant(const Record& record) {
  std::string out;
  if (record.state != PartyState::held && record.out) return "!!";
  if (record.state != PartyState::held && record.veto != 0) {
    for (OrdinalMask rest = record.veto; rest != 0; rest >>= 4U) out += "0123456789abcdef"[rest & 15U];
    return "!" + std::string(out.rbegin(), out.rend());
  }
  for (const uint16_t g : record.grant) out += (out.empty() ? "" : ".") + std::to_string(g);
  return out.empty() ? "-" : out;
}

constexpr struct {
  char letter;
  bool Way::*flag;
} way_letters[] = {{'r', &Way::reclaimable}, {'p', &Way::preemptible}, {'b', &Way::busy}, {'a', &Way::asked},
                   {'y', &Way::yielding},    {'u', &Way::unheeded},    {'i', &Way::idle}, {'t', &Way::gives_up}};

std::string encode_way(const Way& way) {
  std::string out;
  for (const auto& [letter, flag] : way_letters)
    if (way.*flag) out += letter;
  return out;
}

// The words of the last field; "" for none.
std::string encode_more(const Record& record) {
  std::string out;
  const auto word = [&](const std::string& text) { out += (out.empty() ? "" : "+") + text; };
  if (record.with) word("with=" + std::string(record.with->view()));
  if (record.debt_us > 0) word("debt=" + std::to_string(record.debt_us));
  if (const std::string way = encode_way(record.way); !way.empty()) word("way=" + way);
  if (record.state == PartyState::held && record.ends_us > 0) word("ends=" + std::to_string(record.ends_us));
  if (record.pins)
    word("pin=" + (record.state == PartyState::held && !record.processors.empty()
                       ? show_processors(record.processors, '.')
                       : std::string("-")));
  return out;
}

// Whether the claim stands in the name must not depend on the state, or a grant would move it; and '/'
// cannot stand in a name. 110 bytes cover the longest other fields but a grant of many devices, and who is
// granted many devices has listed as many. A word that may come or grow later has its room from the start.
bool stands_in_name(const Record& record, const std::string& claim) {
  constexpr int64_t others = 135;
  constexpr int64_t with_word = 16;
  constexpr int64_t debt_word = 25;
  constexpr int64_t way_word = 4 + std::size(way_letters) + 1;
  constexpr int64_t ends_word = 25;
  constexpr int64_t pin_word = 5 + max_pin_bytes;
  int64_t room = int64_t{max_name_bytes} - others;
  if (record.ttl_us > 0 || record.ends_us > 0) room -= ends_word;
  if (record.with) room -= with_word;
  if (record.debt_us > 0 || record.way.reclaimable) room -= debt_word;  // who gives way may come to have one
  if (record.way.reclaimable || record.may_idle || record.way.idle || record.way.gives_up) room -= way_word;
  if (record.pins) room -= pin_word;
  return !record.claim_apart && static_cast<int64_t>(claim.size()) <= room && claim.find('/') == std::string::npos;
}

// Takes the text up to the next `separator` off the front of `rest`; nullopt when `rest` is spent.
class Fields {
 public:
  Fields(std::string_view text, char separator) : rest_(text), separator_(separator) {}
  std::optional<std::string_view> next() {
    if (spent_) return std::nullopt;
    // Fields are short: a plain loop beats memchr.
    size_t end = 0;
    while (end < rest_.size() && rest_[end] != separator_) ++end;
    const std::string_view field = rest_.substr(0, end);
    spent_ = end == rest_.size();
    if (!spent_) rest_.remove_prefix(end + 1);
    return field;
  }

 private:
  std::string_view rest_;
  char separator_;
  bool spent_ = false;
};

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

std::optional<PartyState> decode_state(char letter) {
  if (letter == 'h') return PartyState::held;
  if (letter == 'w') return PartyState::waiting;
  if (letter == 'a') return PartyState::aside;
  return std::nullopt;
}

// One line of text for a target: no newline, and cut at a character's edge.
std::string one_line(std::string_view text, size_t limit) {
  std::string out = printable(text);
  if (out.size() <= limit) return out;
  size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xC0U) == 0x80U) --end;
  out.resize(end);
  return out;
}

}  // namespace

Record record_of(const Snapshot& snapshot, size_t party) {
  const Party& p = snapshot.parties[party];
  Record out;
  out.id = p.id;
  out.state = p.state;
  out.dir = p.dir();
  out.arrival_us = p.arrival_us;
  out.priority = p.priority;
  out.expect_s = p.expect_s;
  out.seated_us = p.seated_us;
  out.veto = snapshot.veto(p);
  out.out = p.out;
  if (p.nested) out.parent = p.parent;
  if (p.seconds) out.with = p.with;
  out.debt_us = p.debt_us;
  out.ends_us = p.ends_us;
  out.way = p.way;
  const auto processors = snapshot.own_processors(p);
  out.pins = p.pins;
  out.processors.assign(processors.begin(), processors.end());
  out.claim.gpu = p.gpu;
  for (const Amount& a : snapshot.counters(p))
    out.claim.counters.push_back({snapshot.resources[a.resource].name, a.amount});
  // Those that it vetoes stand behind the others; ordinals say how the claim named them.
  std::vector<Eligible> devices(snapshot.eligible(p).begin(), snapshot.eligible(p).end());
  devices.insert(devices.end(), snapshot.vetoed(p).begin(), snapshot.vetoed(p).end());
  std::sort(devices.begin(), devices.end(), [](const Eligible& a, const Eligible& b) { return a.ordinal < b.ordinal; });
  for (const Eligible& e : devices)
    out.claim.eligible.push_back({snapshot.devices[e.device], e.vram_bytes, e.link, e.numa});
  for (const uint16_t granted : snapshot.granted(p))
    for (const Eligible& e : devices)
      if (e.device == granted) out.grant.push_back(e.ordinal);
  return out;
}

std::string record_name(const Record& record) {
  std::string name;
  name += state_letter(record.state);
  name += "1,";
  name += record.id.view();
  name += ',' + record.dir;
  name += ',' + std::to_string(record.arrival_us);
  name += ',' + std::to_string(record.priority);
  name += ',' + std::to_string(record.expect_s);
  name += ',' + std::to_string(record.seated_us);
  name += ',' + encode_grant(record) + ',';
  const std::string claim = encode_claim(record.claim);
  name += stands_in_name(record, claim) ? claim : "@";
  const std::string more = encode_more(record);
  if (record.parent || !more.empty()) {
    name += ',';
    name += record.parent ? record.parent->view() : "-";
  }
  if (!more.empty()) name += ',' + more;
  return name;
}

bool claim_stands_apart(const std::string& name) {
  constexpr size_t claim_field = 8;
  const std::vector<std::string> fields = split(name, ',');
  return fields.size() > claim_field && fields[claim_field] == "@";
}

std::string record_target(const Record& record) {
  const std::string claim = encode_claim(record.claim);
  std::string target = stands_in_name(record, claim) ? "" : claim;
  target += "\npid " + std::to_string(record.info.pid);
  if (record.info.pid_namespace != 0) target += "\npidns " + std::to_string(record.info.pid_namespace);
  if (!record.info.token_sha256.empty()) target += "\ntoken " + record.info.token_sha256;
  if (!record.info.label.empty()) target += "\nlabel " + one_line(record.info.label, 200);
  if (!record.info.command.empty() && target.size() + 16 < max_target_bytes)
    target += "\ncmd " + one_line(record.info.command, std::min<size_t>(1000, max_target_bytes - target.size() - 8));
  return target;
}

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
  const auto id = PartyId::parse(f[0]);
  const auto arrival = parse_count(f[2]);
  const auto priority = parse_signed(f[3]);
  const auto expect = parse_count(f[4]);
  const auto seated = parse_count(f[5]);
  if (!id || !valid_dir(f[1]) || !arrival || !priority || !expect || !seated) return Decoded::garbage;
  if (*priority > max_priority_magnitude || *priority < -max_priority_magnitude) return Decoded::garbage;

  std::string_view claim = f[7];
  if (claim == "@") {
    if (target.empty()) return Decoded::needs_target;
    claim = target.substr(0, target.find('\n'));
  }
  Party party;
  static_cast<PartyKey&>(party) = PartyKey::of(*id, f[1]);
  if (const auto parent = fields.next(); parent && !parent->empty() && *parent != "-") {
    const auto parent_id = PartyId::parse(*parent);
    if (!parent_id) return Decoded::garbage;
    party.nested = true;
    party.parent = *parent_id;
  }
  std::vector<ProcessorSpan> pinned;
  if (const auto more = fields.next(); more && !decode_more(*more, party, pinned)) return Decoded::garbage;
  party.state = *state;
  party.arrival_us = *arrival;
  party.priority = static_cast<int>(*priority);
  party.expect_s = *expect;
  party.seated_us = *seated;
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

std::string encode_config(const PoolConfig& config) {
  std::string out = "berth=1";
  for (const NamedAmount& c : config.capacities) out += ' ' + c.name + '=' + std::to_string(c.amount);
  out += " policy.age=" + std::to_string(config.policy.age_s);
  out += " policy.max_priority=" + std::to_string(config.policy.max_priority);
  if (config.policy.fair_share) out += " policy.share=1";
  if (config.policy.half_life_s != Policy{}.half_life_s)
    out += " policy.half_life=" + std::to_string(config.policy.half_life_s);
  if (config.policy.max_debt_s != 0) out += " policy.max_debt=" + std::to_string(config.policy.max_debt_s);
  for (const Quota& q : config.policy.quotas) out += ' ' + quota_word(q.name) + '=' + std::to_string(q.most);
  return out;
}

bool decode_config(std::string_view text, PoolConfig& config) {
  if (text.size() > max_target_bytes) return false;
  PoolConfig read;
  Fields words(text, ' ');
  if (words.next() != std::string_view("berth=1")) return false;
  while (const auto word = words.next()) {
    const size_t equals = word->find('=');
    if (equals == std::string_view::npos) return false;
    const std::string key(word->substr(0, equals));
    const auto amount = parse_count(word->substr(equals + 1));
    if (!amount) return false;
    if (key == "policy.age") {
      if (*amount < 1 || *amount > int64_t{366} * 86400) return false;
      read.policy.age_s = *amount;
    } else if (key == "policy.max_priority") {
      if (*amount > max_priority_magnitude) return false;
      read.policy.max_priority = static_cast<int>(*amount);
    } else if (key == "policy.share") {
      read.policy.fair_share = *amount == 1;  // what a later version may mean by others is not ours to judge
    } else if (key == "policy.half_life" || key == "policy.max_debt") {
      if (*amount < 1 || *amount > longest_policy_s) return false;
      (key == "policy.half_life" ? read.policy.half_life_s : read.policy.max_debt_s) = *amount;
    } else if (const auto name = quota_name(key)) {
      if (*amount < 1 || read.policy.quotas.size() >= max_quotas) return false;
      for (const Quota& q : read.policy.quotas)
        if (q.name == *name) return false;
      read.policy.quotas.push_back({std::string(*name), *amount});
    } else if (key.starts_with("policy.")) {
      continue;  // a later version's policy: not ours to judge
    } else {
      if (!valid_resource_name(key) || read.capacities.size() >= max_pool_resources) return false;
      for (const NamedAmount& c : read.capacities)
        if (c.name == key) return false;
      read.capacities.push_back({key, *amount});
    }
  }
  config = std::move(read);
  return true;
}

}  // namespace berth
