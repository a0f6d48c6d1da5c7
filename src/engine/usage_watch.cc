#include "engine/usage_watch.h"

#include <algorithm>

#include "base/sys.h"

namespace berth {

namespace {

constexpr int64_t first_pace_us = 1'000'000;
constexpr int64_t usual_pace_us = 10'000'000;
constexpr int64_t quickest_pace_us = 200'000;
constexpr int64_t looks_while_idle = 5;
constexpr int64_t slowest_pace_us = 60'000'000;  // of a driver that does not answer

}  // namespace

UsageWatch::UsageWatch(std::vector<UsageLimit> limits, std::function<std::vector<LeaseRoot>()> leases,
                       std::function<void(const Overuse&)> on_overuse)
    : limits_(std::move(limits)),
      leases_(std::move(leases)),
      on_overuse_(std::move(on_overuse)),
      next_us_(monotonic_us() + first_pace_us),
      pace_us_(first_pace_us),
      usual_pace_us_(usual_pace_us),
      active_us_(monotonic_us()) {}

void UsageWatch::set_limits(std::vector<UsageLimit> limits) {
  limits_ = std::move(limits);
  if (!limits_.empty()) return;
  active_us_ = monotonic_us();
  quiet_us_ = 0;
}

void UsageWatch::watch_idleness(int64_t idle_us) {
  usual_pace_us_ = std::clamp(idle_us / looks_while_idle, quickest_pace_us, usual_pace_us);
  pace_us_ = std::min(pace_us_, usual_pace_us_);
  next_us_ = std::min(next_us_, monotonic_us() + pace_us_);
}

void UsageWatch::heed_load(const Picture& picture, int64_t now_us) {
  if (limits_.empty()) return;  // the place is away
  bool told = true;
  for (const UsageLimit& limit : limits_) {
    const auto load = load_of(picture, limit.uuid);
    told = told && load;
    if (load.value_or(1) > 0) active_us_ = now_us;
  }
  load_told_ = told;
  quiet_us_ = now_us - active_us_;
}

std::optional<int> load_of(const Picture& picture, const std::string& uuid) {
  const auto seen =
      std::find_if(picture.devices.begin(), picture.devices.end(), [&](const Device& d) { return d.uuid == uuid; });
  return seen == picture.devices.end() ? std::nullopt : seen->util_pct;
}

int64_t UsageWatch::due_us() const { return run_ ? run_->begun_us() + probe_limit_us() : next_us_; }

void UsageWatch::act() {
  const int64_t now_us = monotonic_us();
  if (!run_) {
    if (now_us < next_us_) return;
    auto run = ProbeRun::start(sysfs_root());
    next_us_ = now_us + pace_us_;
    if (run)
      run_.emplace(std::move(*run));
    else
      heed_load({}, now_us);
    return;
  }
  if (run_->take_in()) {
    const auto picture = run_->finish();
    if (picture) learn(*picture);
    heed_load(picture ? *picture : Picture{}, now_us);
    pace_us_ = picture ? std::min(usual_pace_us_, pace_us_ * 2) : slowest_pace_us;
  } else if (now_us < due_us()) {
    return;
  } else {
    pace_us_ = slowest_pace_us;
    heed_load({}, now_us);
  }
  run_.reset();
  next_us_ = now_us + pace_us_;
}

void UsageWatch::learn(const Picture& picture) {
  ReadProcesses processes(picture.processes);
  for (const DeviceOccupancy& use : occupancy(picture.devices, leases_(), processes)) {
    int64_t used = 0;
    int64_t claimed = 0;
    for (const UsageLimit& limit : limits_) {
      if (limit.uuid != use.device.uuid) continue;
      used += lease_bytes(use, limit.lease).value_or(0);
      claimed += limit.claimed_bytes;
    }
    if (used == 0) continue;
    int64_t& peak = peaks_[use.device.uuid];
    peak = std::max(peak, used);
    int64_t& reported = reported_[use.device.uuid];
    if (used <= claimed || used <= reported + reported / 8) continue;
    reported = used;
    on_overuse_({use.device.uuid, use.device.index, used, claimed});
  }
}

std::optional<int64_t> UsageWatch::peak_bytes() const {
  std::optional<int64_t> most;
  for (const auto& [uuid, bytes] : peaks_) most = std::max(most.value_or(0), bytes);
  return most;
}

}  // namespace berth
