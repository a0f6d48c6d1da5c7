// Runs a command inside a lease, as if nothing stood in between: its environment, its signals, its
// exit status. Knows nothing of pools; keeps the life open in the child's tree and that is all.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/own_fd.h"
#include "base/result.h"
#include "run/affinity.h"

namespace berth {

// The signals that are the command's business, blocked and read from a descriptor; what was
// inherited is put back in the child. One object a process; restores nothing in this one.
class Signals {
 public:
  // Blocks them. Those that were ignored when we came (nohup) stay ignored.
  [[nodiscard]] static Result<Signals> take();

  [[nodiscard]] int fd() const { return fd_.get(); }
  // One signal, without blocking; false if there is none.
  [[nodiscard]] bool next(signalfd_siginfo& info) const;
  [[nodiscard]] const sigset_t& inherited_mask() const { return inherited_mask_; }
  [[nodiscard]] bool child_was_ignored() const { return child_was_ignored_; }

  // Before there is a command: the first signal that is to end us, or 0. `stop` is called for TSTP.
  [[nodiscard]] int next_fatal(const std::function<void()>& stop) const;
  // Ends this process as the first of them would have, had it not been taken; returns if there is none.
  void die_if_told() const;
  // Stops this process, until it is continued.
  static void stop_here();
  // All that is passed on.
  [[nodiscard]] static sigset_t for_the_command();

  // Ends this process as `signal` would have, had we not taken it. Does not return.
  [[noreturn]] static void die_of(int signal);

 private:
  OwnFd fd_;
  sigset_t inherited_mask_{};
  sigset_t ignored_{};
  bool child_was_ignored_ = false;
};

struct Command {
  std::vector<std::string> argv;         // not empty
  std::vector<std::string> environment;  // "NAME=value"
  std::vector<int> life_fds;             // inherited by the child under these very numbers
  int cgroup_fd = -1;                    // cgroup.procs of the group that it is put into
  std::function<void()> prepare;         // done first by its process: takes memory, and some time
  std::optional<int> nice;               // added to ours
  AffinityMask affinity;                 // empty: as it was
  bool idle_io = false;                  // only what nobody else wants of the disks
  std::optional<int64_t> limit_ms;       // then its whole tree is ended: TERM, and KILL after the grace
  int64_t grace_ms = 30'000;
  rlimit descriptor_limit{};  // as it was when we came
};

struct Finished;

// What is looked after beside the command: a bell, a watch on what the command uses.
class Companion {
 public:
  virtual ~Companion() = default;
  // act() is called when this is readable (asked anew each time; negative: never) ...
  [[nodiscard]] virtual int fd() const = 0;
  // ... and when this time has come on monotonic_us()'s clock (negative: never).
  [[nodiscard]] virtual int64_t due_us() const = 0;
  // Never blocks. True: the command and its tree are to be ended, as by its time limit.
  [[nodiscard]] virtual bool act() = 0;
  // Whether this child of ours is its own, and none of the command's tree.
  [[nodiscard]] virtual bool owns(pid_t pid) const {
    (void)pid;
    return false;
  }
  // Told once that the command has ended, and how. True: what it left running is to be ended as well, as by a time
  // limit.
  [[nodiscard]] virtual bool command_ended(const Finished& finished) {
    (void)finished;
    return false;
  }
};

struct Finished {
  // Who had it ended: nobody, its time limit, a companion. It may have ended by itself all the same.
  enum class By { itself, limit, companion };

  int status = 0;      // as the shell says it: the exit code, or 128 + the signal's number
  int exec_errno = 0;  // not 0: the command could not be started (status is 126 or 127)
  int signal = 0;      // that ended it; 0: it exited
  By by = By::itself;
  int64_t told_to_end_us = -1;  // when somebody sent us HUP, INT, QUIT or TERM for it, last; negative: nobody
  bool by_terminal = false;     // `signal` came from the terminal (Ctrl-C), to us as well
  int64_t largest_bytes = 0;    // the most memory of a single process, of those that were waited for; 0: unknown
};

// Becomes the command: no wrapper stays. Returns only where that fails.
[[nodiscard]] Finished replace_self(const Command& command, const Signals& signals);

// What somebody may want to hear while the command runs.
struct Notices {
  std::function<void(pid_t)> started;
  // The command and its tree are sent TERM, or KILL when the grace is over.
  std::function<void(int signal, Finished::By)> ending;
};

// Starts the command and stays with it until it ends; where it is ended, until its tree is gone or cannot be
// killed. What the command leaves running becomes this process's child: see left_running(). Errors: the process
// could not be made.
[[nodiscard]] Result<Finished> supervise(const Command& command, const Signals& signals,
                                         const std::vector<Companion*>& companions, const Notices& notices);

}  // namespace berth
