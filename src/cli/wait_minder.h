// WaitMinder: a process beside `hold` while it waits in line, for what hold cannot do itself.
//
// - A hold that is killed prints nothing, and `eval ""` succeeds: the script would go on without a
//   place. The minder has a copy of stdout and writes what is left to say.
// - A hold whose process has ended in the meantime waits for nobody. The minder tells it to go.
// It is forked before anything of the pool is open, and ends with the wait.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/own_fd.h"

namespace berth {

class WaitMinder {
 public:
  // `last_words`: goes to stdout should this process end before dismiss(); "" for nothing. When the
  // process behind `pid_fd` ends, this one is sent SIGTERM. Where no process can be made there is none.
  WaitMinder(int pid_fd, const std::string& last_words);
  ~WaitMinder() { dismiss(); }
  WaitMinder(const WaitMinder&) = delete;
  WaitMinder& operator=(const WaitMinder&) = delete;
  // Ends it; when this returns it is gone, and has written nothing.
  void dismiss();

 private:
  [[noreturn]] static void stay(int pid_fd, int parent_end, pid_t parent, const std::string& last_words);

  OwnFd line_;  // its other end hears a byte (dismissed) or the end (we are dead)
  pid_t pid_ = -1;
};

// Closes every descriptor but `keep`. 0, 1 and 2 become /dev/null unless they are kept.
void close_all_but(const std::vector<int>& keep);

}  // namespace berth
