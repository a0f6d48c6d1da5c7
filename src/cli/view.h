// What there is to see of a pool: one consistent picture for status, for --no-wait's refusal and for
// people. Takes no lock, changes nothing, and never misses a party that lived throughout.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/user.h"
#include "cli/ram_guard.h"
#include "core/snapshot.h"
#include "device/probe_run.h"
#include "engine/occupancy.h"
#include "ledger/ledger.h"
#include "ledger/local_pool.h"
#include "ledger/record.h"

namespace berth {

struct LeaseView {
  int party = 0;  // index into PoolView::snapshot.parties
  PartyInfo info;
  uid_t uid = 0;
  std::string user;
  Life life = Life::alive;         // never dead; unknown: its owner hides it, so it may be long dead and still counts
  int position = 0;                // waiting: 1 is next, in the pool's line or that of the lease it is inside of
  std::string reason;              // waiting: why; held: who keeps it, where that is not who took it
  std::optional<int64_t> eta_s;    // waiting: until it should get its place; nothing: nobody knows
  RamLimitSeen ram_limit = {};     // held: what holds it to the memory that it claimed
  bool asked_to_give_way = false;  // held
};

struct PoolView {
  std::string path;
  int64_t now_us = 0;
  Snapshot snapshot;                    // the living only
  std::vector<LeaseView> leases;        // holders by seat, then waiters in line
  std::vector<Device> devices;          // what the probe saw, then what only parties speak of
  std::vector<DeviceOccupancy> uses;    // who uses them, of those that the probe saw; in the same order
  std::vector<std::string> complaints;  // of drivers that are there and say nothing
  std::vector<std::string> notes;       // what everybody should know of this picture, a sentence each
};

// `picture` is what a probe found; may be empty.
[[nodiscard]] Result<PoolView> view_pool(LocalPool& pool, const Picture& picture);

// "train-llama (alice)": how a lease is called among people.
[[nodiscard]] std::string lease_name(const PoolView& view, const LeaseView& lease);

// The users who let nobody see whether their leases live, each once: their dead keep their places. What
// ends it is `chmod 755` on their directory in the pool, or root's `berth release`.
[[nodiscard]] std::vector<std::string> users_who_hide(const PoolView& view);

}  // namespace berth
