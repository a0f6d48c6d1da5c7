// What becomes of a running job whose lease was removed behind its back.
#pragma once

#include "cli/place.h"
#include "run/supervisor.h"

namespace berth {

// Looks after the record, life and bell of one seat, every five seconds. A lease that somebody ended with `berth
// release` is none of its business; one that went in any other way is entered again, and what came of it is said on
// stderr.
class LossCompanion : public Companion {
 public:
  LossCompanion(LocalPool& pool, Seat& seat, bool ends_command);

  // The process that keeps the place should its life be gone with the record.
  void stands_for(pid_t pid) { pid_ = pid; }
  [[nodiscard]] int fd() const override { return -1; }
  [[nodiscard]] int64_t due_us() const override { return look_us_; }
  [[nodiscard]] bool act() override;
  // True once it could not be entered again.
  [[nodiscard]] bool lost() const { return lost_; }

 private:
  bool give_up(const std::string& why);

  LocalPool& pool_;
  Seat& seat_;
  bool ends_command_;
  pid_t pid_ = 0;
  int64_t look_us_;      // -1: never again
  bool missed_ = false;  // at the last look
  bool lost_ = false;
};

}  // namespace berth
