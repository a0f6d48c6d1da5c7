// All probes at once, in a process of their own that can be given up.
//
// A vendor's library may hang in the kernel, crash, print, keep descriptors and thirty megabytes. None
// of that belongs into a process that holds a place: so a child asks, writes down what it heard, and is
// gone. A child that does not answer is killed and forgotten; one that cannot even be killed (it sits in
// the driver) keeps nothing of ours open, is remembered, and is asked for before the next one is sent after it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/own_child.h"
#include "base/own_fd.h"
#include "base/result.h"
#include "device/device.h"
#include "device/processes.h"

namespace berth {

// What the drivers of this machine said at one moment.
struct Picture {
  std::vector<Device> devices;          // numbered: nvidia, amd, intel, each in PCI order
  std::vector<std::string> complaints;  // of drivers that are there and say nothing, in their own words
  int64_t begun_us = 0;                 // on monotonic_us()'s clock: when they were asked,
  int64_t taken_us = 0;                 // and when they had answered, however much later that was read
  KnownProcesses processes = {};        // those on the devices, and their forebears
  friend bool operator==(const Picture&, const Picture&) = default;
};

// How long a driver may take before it counts as hung: BERTH_PROBE_LIMIT, else ten seconds. A cold NVIDIA
// driver (no persistence mode, eight cards) wakes in a few.
[[nodiscard]] int64_t probe_limit_us();

// One question to the drivers, under way. Move-only; dropping it gives the child up.
class ProbeRun {
 public:
  // Forks. `sysfs_root` as in probe.h. Errors: no process or descriptor left; `probe`, where a child that
  // was given up is still stuck in the driver: one more would join it.
  [[nodiscard]] static Result<ProbeRun> start(const std::string& sysfs_root);

  ProbeRun(ProbeRun&& other) noexcept;
  ProbeRun& operator=(ProbeRun&& other) noexcept;
  ProbeRun(const ProbeRun&) = delete;
  ProbeRun& operator=(const ProbeRun&) = delete;
  ~ProbeRun();

  // Readable when there is something to take in.
  [[nodiscard]] int fd() const { return answer_.get(); }
  [[nodiscard]] int64_t begun_us() const { return begun_us_; }
  // Whether this is the child that asks.
  [[nodiscard]] bool is(pid_t pid) const { return child_.pid() == pid; }
  // Takes in what has come, without blocking. True: that was all, and finish() has it.
  [[nodiscard]] bool take_in();
  // Requires take_in(). Errors: `probe`, where the child ended without an answer.
  [[nodiscard]] Result<Picture> finish();

 private:
  ProbeRun(OwnChild child, OwnFd answer, int64_t begun_us)
      : child_(std::move(child)), answer_(std::move(answer)), begun_us_(begun_us) {}
  // Waits a little for a child that is on its way out. The signal that ended it, or 0.
  int reap();
  void give_up();
  [[nodiscard]] bool is_complete() const;

  OwnChild child_;
  OwnFd answer_;
  int64_t begun_us_ = 0;
  std::string text_;
};

// Whether this process is a child of ours that was given up and is not gone yet.
[[nodiscard]] bool is_given_up_probe(pid_t pid);

// Asks and waits. `sim_gpus` is the value of BERTH_SIM_GPUS or null; where it is set, simulated devices
// stand in for real ones and no driver is asked. No device at all is not an error. Errors: `usage` for a
// BERTH_SIM_GPUS that cannot be read; `probe` where the drivers do not answer in time.
[[nodiscard]] Result<Picture> probe_devices(const char* sim_gpus, const std::string& sysfs_root,
                                            int64_t limit_us = probe_limit_us());

// BERTH_SYSFS_ROOT, for a recorded machine; "" without one.
[[nodiscard]] std::string sysfs_root();

// The text in which the child answers, both ways; without begun_us.
[[nodiscard]] std::string encode_picture(const Picture& picture);
[[nodiscard]] Picture decode_picture(std::string_view text);

}  // namespace berth
