// GivingWay: what a holder does from being asked to give way to having done so, or not. Pure: it is told what
// happened and what time it is, and says what to do.
//
//     settled --asked--> hook ----> proving --> giving --> away --back--> settled
//                   \--> signalled                  (the command runs on, without its place)
//                   \--> told          whoever has had its time without giving way:
//                                          unheeded, or ending, if it may be ended for it
//
// Until the hook is started or the signal sent all of it is taken back when nobody asks any more. After that the
// hook is let finish, and its opposite is run where it succeeded.
#pragma once

#include <cstdint>
#include <vector>

namespace berth {

struct GivingWayRules {
  bool hook = false;         // a command makes the job let go of what it has
  bool proves = false;       // its devices must show that it did, whatever the hook says
  bool signal = false;       // the job is sent a signal: at once, or after a hook that did not help
  bool preemptible = false;  // and ended, if nothing else helped
  int64_t grace_us = 30'000'000;
};

class GivingWay {
 public:
  enum class Stage {
    settled,    // nobody asks
    told,       // asked, and nothing to do about it but to say so
    hook,       // it runs
    proving,    // it has ended: what does the driver say?
    giving,     // proved: the place is to be given away
    away,       // given away; in line for it
    signalled,  // the job was sent its signal
    ending,     // the job is being ended
    unheeded,   // all had its time and the place is kept
  };
  enum class Event { asked, let_off, hook_succeeded, hook_failed, memory_free, gave, nobody_asks, back };
  enum class Deed { start_hook, stop_hook, prove, send_signal, end_command, give, give_up, come_back };
  using Deeds = std::vector<Deed>;

  explicit GivingWay(const GivingWayRules& rules) : rules_(rules) {}

  // What does not fit the stage is nothing new.
  [[nodiscard]] Deeds on(Event event, int64_t now_us);
  // What the time brings.
  [[nodiscard]] Deeds at(int64_t now_us);
  // When at() has something to say; negative: never.
  [[nodiscard]] int64_t due_us() const;
  [[nodiscard]] Stage stage() const { return stage_; }
  // It is about it: asked, and neither through nor given up.
  [[nodiscard]] bool yielding() const;
  // A job that ends now does so because it was asked to give way.
  [[nodiscard]] bool would_end_by_it() const;
  // After unheeded: asked anew.
  void begin_again() { stage_ = Stage::settled; }

 private:
  Deeds begin(int64_t now_us);
  Deeds settle();
  Deeds time_is_over(int64_t now_us);
  Deeds after_failed_hook(int64_t now_us);

  GivingWayRules rules_;
  Stage stage_ = Stage::settled;
  int64_t deadline_us_ = -1;
  bool wanted_ = false;          // somebody asks still
  bool hook_succeeded_ = false;  // so its opposite is due when the place is kept or had again
};

}  // namespace berth
