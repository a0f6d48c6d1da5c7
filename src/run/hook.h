// HookRun: a shell command of the user's that runs beside his job: --on-reclaim, --on-return.
//
// It runs as whoever runs the job, in a process group of its own, with nothing on its stdin and without
// any descriptor of ours, so that one that hangs keeps no place alive. What it prints is passed on, a
// line at a time and not for ever. A process in between waits for it and tells how it ended: the supervisor is
// a subreaper, and whoever takes in the dead first would have its status.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/own_child.h"
#include "base/own_fd.h"
#include "base/result.h"

namespace berth {

struct Hook {
  std::string name;  // in front of its lines
  std::string command;
  std::vector<std::string> environment;  // "NAME=value"
  sigset_t signal_mask{};                // as it was when we came
  rlimit descriptor_limit{};
  std::function<void(const std::string&)> say;  // passes on a line to who reads stderr; never blocks for long
};

class HookRun {
 public:
  // Errors: no process or descriptor left.
  [[nodiscard]] static Result<HookRun> start(const Hook& hook);
  HookRun(HookRun&&) = default;
  HookRun& operator=(HookRun&&) = delete;
  HookRun(const HookRun&) = delete;
  HookRun& operator=(const HookRun&) = delete;
  ~HookRun();  // kills it

  // Readable when act() has something to do.
  [[nodiscard]] int output_fd() const { return output_.get(); }
  [[nodiscard]] int status_fd() const { return status_.get(); }
  // Passes on what it said, and takes in how it ended. Never blocks. A value: its exit status, 128 + N for a
  // signal, -1 if nobody knows.
  [[nodiscard]] std::optional<int> act();
  void stop();
  [[nodiscard]] bool owns(pid_t pid) const { return child_.valid() && child_.pid() == pid; }

 private:
  HookRun(const Hook& hook, OwnChild child, OwnFd output, OwnFd status)
      : name_(hook.name),
        say_(hook.say),
        child_(std::move(child)),
        output_(std::move(output)),
        status_(std::move(status)) {}
  void pass_on_output();
  void pass_on_line(const std::string& line);

  std::string name_;
  std::function<void(const std::string&)> say_;
  OwnChild child_;  // leads the process group
  OwnFd output_;
  OwnFd status_;
  std::string line_;
  int lines_ = 0;
};

}  // namespace berth
