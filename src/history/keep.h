// Keep: jobs that have just ended go into the history, and nothing waits for it.
//
// Called last of all, after the place was given back and with the exit status known. What it costs is in
// proportion to what the job took (docs/adr/0005 has the figures):
//
//   a moment    the write of a line, some 20 us; it comes back when the file system does
//   50 ms       the same by a thread, 0.1 ms. Where the user's home hangs, the thread is left behind after
//               100 ms, and the kernel ends it with the process
//   2 s         besides, a child takes the journal into the database; it is waited for at most a hundredth of
//               what the job took, and 50 ms
//
// Nothing is said of a history that cannot be kept, and nothing is changed by it.
#pragma once

#include <vector>

#include "history/job.h"

namespace berth {

enum class Fold {
  in_time,    // if one of them was of some length, or the journal has become long
  when_long,  // only the latter: inside a lease a child could be taken for something that the job left running
  here,       // by ourselves: nobody waits for this process
};

void keep_history(const std::vector<Job>& jobs, Fold fold);

}  // namespace berth
