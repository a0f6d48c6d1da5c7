#include "run/end_tree.h"

#include <signal.h>

#include <algorithm>
#include <vector>

#include "base/sys.h"
#include "run/process_tree.h"

namespace berth {

namespace {

constexpr int64_t look_again_us = 100'000;       // for those who go without being our children
constexpr int64_t kill_patience_us = 1'000'000;  // a process that sits in the kernel goes when that lets it

// A stopped process hears neither TERM nor KILL's like before it goes on.
void send(pid_t pid, int signal) {
  ::kill(pid, signal);
  ::kill(pid, SIGCONT);
}

}  // namespace

void TreeEnd::begin() {
  if (begun()) return;
  kill_at_us_ = monotonic_us() + grace_us_;
  const std::vector<pid_t> tree = left_running(is_ours_);
  for (const pid_t pid : tree) send(pid, SIGTERM);
  // Also where the kernel does not tell who there is.
  if (command_ > 0 && std::find(tree.begin(), tree.end(), command_) == tree.end()) send(command_, SIGTERM);
  next_us_ = monotonic_us() + look_again_us;
  if (on_signal_) on_signal_(SIGTERM);
}

void TreeEnd::act() {
  if (!begun() || done_) return;
  const int64_t now_us = monotonic_us();
  next_us_ = now_us + look_again_us;
  const std::vector<pid_t> left = left_running(is_ours_);
  const bool first_kill = now_us >= kill_at_us_ && !killing_;
  killing_ |= first_kill;
  if (killing_ && command_ > 0) send(command_, SIGKILL);
  for (const pid_t pid : left)
    if (killing_) send(pid, SIGKILL);
  if (first_kill && on_signal_) on_signal_(SIGKILL);
  done_ = command_ <= 0 && (left.empty() || now_us >= kill_at_us_ + kill_patience_us);
}

int64_t TreeEnd::due_us() const {
  if (!begun() || done_) return -1;
  return killing_ ? next_us_ : std::min(next_us_, kill_at_us_);
}

void TreeEnd::pass_on(int signal) {
  for (const pid_t pid : left_running(is_ours_)) ::kill(pid, signal);
}

}  // namespace berth
