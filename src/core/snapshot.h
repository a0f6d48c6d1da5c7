// Snapshot: everything a plan may depend on, as one value.
//
// A ledger makes one from a single atomic look at the pool. Names of resources and devices are
// interned: a Party speaks of them by index into this very snapshot, so that planning over a
// thousand parties touches no strings. Indices mean nothing in another snapshot.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/claim.h"
#include "core/policy.h"
#include "core/processors.h"

namespace berth {

// What one look at a pool can hold. A pool that has more is refused by name (see LocalPool): nothing
// in it is ever left out for want of room, or its place would be given away.
inline constexpr size_t max_snapshot_names = 65'536;  // of resources, and of devices
inline constexpr size_t max_snapshot_parties = size_t{1} << 18U;

// Ten characters of [a-z2-7], drawn at random, never used again.
struct PartyId {
  static constexpr size_t size = 10;
  std::array<char, size> text{};
  [[nodiscard]] std::string_view view() const { return {text.data(), size}; }
  friend auto operator<=>(const PartyId&, const PartyId&) = default;
  [[nodiscard]] static std::optional<PartyId> parse(std::string_view text);
};

// Who a party is, in everybody's eyes: an id says nothing without the directory of the uid that drew it.
// Another uid may use the same id; that is another party.
struct PartyKey {
  PartyId id;
  std::array<char, 24> dir_text{};  // see dir()
  uint8_t dir_size = 0;

  // Its owner's directory in the pool: the uid as text, perhaps with a suffix.
  [[nodiscard]] std::string_view dir() const { return {dir_text.data(), dir_size}; }
  // The uid as text.
  [[nodiscard]] std::string_view user() const { return dir().substr(0, dir().find('.')); }
  friend auto operator<=>(const PartyKey&, const PartyKey&) = default;
  // Requires dir.size() <= 24.
  [[nodiscard]] static PartyKey of(const PartyId& id, std::string_view dir);
};

enum class PartyState : uint8_t {
  held,     // has its place
  waiting,  // stands in line
  aside,    // a waiter that was stopped and said so: passed over until it comes back
};

// What a party said of giving way, or up, and what became of it. Letters of a record's "way" word.
struct Way {
  bool reclaimable = false;  // r: may be asked to give way
  bool preemptible = false;  // p: and be ended for it
  bool busy = false;         // b: not just now, work is in flight
  bool asked = false;        // a: by hand, of its owner or root; it is asked whoever waits
  bool yielding = false;     // y: it was asked and is about it
  bool unheeded = false;     // u: it was asked, its time is over, and it keeps its place
  bool idle = false;         // i: its devices have shown no activity for as long as it said
  bool doubtful = false;     // d: it did not heed who asked it last; the next one asks it all the same
  bool unseen = false;       // n: besides b: it is asked only while they show none, and nobody tells whether they do
  bool gives_up = false;     // t: of a waiter, that it has a deadline and then waits no more
  friend bool operator==(const Way&, const Way&) = default;
};

struct Amount {
  uint16_t resource = 0;  // index into Snapshot::resources
  int64_t amount = 0;
};

struct Eligible {
  uint16_t device = 0;  // index into Snapshot::devices
  uint8_t ordinal = 0;  // its place in the claim
  uint8_t link = 0;     // see DeviceRef
  uint8_t numa = 0;
  int64_t vram_bytes = 0;
};

// A set of a claim's devices, by their ordinals.
using OrdinalMask = uint64_t;
static_assert(max_claim_devices <= 64);

// A run of elements in one of the snapshot's arrays.
struct Run {
  uint32_t first = 0;
  uint32_t count = 0;
};

// Flat, so that a thousand of them are read without an allocation each; what varies in length lies
// in the snapshot's arrays.
struct Party : PartyKey {
  PartyState state = PartyState::waiting;
  int64_t arrival_us = 0;
  int priority = 0;
  int64_t expect_s = 0;   // 0: it did not say
  int64_t seated_us = 0;  // held only
  bool nested = false;    // inside another lease: counts against that one alone
  PartyId parent;         // nested only; of the same directory
  bool seconds = false;   // a lease of the same job does not end before this one is seated: it was asked for from
                          // inside of that one, which lacked it, or after that one as another part of a claim
  PartyId with;           // seconds only: that lease; of the same directory
  bool grows = false;     // no party of the pool: more of the very cards that a holder has, see Engine::resize()
  bool out = false;       // a waiter that its own machine refuses a place for now: planned without
  Way way;                // of a holder; of a waiter only what it will be as one
  int64_t ends_us = 0;    // held only: its place ends then, whoever lives (hold --ttl); 0: it did not say
  int64_t debt_us = 0;    // how far back in line what its user had lately puts it
  Run counters;           // of Snapshot::amounts
  GpuClaim gpu;
  Run eligible;        // of Snapshot::eligibles
  Run vetoed;          // of Snapshot::eligibles, right behind: those that its driver refuses it for now
  Run granted;         // of Snapshot::grants; held only
  bool pins = false;   // it is to have processors of its own, that no other such lease runs on;
  Run processors;      // held only: these, of Snapshot::processors
  uint32_t entry = 0;  // the ledger's own handle on where this came from

