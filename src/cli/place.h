// Place: what `run` and `hold` have in common: from the words of a claim to a seat in the pool.
//
// A claim made inside another lease is served out of that lease as far as that has what is asked;
// what it lacks is queued at the top, as a second lease. So a place can be more than one seat.
#pragma once

#include <sys/resource.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/own_fd.h"
#include "cli/device_choice.h"
#include "cli/leases_around.h"
#include "cli/options.h"
#include "cli/own_processors.h"
#include "engine/driver_admission.h"
#include "engine/engine.h"
#include "engine/machine_memory.h"
#include "engine/usage_watch.h"
#include "history/job.h"
#include "ledger/local_ledger.h"
#include "run/environment.h"
#include "run/supervisor.h"

namespace berth {

// One lease of ours.
struct Seat {
  Seat(LocalPool& pool, int cancel_fd);
  LocalLedger ledger;
  Engine engine;
  Acquired acquired;
  std::string token;                           // "ID.SECRET": who can say it is inside
  OwnFd life;                                  // the copy that the command inherits, on a high number
  std::unique_ptr<DriverAdmission> admission;  // of one that may give way and come back; else null
  std::unique_ptr<MachineMemory> machine;      // the same
  int64_t since_us = 0;                        // 0, or when it gave way and began to wait again
};

class Place {
 public:
  explicit Place(RunOptions options) : options_(std::move(options)) {}
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // Looks at devices, pool and the leases around us. A value is the exit status of a failure, said.
  // What this shell may have limits its own claims, not what it books for `another` process.
  enum class For { us, another };
  [[nodiscard]] std::optional<int> prepare(For whom = For::us);
  // Waits for all of it. A value is the exit status of a failure, said; nothing is held then.
  // `gave_up` is set where that was a --timeout, of which nothing is said yet.
  [[nodiscard]] std::optional<int> take(const PartyInfo& info, bool& gave_up);
  // Books these devices and the counters of the claim, free or not; it never waits. A value is the exit
  // status of a failure, said. Requires prepare().
  [[nodiscard]] std::optional<int> adopt(const PartyInfo& info, std::vector<DeviceRef> devices);
  [[nodiscard]] const Picture& picture() const { return picture_; }
  [[nodiscard]] const std::vector<DeviceRef>& eligible() const { return eligible_; }
  // From now on a wait also ends, take() returning ok with nothing held, where `over` says so. It is asked when
  // `cancel_fd` is readable, which a signal makes it as well.
  void end_waits_when(int cancel_fd, std::function<bool()> over) {
    cancel_fd_ = cancel_fd;
    wait_is_over_ = std::move(over);
  }
  void set_gpu_claim(const GpuClaim& gpu) { options_.claim.gpu = gpu; }
  // Says what take() would come to now: exit status 0, 75 or 3.
  [[nodiscard]] int tell_preview(const PartyInfo& info);

  [[nodiscard]] const RunOptions& options() const { return options_; }
  [[nodiscard]] LocalPool& pool() { return *pool_; }
  [[nodiscard]] const Signals& signals() const { return *signals_; }
  [[nodiscard]] const rlimit& descriptor_limit() const { return descriptor_limit_; }
  [[nodiscard]] std::vector<std::unique_ptr<Seat>>& seats() { return seats_; }
  // What a command finds in its environment. Requires take().
  [[nodiscard]] LeaseEnvironment environment() const;
  // What of each real GPU the command may use. Requires take().
  [[nodiscard]] std::vector<UsageLimit> usage_limits() const;
  // Whether the drivers said of each of them what it does, when they were asked last. Requires take().
  [[nodiscard]] bool load_is_told() const;
  // Says so where somebody wanted to know when they do nothing, and nobody will tell.
  void tell_if_load_is_not_told() const;
  // Where the command is to run; none: where it likes. Its own processors, or else those of the lease around it, or
  // else those that are nobody's own.
  [[nodiscard]] ProcessorSet affinity() const;
  // Has a seat's engine ask whoever has a say in where it may sit.
  void heed_choice(Seat& seat);
  void release_all();
  // Whether the place may be asked to give way: it is one seat, whoever gave it.
  [[nodiscard]] bool may_yield() const { return options_.reclaimable && seats_.size() == 1; }
  // Says so where somebody wanted it to be asked, and it cannot be.
  void tell_if_not_reclaimable() const;
  // For a place that gave way, and whose command is to be started again: queues it and waits. As take().
  [[nodiscard]] std::optional<int> take_again();

  // What the history is to know of the leases held now, nothing of a turn: that is a moment of the lease around it; how
  // they end is still open, but of those that somebody has released. Requires that none of them was given back yet.
  [[nodiscard]] std::vector<Job> jobs();
  // The same of those that ended before there was a place.
  [[nodiscard]] std::vector<Job>& past() { return past_; }

 private:
  Result<> find_devices();
  Result<LocalPool> open_for_a_look();
  [[nodiscard]] std::vector<ClaimPart> parts() const;
  // The drivers' word on a part of the claim; null where only the book counts: no GPU, simulated ones,
  // or what is served out of a lease that has them already.
  std::unique_ptr<DriverAdmission> admission_for(const ClaimPart& part);
  // The machine's own word, likewise; null also where neither memory nor processors are claimed.
  std::unique_ptr<MachineMemory> machine_for(const ClaimPart& part);
  Result<Acquired> wait_for(Seat& seat, int& ended_by, const std::function<Result<Acquired>()>& wait);
  std::optional<int> take_part(const ClaimPart& part, const PartyInfo& info, bool& gave_up);
  [[nodiscard]] Request request_for(const ClaimPart& part, const PartyInfo& info) const;
  [[nodiscard]] std::optional<PartyId> kept_while_waiting(const ClaimPart& part) const;
  std::optional<int> find_turn();
  Result<> look_past_own_leases();
  int refuse_cycle(const Acquired& acquired);
  int refuse_busy(const Record& record, const std::string& reason);
  [[nodiscard]] int refuse_impossible(const Acquired& acquired) const;
  [[nodiscard]] std::optional<int> refuse_beyond_all();
  void look_around_again();
  [[nodiscard]] Job job_of(const Seat& seat) const;
  void note_seat(const Seat& seat, Job& job) const;
  void note_past(const Seat& seat, int64_t came_us, How how, int status, int signal = 0);

  RunOptions options_;
  rlimit descriptor_limit_{};
  Picture picture_;
  std::optional<OwnProcessors> processors_;  // --pin
  ProcessorSet processors_of_others_;        // as of the last wait
  ProcessorSet processors_around_;           // of the lease around us, likewise
  std::vector<DeviceRef> eligible_;
  std::string trial_path_;  // of a pool of our own, for a --dry-run before there is one; removed at the end
  std::optional<LocalPool> pool_;
  std::optional<Signals> signals_;
  LeasesAround around_;
  InheritedVisibility inherited_;  // what of it says more than the leases around us
  int64_t deadline_us_ = -1;
  int cancel_fd_ = -1;
  std::function<bool()> wait_is_over_ = [] { return false; };
  std::vector<std::unique_ptr<Seat>> seats_;
  std::vector<Job> past_;
};

// The environment of this process as "NAME=value".
[[nodiscard]] std::vector<std::string> own_environment();
[[nodiscard]] std::optional<int64_t> thread_cap(const RunOptions& options);

}  // namespace berth
