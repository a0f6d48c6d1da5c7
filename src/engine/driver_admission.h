// DriverAdmission: the word of this machine's drivers (admission.h), by probes in a process of their own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/probe_run.h"
#include "engine/admission.h"
#include "engine/occupancy.h"

namespace berth {

// What a claim asks of the driver beyond its place.
struct DriverRules {
  int64_t min_free_bytes = 0;  // 0: nothing
  int max_util_pct = 100;      // 100: any
};

class DriverAdmission : public Admission {
 public:
  // `first`: what the drivers said when the devices were looked for. `leases` reads who holds what, from
  // a pool, without its lock; called once an answer.
  DriverAdmission(const Picture& first, DriverRules rules, std::function<std::vector<LeaseRoot>()> leases);

  void ask() override;
  [[nodiscard]] int fd() const override { return run_ ? run_->fd() : -1; }
  [[nodiscard]] int64_t due_us() const override;
  bool take_in() override;
  void ask_and_wait() override;
  [[nodiscard]] int64_t begun_us() const override { return begun_us_; }
  [[nodiscard]] int64_t taken_us() const override { return taken_us_; }
  [[nodiscard]] std::string refusal(const Snapshot& snapshot, const std::vector<bool>& dead, int self,
                                    const Eligible& device, bool seated) const override;

 private:
  void answer(const Picture& picture);
  void fail(int64_t begun_us, std::string why);

  DriverRules rules_;
  std::function<std::vector<LeaseRoot>()> leases_;
  std::optional<ProbeRun> run_;
  std::vector<DeviceOccupancy> devices_;
  std::string failure_;  // of the last question; "" if it was answered
  int64_t begun_us_ = -1;
  int64_t taken_us_ = -1;
};

// Why `party` of the snapshot may not be on that device as the driver saw it; "" where it may. Pure; see
// Admission::refusal().
[[nodiscard]] std::string driver_refusal(const DeviceOccupancy& use, const DriverRules& rules, const Snapshot& snapshot,
                                         const std::vector<bool>& dead, const Party& party, uint16_t device,
                                         bool seated);

// Those who hold some of a device by the book, with how much. `dead` by index; empty: nobody is.
[[nodiscard]] std::vector<Holding> holdings(const Snapshot& snapshot, const std::vector<bool>& dead, uint16_t device,
                                            int64_t device_bytes);

// "GPU 3": how a device is called among people.
[[nodiscard]] std::string device_name(const Device& device);
// "pid 4242 (python, uid 1000) uses 21 GiB", for the stranger that uses most; "" without one.
[[nodiscard]] std::string name_strangers(const DeviceOccupancy& use, const std::vector<Holding>& holders);

}  // namespace berth