  [[nodiscard]] const PartyKey& key() const { return *this; }
  [[nodiscard]] PartyKey parent_key() const { return of(parent, dir()); }
  [[nodiscard]] PartyKey with_key() const { return of(with, dir()); }
};

struct Resource {
  std::string name;
  int64_t capacity = 0;
};

// Where a name stands in a table that only grows at its end. Few names are looked for one by one; of
// many there is a tree, which no choice of names makes slow.
class NameIndex {
 public:
  // `name_at(i)` is the i-th of `count` names.
  template <class NameAt>
  [[nodiscard]] std::optional<uint16_t> find(std::string_view name, size_t count, const NameAt& name_at) {
    if (count <= few) {
      // Short names and few: comparing the lengths first settles nearly all.
      for (size_t i = 0; i < count; ++i)
        if (name_at(i).size() == name.size() && name_at(i) == name) return static_cast<uint16_t>(i);
      return std::nullopt;
    }
    for (; known_ < count; ++known_) places_.emplace(name_at(known_), static_cast<uint16_t>(known_));
    const auto found = places_.find(name);
    if (found == places_.end()) return std::nullopt;
    return found->second;
  }
  // The table is about to be cut to `count` names.
  template <class NameAt>
  void cut(size_t count, const NameAt& name_at) {
    for (; known_ > count; --known_) places_.erase(name_at(known_ - 1));
  }

 private:
  static constexpr size_t few = 16;
  std::map<std::string, uint16_t, std::less<>> places_;
  size_t known_ = 0;  // so many names are in places_
};

struct Snapshot {
  // When the look was taken, by the clock that parties write their seated_us with; 0: nobody said, and then
  // nobody's estimate counts. The same for a whole look, however long the thinking takes.
  int64_t now_us = 0;
  std::vector<Resource> resources;
  std::vector<std::string> devices;  // UUIDs
  Policy policy;
  std::vector<Party> parties;
  std::vector<Amount> amounts;
  std::vector<Eligible> eligibles;
  std::vector<uint16_t> grants;  // indices into devices
  std::vector<ProcessorSpan> processors;
  bool any_reclaimable = false;  // a holder among them may be asked to give way
  int garbage = 0;               // entries that look like records and are none
  std::string newer_name;        // a record of a later format, if there is one: nobody may plan around it

  // Index of the resource or device of that name, added with capacity 0 if it is new.
  // nullopt when the snapshot's bound is reached.
  std::optional<uint16_t> intern_resource(std::string_view name);
  std::optional<uint16_t> intern_device(std::string_view uuid);
  // True if any one party more is sure to fit.
  [[nodiscard]] bool has_room() const;

  // How long the tables are, so that what half a record put there can be cut off again.
  struct Lengths {
    size_t resources, devices, amounts, eligibles, grants, processors;
  };
  [[nodiscard]] Lengths lengths() const;
  void cut(const Lengths& lengths);

  [[nodiscard]] const Party& at(int party) const { return parties[static_cast<size_t>(party)]; }
  [[nodiscard]] std::span<const Amount> counters(const Party& party) const { return part(amounts, party.counters); }
  [[nodiscard]] std::span<const Eligible> eligible(const Party& party) const { return part(eligibles, party.eligible); }
  [[nodiscard]] std::span<const uint16_t> granted(const Party& party) const { return part(grants, party.granted); }
  [[nodiscard]] std::span<const ProcessorSpan> own_processors(const Party& party) const {
    return part(processors, party.processors);
  }
  [[nodiscard]] std::span<const Eligible> vetoed(const Party& party) const { return part(eligibles, party.vetoed); }
  // Which of the claim's devices are vetoed, and making it so. A vetoed device is as if the claim had
  // not named it: others plan around it.
  [[nodiscard]] OrdinalMask veto(const Party& party) const;
  void set_veto(size_t party, OrdinalMask veto);
  // Seats parties[party] on these devices.
  void grant(size_t party, const std::vector<uint16_t>& devices_granted);

  // Index into parties, or -1.
  [[nodiscard]] int find(const PartyKey& who) const;
  // For who was given an id and nothing more, on a command line say. Of several parties with that id
  // it is the first; a ledger puts the reader's own before strangers'.
  [[nodiscard]] int find(const PartyId& id) const;

 private:
  NameIndex resource_index_;
  NameIndex device_index_;

  template <class T>
  static std::span<const T> part(const std::vector<T>& all, Run run) {
    return std::span<const T>(all).subspan(run.first, run.count);
  }
};

// Whether the party was asked for inside of that lease, at any depth.
[[nodiscard]] bool is_inside(const Snapshot& all, const Party& party, const PartyKey& lease);

// The parties that compete with each other, and what they compete for. At the top that is the pool
// and all that are not nested; a Party::with that is nested is given as the outermost lease around it. Inside a lease
// it is what the lease holds and those nested in it.
[[nodiscard]] Snapshot top_level(const Snapshot& all);
// nullopt when there is no such holder.
[[nodiscard]] std::optional<Snapshot> inside(const Snapshot& all, const PartyKey& parent);

// All of them: the top level, and the inside of every lease that has one.
[[nodiscard]] std::vector<Snapshot> levels(const Snapshot& all);

// The static order: less is sooner. It never changes while a party waits, so a wait is bounded:
// nobody who arrives more than (highest - own priority) x age later can pass.
struct OrderKey {
  int64_t key_us = 0;
  PartyKey who;
  friend auto operator<=>(const OrderKey&, const OrderKey&) = default;
};
[[nodiscard]] OrderKey order_key(const Party& party, const Policy& policy);

}  // namespace berth
