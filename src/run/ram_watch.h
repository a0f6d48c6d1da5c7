// RamWatch: what a command's tree has of the machine's memory while it runs, looked at often at first and then
// once a second.
//
// Of a scope the kernel tells it exactly. Elsewhere the processes are summed up, which counts what a fork left
// shared once for each; only where that sum is more than was claimed are the shares asked for, by a thread,
// for that can take as long as a process sits in a driver.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "run/ram_scope.h"

namespace berth {

class RamWatch {
 public:
  // `tree`: the processes meant. `on_overuse` is called when they are first seen to have more than was claimed, and
  // again when that has grown by an eighth since.
  RamWatch(int64_t claimed_bytes, std::function<std::vector<pid_t>()> tree, std::function<void(int64_t)> on_overuse);

  [[nodiscard]] int64_t due_us() const { return next_us_; }
  // Does what is due. Never blocks. `scope`: the one that they are in, or null.
  void act(const RamScope* scope);
  // From the next look on.
  void set_claim(int64_t claimed_bytes) { claimed_bytes_ = claimed_bytes; }
  // What they had at the last look that told.
  [[nodiscard]] int64_t last_bytes() const { return last_bytes_; }

 private:
  [[nodiscard]] std::optional<int64_t> used_bytes(const RamScope* scope);

  int64_t claimed_bytes_;
  std::function<std::vector<pid_t>()> tree_;
  std::function<void(int64_t)> on_overuse_;
  std::shared_ptr<std::atomic<int64_t>> shares_;  // while a thread adds them up; -1 until it has
  int64_t pace_us_;
  int64_t unknown_pace_us_;  // while the last look did not tell
  int64_t next_us_;
  int64_t reported_bytes_ = 0;
  int64_t last_bytes_ = 0;
};

}  // namespace berth
