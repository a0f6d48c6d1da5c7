// The pool's format, version 1: what a record says and how it is written.
//
// A record is a symbolic link. What scheduling needs stands in its *name*, so that one getdents64
// gives the whole pool; the rest stands in its target, which never changes while the record lives.
// A change of state is a rename of the name: all or nothing, and it needs no space. docs/PROTOCOL.md
// describes the same to the byte, for those who do not read C++.
//
//   name    STATE VERSION , ID , DIR , ARRIVAL , PRIORITY , EXPECT , SEATED , GRANT , CLAIM [ , PARENT [ , MORE ] ]
//           h1,k7q2mbxd4a,1001,1795234567123456,0,7200,1795234567200000,0.1,@
//           STATE h held, w waiting, a stepped aside; times in microseconds since the epoch; GRANT the
//           ordinals of the granted devices among the claim's "on" words, "-" for none; of a waiter "!" and
//           a mask of ordinals in hexadecimal for the devices that its driver refuses it, or "!!": its machine
//           refuses it a place; CLAIM as below, or "@" when it stands in the target because the name would grow too
//           long; PARENT the id of the lease that this one is inside of, "-" for none. A reader ignores further fields.
//   more    words joined by "+", unknown ones skipped: with=ID, debt=MICROSECONDS, way=LETTERS,
//           ends=MICROSECONDS, pin=0-3.8 (processors; "-": none yet); see Party
//   claim   words joined by "+": cpu=4  ram=1073741824  gpu=2  vram=8589934592  compute=50  on=UUID:BYTES,
//           link=0.0.1.1 and numa=0.0.0.0: a number for each "on" word; equal ones are neighbours
//   target  the claim, or an empty line when it stands in the name; then lines "key value":
//           pid, pidns, label, cmd, token. At most 4,095 bytes; text is cut to fit.
//
// What lost: a regular file per record (open, read, close for each: 6 times slower at 100 parties,
// and not atomic); everything in the target (a readlink each: 5 times slower); a checksum (tmpfs does
// not flip bits, and a forger can compute one).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/claim.h"
#include "core/snapshot.h"

namespace berth {

inline constexpr size_t max_name_bytes = 255;     // NAME_MAX
inline constexpr size_t max_target_bytes = 4095;  // what symlink(2) takes
inline constexpr size_t max_dir_bytes = 24;
inline constexpr size_t max_pin_bytes = 64;  // of the text of a lease's own processors

// What people want to know of a party and no plan needs.
struct PartyInfo {
  int64_t pid = 0;  // in its owner's PID namespace
  std::string label;
  std::string command;
  std::string token_sha256;    // of the secret in BERTH_LEASE; empty: nobody can come inside
  uint64_t pid_namespace = 0;  // that of `pid`, as /proc/PID/ns/pid numbers them; 0: it did not say
};

struct Record {
  PartyId id;
  PartyState state = PartyState::waiting;
  std::string dir;
  int64_t arrival_us = 0;
  int priority = 0;
  int64_t expect_s = 0;
  int64_t seated_us = 0;
  std::vector<uint16_t> grant;    // ordinals into claim.eligible
  OrdinalMask veto = 0;           // not held: the devices of the claim that its driver refuses it for now
  bool out = false;               // not held: see Party
  std::optional<PartyId> parent;  // the lease that this one is inside of
  std::optional<PartyId> with;    // the lease from inside of which it was asked for at the top
  int64_t debt_us = 0;
  bool may_idle = false;                  // it is to say so of itself once it is seated: Way::idle
  int64_t ttl_us = 0;                     // how long it is to have its place at most, once it has it; 0: without end
  int64_t ends_us = 0;                    // held: when that is over, since the epoch
  bool pins = false;                      // it is to have processors of its own once it is seated
  std::vector<ProcessorSpan> processors;  // held: those
  Way way;
  Claim claim;
  PartyInfo info;
  bool claim_apart = false;  // the claim stands in the target however short it is
};

// The record that parties[party] was read from, but for what only people want to know.
[[nodiscard]] Record record_of(const Snapshot& snapshot, size_t party);

[[nodiscard]] std::string record_name(const Record& record);
// Whether a record of that name has its claim in its target.
[[nodiscard]] bool claim_stands_apart(const std::string& name);
[[nodiscard]] std::string record_target(const Record& record);

enum class Decoded {
  ok,            // a party was added to the snapshot
  needs_target,  // the claim stands in the target: call again with it
  garbage,       // not a record of version 1; nothing was added
  newer,         // a record of a later version
  no_room,       // the snapshot is full: whoever reads must not go on as if this were all
  foreign,       // not a record at all
};

// Decodes one directory entry and adds the party to `snapshot`. `target` is empty at first. Takes
// any bytes; never reads past them; refuses amounts, lengths and counts beyond the bounds.
[[nodiscard]] Decoded decode_record(std::string_view name, std::string_view target, Snapshot& snapshot);

// The lines after the first of a target. Unknown keys are skipped.
[[nodiscard]] PartyInfo decode_info(std::string_view target);

}  // namespace berth
