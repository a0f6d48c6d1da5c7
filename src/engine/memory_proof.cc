#include "engine/memory_proof.h"

#include <algorithm>

#include "base/sys.h"

namespace berth {

namespace {

constexpr int64_t first_pace_us = 20'000;
constexpr int64_t slowest_pace_us = 500'000;

// What stays of a process that has unloaded its model: its CUDA context, half a gigabyte on today's cards. Who wants
// the card alone is kept from it by that.
constexpr int64_t most_rest_bytes = int64_t{1} << 30;
constexpr int64_t onlooker_bytes = int64_t{32} << 20;
int64_t rest_bytes(const UsageLimit& limit, bool for_whole_cards) {
  return for_whole_cards ? onlooker_bytes : std::min(most_rest_bytes, limit.claimed_bytes / 4);
}

}  // namespace

bool has_let_go(const DeviceOccupancy& use, const PartyKey& lease, int64_t rest_bytes) {
  const auto& blind = use.unattributable;
  if (std::find(blind.begin(), blind.end(), lease) != blind.end()) return false;
  int64_t used = 0;
  for (const Occupant& o : use.occupants) {
    if (o.whose != Whose::lease || o.lease != lease) continue;
    if (!o.process.vram_bytes) return false;
    used += *o.process.vram_bytes;
  }
  return used <= rest_bytes;
}

MemoryProof::MemoryProof(std::vector<UsageLimit> limits, std::function<std::vector<LeaseRoot>()> leases,
                         bool for_whole_cards)
    : limits_(std::move(limits)),
      leases_(std::move(leases)),
      next_us_(monotonic_us()),
      pace_us_(first_pace_us),
      for_whole_cards_(for_whole_cards) {}

int64_t MemoryProof::due_us() const { return run_ ? run_->begun_us() + probe_limit_us() : next_us_; }

bool MemoryProof::act() {
  const int64_t now_us = monotonic_us();
  if (!run_) {
    if (now_us < next_us_) return false;
    auto run = ProbeRun::start(sysfs_root());
    next_us_ = now_us + pace_us_;
    if (run) run_.emplace(std::move(*run));
    return false;
  }
  bool free = false;
  if (run_->take_in()) {
    const auto picture = run_->finish();
    if (picture) {
      ReadProcesses processes(picture->processes);
      const std::vector<DeviceOccupancy> uses = occupancy(picture->devices, leases_(), processes);
      free = std::all_of(limits_.begin(), limits_.end(), [&](const UsageLimit& limit) {
        return std::any_of(uses.begin(), uses.end(), [&](const DeviceOccupancy& use) {
          return use.device.uuid == limit.uuid && has_let_go(use, limit.lease, rest_bytes(limit, for_whole_cards_));
        });
      });
    }
  } else if (now_us < due_us()) {
    return false;
  }
  run_.reset();
  next_us_ = now_us + pace_us_;
  pace_us_ = std::min(slowest_pace_us, pace_us_ * 3 / 2);
  return free;
}

}  // namespace berth
