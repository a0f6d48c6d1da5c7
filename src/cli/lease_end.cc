#include "cli/lease_end.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/sys.h"

namespace berth {

namespace {

Fold fold_after(const std::vector<Job>& jobs) {
  const char* inside = std::getenv("BERTH_LEASE");
  if (inside != nullptr && *inside != '\0') return Fold::when_long;
  const bool keeper =
      std::any_of(jobs.begin(), jobs.end(), [](const Job& job) { return job.verb != "run" && job.seated_us != 0; });
  return keeper ? Fold::here : Fold::in_time;
}

}  // namespace

void record_end(std::vector<Job> jobs, const LeaseEnd& end) {
  const int64_t now_us = wall_us();
  for (Job& job : jobs) {
    if (job.how == How::unknown) job.how = end.how;
    if (job.ended_us == 0) job.ended_us = now_us;
    job.status = end.status;
    job.signal = end.signal;
    job.peak_bytes = end.peak_bytes;
    job.peak_ram_bytes = end.peak_ram_bytes;
    job.reason = end.reason;
    job.stays = end.stays;
  }
  keep_history(jobs, fold_after(jobs));
}

void record_given_away(Place& place, Seat& seat, const std::string& reason) {
  std::vector<Job> jobs = place.jobs();
  std::erase_if(jobs, [&](const Job& job) { return job.id != seat.engine.record().id.view(); });
  for (Job& job : jobs) {
    job.how = How::reclaimed;
    job.reason = reason;
    job.ended_us = wall_us();
    seat.since_us = job.ended_us;
  }
  keep_history(jobs, Fold::when_long);
}

void record_past(Place& place) {
  std::vector<Job> jobs = std::exchange(place.past(), {});
  keep_history(jobs, fold_after(jobs));
}

How how_of(const Finished& finished) {
  if (finished.exec_errno != 0) return How::not_started;
  if (finished.by == Finished::By::limit) return How::limit;
  if (finished.by == Finished::By::companion) return How::over_use;
  return finished.signal == 0 ? How::exited : How::signalled;
}

}  // namespace berth
