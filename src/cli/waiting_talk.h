// WaitingTalk: what is said on stderr while one waits.
//
// On a terminal it is one line, written over where something has changed and gone when the wait is over. Of
// many who wait in one terminal (a make -j) one has the line. Anywhere else, and in the background, it
// is said once, and again when the driver has another objection.
//
// A wait that is over in a moment is not spoken of. Inside a lease, where siblings take turns and that is what
// was asked for, only the first in line speaks, and that late.
//
// It never takes the pool's lock, and never writes to a terminal that does not take what is written (Ctrl-S):
// a waiter that is stuck there would not notice its turn.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/own_fd.h"
#include "cli/waiting_text.h"
#include "device/probe_run.h"
#include "engine/engine.h"
#include "ledger/local_pool.h"

namespace berth {

class WaitingTalk {
 public:
  // All must outlive it. `engine`'s record is what is spoken of.
  WaitingTalk(LocalPool& pool, const Picture& picture, const Engine& engine)
      : pool_(pool), picture_(picture), engine_(engine) {}
  ~WaitingTalk() { clear(); }
  WaitingTalk(const WaitingTalk&) = delete;
  WaitingTalk& operator=(const WaitingTalk&) = delete;

  // For Engine::on_waiting().
  [[nodiscard]] int64_t operator()(const Waiting& waiting);
  // Leaves the terminal as it was: the wait is over, or we are about to stop or to say something else.
  void clear();

 private:
  [[nodiscard]] bool is_heard();
  [[nodiscard]] int64_t first_word_us(const Waiting& waiting, int64_t now_us);
  [[nodiscard]] WaitingWords look(const std::string& objection);
  [[nodiscard]] int64_t refresh(const std::string& objection, int64_t now_us, size_t columns);
  [[nodiscard]] bool have_the_line();
  void write_over(const std::string& text);

  LocalPool& pool_;
  const Picture& picture_;
  const Engine& engine_;
  std::optional<bool> heard_;
  int64_t since_us_ = -1;      // since when there is something to say
  int64_t last_look_us_ = -1;  // for the line on the terminal
  bool said_ = false;          // in a line of its own
  std::string objection_;      // as it was said then
  std::string shown_;          // stands in the terminal's line now
  OwnFd line_;                 // its lock; see have_the_line()
};

// For a process beside the waiter that has something to say: takes the line away that may stand in the terminal.
void clear_waiting_line();

}  // namespace berth
