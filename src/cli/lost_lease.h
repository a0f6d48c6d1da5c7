// What becomes of a running job whose lease was removed behind its back.
#pragma once

#include "base/own_fd.h"
#include "cli/place.h"
#include "run/supervisor.h"

namespace berth {

// Watches the record of one seat. A lease that somebody ended with `berth release` is none of its business;
// one that went in any other way is entered again, and what came of it is said on stderr.
class LossCompanion : public Companion {
 public:
  LossCompanion(LocalPool& pool, Seat& seat, bool ends_command);

  // The process that keeps the place should its life be gone with the record.
  void stands_for(pid_t pid) { pid_ = pid; }
  [[nodiscard]] int fd() const override { return watch_.get(); }
  [[nodiscard]] int64_t due_us() const override { return again_us_; }
  [[nodiscard]] bool act() override;
  // True once it could not be entered again.
  [[nodiscard]] bool lost() const { return lost_; }

 private:
  bool stands();
  bool give_up(const std::string& why);

  LocalPool& pool_;
  Seat& seat_;
  bool ends_command_;
  OwnFd watch_;
  pid_t pid_ = 0;
  int64_t again_us_ = -1;
  bool lost_ = false;
};

}  // namespace berth
