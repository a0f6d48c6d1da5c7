// SignalsAtStart: tells a signal from the terminal that the command has from one that came before there was a
// command.
//
// Ctrl-C goes to the whole foreground group, so what comes from the terminal is not passed on: the command had
// it. But for the moment between our last look and the start this is wrong:
//
//   1. The terminal signals the group, of which we are the only one.
//   2. vfork(). What is pending for us is not pending for the child.
//   3. We read it afterwards, and nothing about it says when it came.
//
// So the child looks, before exec and while it has all of them blocked, first at what is pending for us and then
// at what is pending for itself. What we had by then and it had not came before it was there: a signal to a group
// reaches the newest process first, and one that is sent while the kernel makes a process reaches both. What we
// did not have yet came later, to both.
#pragma once

#include <signal.h>

#include <cstdint>

#include "base/own_fd.h"

namespace berth {

class SignalsAtStart {
 public:
  // Before vfork(). Costs some 15 us where there is a terminal, 2 us where there is none.
  SignalsAtStart();

  // In the child, which shares our memory: calls the kernel and writes to this object, and nothing else.
  void look_from_child();

  // Where the child does not share our memory, it tells us what it saw.
  [[nodiscard]] uint64_t seen() const { return owed_; }
  void set_seen(uint64_t owed) { owed_ = owed; }

  // Whether this signal, from the terminal and just read, never reached the command. Says so once.
  [[nodiscard]] bool is_owed(int signal);

 private:
  OwnFd ours_;  // /proc/self/status; invalid where no signal comes from a terminal, or none can be told apart
  volatile uint64_t owed_ = 0;  // bit N-1: signal N
};

}  // namespace berth
