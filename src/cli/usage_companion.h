// Watches what the command uses of its GPUs, and whether they do anything.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cli/giving_way_companion.h"
#include "cli/place.h"
#include "engine/usage_watch.h"
#include "run/supervisor.h"

namespace berth {

class UsageCompanion : public Companion {
 public:
  // `giving`: who publishes that it is idle, where the place may be given away; else null. `tell`: what people are to
  // know. All must outlive it.
  UsageCompanion(Place& place, GivingWayCompanion* giving, std::function<void(const std::string&)> tell);

  [[nodiscard]] int fd() const override { return watch_.fd(); }
  [[nodiscard]] int64_t due_us() const override;
  [[nodiscard]] bool act() override;
  [[nodiscard]] bool owns(pid_t pid) const override { return watch_.owns(pid); }
  [[nodiscard]] std::optional<int64_t> peak_bytes() const { return watch_.peak_bytes(); }

 private:
  void speak_of(const Overuse& overuse);
  void look_for_idleness();
  void publish(bool idle);

  Place& place_;
  GivingWayCompanion* giving_;
  std::function<void(const std::string&)> tell_;
  UsageWatch watch_;
  bool over_ = false;
  bool idle_ = false;
};

}  // namespace berth
