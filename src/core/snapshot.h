// Snapshot: everything a plan may depend on, as one value.
//
// A ledger makes one from a single atomic look at the pool. Names of resources and devices are
// interned: a Party speaks of them by index into this very snapshot, so that planning over a
// thousand parties touches no strings. Indices mean nothing in another snapshot.
#pragma once

#include <array>
#include <bitset>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/claim.h"

namespace berth {

inline constexpr size_t max_snapshot_resources = 64;
inline constexpr size_t max_snapshot_devices = 2048;
using DeviceMask = std::bitset<max_snapshot_devices>;

// Ten characters of [a-z2-7], drawn at random, never used again.
struct PartyId {
  static constexpr size_t size = 10;
  std::array<char, size> text{};
  [[nodiscard]] std::string_view view() const { return {text.data(), size}; }
  friend auto operator<=>(const PartyId&, const PartyId&) = default;
  [[nodiscard]] static std::optional<PartyId> parse(std::string_view text);
};

enum class PartyState : uint8_t {
  held,     // has its place
  waiting,  // stands in line
  aside,    // a waiter that was stopped and said so: passed over until it comes back
};

struct Amount {
  uint16_t resource = 0;  // index into Snapshot::resources
  int64_t amount = 0;
};

struct Eligible {
  uint16_t device = 0;  // index into Snapshot::devices
  uint8_t ordinal = 0;  // its place in the claim
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
struct Party {
  PartyId id;
  PartyState state = PartyState::waiting;
  std::array<char, 24> dir_text{};  // see dir()
  uint8_t dir_size = 0;
  int64_t arrival_us = 0;
  int priority = 0;
  int64_t expect_s = 0;   // 0: it did not say
  int64_t seated_us = 0;  // held only
  bool nested = false;    // inside another lease: counts against that one alone
  PartyId parent;         // nested only
  Run counters;           // of Snapshot::amounts
  GpuClaim gpu;
  Run eligible;        // of Snapshot::eligibles
  Run vetoed;          // of Snapshot::eligibles, right behind: those that its driver refuses it for now
  Run granted;         // of Snapshot::grants; held only
  uint32_t entry = 0;  // the ledger's own handle on where this came from

  // Its owner's directory in the pool: the uid as text, perhaps with a suffix.
  [[nodiscard]] std::string_view dir() const { return {dir_text.data(), dir_size}; }
};

struct Resource {
  std::string name;
  int64_t capacity = 0;
};

struct Policy {
  int64_t age_s = 3600;  // one point of priority outweighs this much waiting
  int max_priority = 10;
};

struct Snapshot {
  std::vector<Resource> resources;
  std::vector<std::string> devices;  // UUIDs
  Policy policy;
  std::vector<Party> parties;
  std::vector<Amount> amounts;
  std::vector<Eligible> eligibles;
  std::vector<uint16_t> grants;  // indices into devices
  int garbage = 0;               // entries that look like records and are none
  std::string newer_name;        // a record of a later format, if there is one: nobody may plan around it

  // Index of the resource or device of that name, added with capacity 0 if it is new.
  // nullopt when the snapshot's bound is reached.
  std::optional<uint16_t> intern_resource(std::string_view name);
  std::optional<uint16_t> intern_device(std::string_view uuid);

  [[nodiscard]] std::span<const Amount> counters(const Party& party) const { return part(amounts, party.counters); }
  [[nodiscard]] std::span<const Eligible> eligible(const Party& party) const { return part(eligibles, party.eligible); }
  [[nodiscard]] std::span<const uint16_t> granted(const Party& party) const { return part(grants, party.granted); }
  [[nodiscard]] std::span<const Eligible> vetoed(const Party& party) const { return part(eligibles, party.vetoed); }
  // Which of the claim's devices are vetoed, and making it so. A vetoed device is as if the claim had
  // not named it: others plan around it.
  [[nodiscard]] OrdinalMask veto(const Party& party) const;
  void set_veto(size_t party, OrdinalMask veto);
  // Seats parties[party] on these devices.
  void grant(size_t party, const std::vector<uint16_t>& devices_granted);

  // Index into parties, or -1.
  [[nodiscard]] int find(const PartyId& id) const;

 private:
  template <class T>
  static std::span<const T> part(const std::vector<T>& all, Run run) {
    return std::span<const T>(all).subspan(run.first, run.count);
  }
};

// The parties that compete with each other, and what they compete for. At the top that is the pool
// and all that are not nested. Inside a lease it is what the lease holds and those nested in it.
[[nodiscard]] Snapshot top_level(const Snapshot& all);
// nullopt when there is no such holder.
[[nodiscard]] std::optional<Snapshot> inside(const Snapshot& all, const PartyId& parent);

// The static order: less is sooner. It never changes while a party waits, so a wait is bounded:
// nobody who arrives more than (highest - own priority) x age later can pass.
struct OrderKey {
  int64_t key_us = 0;
  PartyId id;
  friend auto operator<=>(const OrderKey&, const OrderKey&) = default;
};
[[nodiscard]] OrderKey order_key(const Party& party, const Policy& policy);

}  // namespace berth
