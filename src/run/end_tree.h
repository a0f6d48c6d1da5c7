// TreeEnd: ends a command and everything that it started, whatever the reason: TERM to all of them once,
// and KILL to whoever is left when the grace is over. What one of them starts on hearing TERM, to save its work
// say, is left in peace until then.
//
// All, and not the command alone: a shell ends of TERM at once, and leaves behind the very process that
// it was about. timeout(1) means the same by signalling a process group, which one setsid() escapes; a
// subreaper loses nobody.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <utility>

namespace berth {

class TreeEnd {
 public:
  // `command`: a child of this process, which is a subreaper. `is_ours` as in left_running(). `on_signal` is
  // told of TERM and of KILL when they have been sent.
  TreeEnd(pid_t command, int64_t grace_us, std::function<bool(pid_t)> is_ours, std::function<void(int)> on_signal)
      : command_(command), grace_us_(grace_us), is_ours_(std::move(is_ours)), on_signal_(std::move(on_signal)) {}

  // Sends TERM, unless that was done before.
  void begin();
  [[nodiscard]] bool begun() const { return kill_at_us_ >= 0; }
  // Does what is due: to be called when the time has come, and after every SIGCHLD.
  void act();
  // When act() is to be called at the latest, on monotonic_us()'s clock; negative: never.
  [[nodiscard]] int64_t due_us() const;
  // The command has been taken in: its pid may be another's from now on.
  void command_is_gone() { command_ = -1; }
  // Requires begun(). Nobody is left, or nobody whom KILL ends within a second.
  [[nodiscard]] bool done() const { return done_; }
  // Sends a signal to all of them now.
  void pass_on(int signal);

 private:
  pid_t command_;
  int64_t grace_us_;
  std::function<bool(pid_t)> is_ours_;
  std::function<void(int)> on_signal_;
  int64_t kill_at_us_ = -1;
  int64_t next_us_ = -1;
  bool killing_ = false;
  bool done_ = false;
};

}  // namespace berth
