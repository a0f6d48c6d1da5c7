#include "ledger/record.h"

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "ledger/way_letters.h"

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

}  // namespace berth
