// Job: one ended lease, as the history keeps it. A plain value, and its line in the journal.
//
// The line is a JSON object: whoever finds a journal can read it, and a later berth may add to it. What
// comes from a file is checked at the door: text is made printable, amounts are bounded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/claim.h"

namespace berth {

// How it ended. The names are in the database and in `berth history --json`: see how_name().
enum class How : uint8_t {
  exited,         // by itself; see Job::status
  signalled,      // by a signal; see Job::signal
  not_started,    // the command could not be executed
  limit,          // by --limit
  over_use,       // by --over-use term
  timed_out,      // gave up waiting: --timeout
  busy,           // refused: --no-wait
  cancelled,      // a signal ended it before there was a command
  lost,           // somebody took its place in line
  released,       // somebody released the lease; what it ran may have run on
  process_ended,  // hold, adopt: the process it stood for is gone
  ttl,            // hold: --ttl
  told,           // hold, adopt: its keeper was sent SIGTERM
  reclaimed,      // gave way to another; see Job::reason
  unknown,        // berth itself could not tell
};
[[nodiscard]] std::string_view how_name(How how);
[[nodiscard]] std::optional<How> how_of(std::string_view name);

struct GrantedDevice {
  std::string uuid;
  int index = 0;
  int64_t vram_bytes = 0;  // what of it the lease could use
  friend bool operator==(const GrantedDevice&, const GrantedDevice&) = default;
};

struct Job {
  std::string id;
  int64_t uid = 0;
  int64_t pid = 0;
  std::string verb;  // run, hold, adopt
  std::string label;
  std::string command;
  std::string pool;
  std::string parent;  // the id of the lease that it was inside of, or ""
  int priority = 0;
  int64_t expect_s = 0;  // 0: it did not say
  Claim claim;           // without eligible devices
  std::vector<GrantedDevice> devices;
  std::string processors;  // its own ones (--pin), "0-3,8", or ""
  int64_t arrival_us = 0;  // since the epoch, as the others
  int64_t seated_us = 0;   // 0: it never had its place
  int64_t ended_us = 0;
  std::optional<int64_t> peak_bytes;      // the most it was seen to use of one GPU
  std::optional<int64_t> peak_ram_bytes;  // of the machine's memory; without a claim of it, of one process
  How how = How::unknown;
  std::optional<int> status;  // what berth exited with; of hold and adopt nothing
  int signal = 0;             // that ended it; 0: none
  std::string reason;         // why, where that is not plain from `how`
  bool stays = false;         // what it left running kept the place: nobody wrote down until when
  friend bool operator==(const Job&, const Job&) = default;
};

inline constexpr size_t max_job_text = 512;    // of a label, a command or a path; longer ones are cut
inline constexpr size_t max_job_line = 16384;  // a longer line is none of ours

// printable(), and cut to max_job_text; the same if done again.
[[nodiscard]] std::string kept_text(std::string_view text);
// With "\n" at its end.
[[nodiscard]] std::string encode_job(const Job& job);
// Takes any bytes, without the "\n".
[[nodiscard]] std::optional<Job> decode_job(std::string_view line);

}  // namespace berth
