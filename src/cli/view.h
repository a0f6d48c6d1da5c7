// What there is to see of a pool: one consistent picture for status, for --no-wait's refusal and for
// people. Takes no lock, changes nothing, and never misses a party that lived throughout.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "core/snapshot.h"
#include "device/device.h"
#include "ledger/local_pool.h"
#include "ledger/record.h"

namespace berth {

struct LeaseView {
  int party = 0;  // index into PoolView::snapshot.parties
  PartyInfo info;
  uid_t uid = 0;
  std::string user;
  int position = 0;    // waiting: 1 is next
  std::string reason;  // waiting: why
};

struct PoolView {
  std::string path;
  int64_t now_us = 0;
  Snapshot snapshot;              // the living only
  std::vector<LeaseView> leases;  // holders by seat, then waiters in line
  std::vector<Device> devices;    // what the probe saw, then what only parties speak of
  int dead = 0;
};

// `devices` is what a probe found; may be empty.
[[nodiscard]] Result<PoolView> view_pool(LocalPool& pool, const std::vector<Device>& devices);

// "train-llama (alice)": how a lease is called among people.
[[nodiscard]] std::string lease_name(const PoolView& view, const LeaseView& lease);

// What the holders take of a resource, or of a device, in this picture.
[[nodiscard]] int64_t held_amount(const Snapshot& snapshot, size_t resource);
[[nodiscard]] int64_t held_vram_bytes(const Snapshot& snapshot, const Device& device);
[[nodiscard]] int held_compute_pct(const Snapshot& snapshot, const Device& device);

// The leases whose parties take something of what `party` asks for: the reasons it is not seated.
[[nodiscard]] std::vector<const LeaseView*> holders_in_the_way(const PoolView& view, int party);

// The same for a claim that is not in the pool: written down as `record`.
[[nodiscard]] std::vector<const LeaseView*> rivals_in_the_way(const PoolView& view, const Record& record);

// The user's name for a uid; the number as text where it has none.
[[nodiscard]] std::string user_name(uid_t uid);

}  // namespace berth
