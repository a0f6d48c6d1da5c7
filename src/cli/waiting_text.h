// What is said of a waiter, as one sentence for people: what it waits for, who holds that and until
// when, how long it should take, how many stand before it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace berth {

// One who has what the waiter is short of.
struct InTheWay {
  std::string what;               // "GPU 0", "license"
  std::string who;                // "train-llama"
  std::string user;               // "alice"
  std::optional<int64_t> left_s;  // until it should be gone; less than 0: overdue; nothing: it did not say
  bool reclaimable = false;
  bool hides = false;  // nobody can see whether it lives
  bool asked = false;  // to give way for this waiter
};

struct WaitingWords {
  std::string claim;              // "24 GiB on 1 GPU"
  std::vector<InTheWay> holders;  // most telling first; equal `what` need not stand together
  size_t more_holders = 0;        // not in that list
  std::string objection;          // the driver's, or that of a pool that has become too small; "" if there is none
  int ahead = 0;
  std::optional<int64_t> eta_s;       // nothing: nobody knows
  bool objection_is_of_them = false;  // the holders are those of whom the objection speaks
  bool in_line = true;                // not so: what it would be like if it stood there
};

// "24 GiB on 1 GPU: GPU 0 is held by train-llama (alice, 40 min left, reclaimable), about 40 min; 2 ahead of you"
// "1 GPU: GPU 0 is held by llama (alice, asked to give way)"
[[nodiscard]] std::string waiting_text(const WaitingWords& words);

// The same after `before`, in at most `columns` columns of a terminal: with less about the holders where it
// must be, and cut at the end where nothing else helps.
[[nodiscard]] std::string waiting_line(const std::string& before, const WaitingWords& words, size_t columns);

}  // namespace berth
