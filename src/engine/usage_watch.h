// UsageWatch: what a lease really uses of its GPUs while its command runs, by the driver's word.
//
// Asks now and then, in a process of its own (device/probe_run.h): often at first, when a job loads its
// model, then every ten seconds. A question costs a few milliseconds of processor, and nothing of the GPU.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "device/probe_run.h"
#include "engine/occupancy.h"

namespace berth {

// A lease of ours and what it may use of each device.
struct UsageLimit {
  PartyKey lease;
  std::string uuid;
  int64_t claimed_bytes = 0;
};

struct Overuse {
  std::string uuid;
  int device_index = 0;
  int64_t used_bytes = 0;
  int64_t claimed_bytes = 0;
};

// What the driver says that a device does, in percent; nullopt: nothing.
[[nodiscard]] std::optional<int> load_of(const Picture& picture, const std::string& uuid);

class UsageWatch {
 public:
  // `leases` as in DriverAdmission. `on_overuse` is called when a lease is first seen to use more than
  // it claimed, and again when it has grown by an eighth since.
  UsageWatch(std::vector<UsageLimit> limits, std::function<std::vector<LeaseRoot>()> leases,
             std::function<void(const Overuse&)> on_overuse);

  // Readable when act() has something to do; -1: nothing is under way.
  [[nodiscard]] int fd() const { return run_ ? run_->fd() : -1; }
  // When act() is to be called at the latest, on monotonic_us()'s clock.
  [[nodiscard]] int64_t due_us() const;
  // Does what is due. Never blocks.
  void act();
  // Whether this process asks the drivers for us, or did and is given up.
  [[nodiscard]] bool owns(pid_t pid) const { return (run_ && run_->is(pid)) || is_given_up_probe(pid); }

  // The most that all our leases together were seen to use of one device; nullopt: never seen.
  [[nodiscard]] std::optional<int64_t> peak_bytes() const;

  // From the next answer on; the owner of a lease may change its claim while it is held. None: the place is away,
  // and when it is back its time begins anew.
  void set_limits(std::vector<UsageLimit> limits);

  // Asks often enough to notice that nothing happened for so long.
  void watch_idleness(int64_t idle_us);
  // For how long, as of the last answer, none of our devices had been seen at work; 0 where there was no answer, or
  // none that told of each: a driver that says nothing says nothing of idleness either. The load is the card's,
  // whoever shares it.
  [[nodiscard]] int64_t quiet_us() const { return quiet_us_; }
  // Whether the last answer told of each of our devices what it does; nullopt: there was none yet.
  [[nodiscard]] std::optional<bool> load_told() const { return load_told_; }

 private:
  void heed_load(const Picture& picture, int64_t now_us);
  void learn(const Picture& picture);

  std::vector<UsageLimit> limits_;
  std::function<std::vector<LeaseRoot>()> leases_;
  std::function<void(const Overuse&)> on_overuse_;
  std::optional<ProbeRun> run_;
  std::map<std::string, int64_t> peaks_;     // by UUID
  std::map<std::string, int64_t> reported_;  // by UUID: the overuse that was last spoken of
  int64_t next_us_ = 0;
  int64_t pace_us_ = 0;
  int64_t usual_pace_us_;
  int64_t active_us_;  // when one of our devices was last seen at work, or not seen at all
  int64_t quiet_us_ = 0;
  std::optional<bool> load_told_;
};

}  // namespace berth
