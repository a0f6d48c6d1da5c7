// What the history is to know of a place.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "base/sys.h"
#include "cli/place.h"

namespace berth {

namespace {

// Most often it does, and nobody else's record need be read. Who resized it may have been unable to ring.
bool stands_as_written(const LocalPool& pool, const Record& record) {
  std::array<char, 4096> target{};
  const ssize_t size = ::readlinkat(pool.fd(), record_name(record).c_str(), target.data(), target.size());
  return size >= 0 && std::string_view(target.data(), static_cast<size_t>(size)) == record_target(record);
}

}  // namespace

Job Place::job_of(const Seat& seat) const {
  const Record& record = seat.engine.record();
  Job job;
  job.id = record.id.view();
  job.uid = ::geteuid();
  job.pid = record.info.pid;
  job.verb = options_.verb == PlaceVerb::run ? "run" : options_.verb == PlaceVerb::hold ? "hold" : "adopt";
  job.label = record.info.label;
  job.command = record.info.command;
  job.pool = pool_->path();
  if (record.parent) job.parent = record.parent->view();
  job.priority = record.priority;
  job.expect_s = record.expect_s;
  job.claim = record.claim;
  job.claim.eligible.clear();
  job.arrival_us = seat.since_us != 0 ? seat.since_us : record.arrival_us;
  return job;
}

void Place::note_past(const Seat& seat, int64_t came_us, How how, int status, int signal) {
  if (options_.turn) return;
  Job job = job_of(seat);
  if (job.arrival_us == 0) job.arrival_us = came_us;
  job.ended_us = std::max(job.arrival_us, wall_us());
  job.how = how;
  job.status = status;
  job.signal = signal;
  past_.push_back(std::move(job));
}

void Place::note_seat(const Seat& seat, Job& job) const {
  job.seated_us = seat.acquired.seated_us;
  job.processors = show_processors(seat.acquired.processors);
  for (const DeviceRef& granted : seat.acquired.devices)
    for (const Device& d : picture_.devices)
      if (d.uuid == granted.uuid)
        job.devices.push_back({d.uuid, d.index, job.claim.gpu.whole ? granted.vram_bytes : job.claim.gpu.vram_bytes});
}

std::vector<Job> Place::jobs() {
  std::vector<Job> out;
  if (options_.turn) return out;
  for (const auto& seat : seats_) {
    std::optional<How> how;
    if (!stands_as_written(*pool_, seat->engine.record()) && !seat->engine.refresh()) {
      const auto still = seat->engine.still_ours();
      if (still.ok() && !*still) how = seat->ledger.told_to_leave() ? How::released : How::lost;
    }
    Job job = job_of(*seat);
    if (how) job.how = *how;
    // Not of one that has given its place away, and waits for it.
    if (seat->acquired.seated_us >= seat->since_us) note_seat(*seat, job);
    out.push_back(std::move(job));
  }
  return out;
}

}  // namespace berth
