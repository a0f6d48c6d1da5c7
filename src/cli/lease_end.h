// What the verbs that take a place tell the history when it has ended.
//
// Not recorded: what nobody was there to see. A berth that was killed, and --exec, which leaves no berth.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cli/place.h"
#include "history/job.h"
#include "history/keep.h"

namespace berth {

struct LeaseEnd {
  How how = How::unknown;
  std::optional<int> status = std::nullopt;  // what berth exits with
  int signal = 0;
  std::optional<int64_t> peak_bytes = std::nullopt;
  std::optional<int64_t> peak_ram_bytes = std::nullopt;
  std::string reason = {};  // of How::reclaimed; of others, that it was asked and kept its place
  bool stays = false;       // what the command left running keeps the place
};

// Writes down `jobs`, which ended like that; one that somebody had released before keeps that. To be called
// last of all, the place given back: it takes some tens of microseconds.
void record_end(std::vector<Job> jobs, const LeaseEnd& end);
// Writes down that this seat was given away; what comes after is another time that it was held.
void record_given_away(Place& place, Seat& seat, const std::string& reason);
// Writes down those that never got their place; see Place::past().
void record_past(Place& place);

// How a command's end is called.
[[nodiscard]] How how_of(const Finished& finished);

}  // namespace berth
