// Journal: jobs that have ended and are not in the database yet, a line each.
//
// A job's end costs one write at the end of a file, some tens of microseconds: no library is loaded, nothing
// is waited for, nobody is asked. Who has time takes the lines into the database (fold.h). Appender and
// taker meet like this, and no line is lost or torn:
//
//   1. An appender opens history.new, takes a shared flock without waiting, and sees whether the file still
//      has a name; else it opens the new one. It writes its line with one write(2) and closes. The line
//      begins with a line's end: one that a full disk cut short spoils no other.
//   2. A taker, alone by history.lock, renames history.new and then takes an exclusive flock on it: whoever
//      opened it before has written, and who comes now sees that it has no shared lock to get, or no name.
//   3. A taker that dies leaves history.folding to the next one. A line that is taken in twice is one job.
//
// A journal that nobody takes in stays bounded: at max_journal_bytes it becomes history.old, and that goes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/own_fd.h"
#include "history/job.h"
#include "history/where.h"

namespace berth {

inline constexpr int64_t max_journal_bytes = 1 << 20;

// Appends whole lines. The journal's size afterwards; nullopt where it could not be written. May block for as
// long as the file system does, and for nothing else: see keep.h.
[[nodiscard]] std::optional<int64_t> append_journal(const Where& where, const std::string& lines);

// What the journals say now, oldest first; lines that are none of ours are skipped.
[[nodiscard]] std::vector<Job> read_journals(const Where& where);

// The lines of one journal, held so that nobody adds to it any more until it has lost its name.
struct TakenJournal {
  std::string path;
  OwnFd held;
  std::vector<Job> jobs;
};

// Takes all there is to take; requires history.lock. One that a stopped appender holds is left for later.
[[nodiscard]] std::vector<TakenJournal> take_journals(const Where& where);

}  // namespace berth
