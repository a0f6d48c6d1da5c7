#include "cli/place.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "base/memory_cgroup.h"
#include "base/sha256.h"
#include "base/sys.h"
#include "base/text.h"
#include "cli/container.h"
#include "cli/exit_status.h"
#include "cli/lease_end.h"
#include "cli/pool_access.h"
#include "cli/say.h"
#include "cli/waiting_talk.h"
#include "device/probe_run.h"
#include "device/topology.h"
#include "engine/lease_roots.h"
#include "run/affinity.h"

namespace berth {

namespace {

constexpr int lowest_life_fd = 200;  // out of the way of `exec 3</dev/null` and its like

bool machine_is_heeded() {
  const char* heed = std::getenv("BERTH_HEED_MACHINE");
  return heed == nullptr || std::string_view(heed) != "off";
}

// Inside of a lease that has a cgroup all of the claim is in that one, whoever gives it.
Result<> check_own_memory(const RunOptions& options) {
  const int64_t asked = amount_of(options.claim, "ram");
  if (asked == 0 || !machine_is_heeded()) return success();
  const auto group = own_memory_cgroup(sysfs_root());
  const auto limit = group ? memory_limit(*group) : std::nullopt;
  if (!limit || asked <= *limit) return success();
  return Error{ErrorKind::impossible, 0,
               "can never run here: it asks for " + show_size(asked) + " ram, but this shell's cgroup may have only " +
                   show_size(*limit) + " (a container, systemd or a lease around it says so)"};
}

Result<> check_own_processors(const RunOptions& options) {
  const int64_t asked = amount_of(options.claim, "cpu");
  if (asked == 0) return success();
  const auto own = static_cast<int64_t>(allowed_processors().count());
  if (own == 0 || asked <= own) return success();
  // Where this shell may use all there are, only the pool says how many that is. But none is made for --pin.
  const bool all = own >= ::sysconf(_SC_NPROCESSORS_ONLN);
  if (all && !options.pin) return success();
  const std::string text = "can never run here: it asks for " + std::to_string(asked) + " cpu";
  return Error{ErrorKind::impossible, 0,
               all ? text + " of its own (--pin), and the machine has " + std::to_string(own)
                   : text + ", but this shell may use only " + std::to_string(own) +
                         " of them (taskset, a cgroup or a lease around it says so)"};
}

// What a signal means to a job that still stands in line.
class WaitingManners {
 public:
  WaitingManners(const Signals& signals, Engine& engine, WaitingTalk& talk)
      : signals_(signals), engine_(engine), talk_(talk) {}

  Engine::OnCancel operator()() {
    bool stopped = false;
    const int fatal = signals_.next_fatal([&] {
      stopped = true;
      (void)engine_.step_aside();
      talk_.clear();
      Signals::stop_here();
      engine_.step_back();
    });
    if (fatal == 0) return stopped ? Engine::OnCancel::look : Engine::OnCancel::sleep_on;
    ended_by_ = fatal;
    return Engine::OnCancel::give_up;
  }

  [[nodiscard]] int ended_by() const { return ended_by_; }

 private:
  const Signals& signals_;
  Engine& engine_;
  WaitingTalk& talk_;
  int ended_by_ = SIGTERM;
};

OwnFd high_copy(int life_fd) {
  for (const int lowest : {lowest_life_fd, 100, 50, 10}) {
    const int fd = ::fcntl(life_fd, F_DUPFD_CLOEXEC, lowest);
    if (fd >= 0) return OwnFd(fd);
  }
  return {};
}

std::string new_secret() {
  std::array<unsigned char, 26> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) return "";
  std::string out;
  for (const unsigned char byte : random) out += "abcdefghijklmnopqrstuvwxyz234567"[byte % 32U];
  return out;
}

}  // namespace

Seat::Seat(LocalPool& pool, int cancel_fd) : ledger(pool, cancel_fd), engine(ledger, machine_figures) {
  ledger.on_slow_lock(say);
}

// A pool that is not there yet is not made for a look: an empty one beside it says the same, also of
// why it could not be made.
Result<LocalPool> Place::open_for_a_look() {
  auto pool = open_pool(LocalPool::IfMissing::fail);
  if (pool.ok() || pool.error().sys_errno != ENOENT) return pool;
  trial_path_ = default_pool_path(std::getenv("BERTH_POOL")) + ".dry-run-" + std::to_string(::getpid());
  return LocalPool::open(trial_path_, LocalPool::IfMissing::create);
}

Place::~Place() {
  if (!trial_path_.empty()) ::rmdir(trial_path_.c_str());
}

std::optional<int> Place::prepare(For whom) {
  ::getrlimit(RLIMIT_NOFILE, &descriptor_limit_);
  if (auto found = find_devices(); !found) return fail(found.error());
  if (whom == For::us) {
    if (auto share = check_own_processors(options_); !share) return fail(share.error());
    if (auto share = check_own_memory(options_); !share) return fail(share.error());
  }
  auto pool = options_.dry_run ? open_for_a_look() : open_pool(LocalPool::IfMissing::create);
  if (!pool) return fail(pool.error());
  if (options_.claim.gpu.count > 0) {
    if (auto shared = check_pool_is_shared(pool->path()); !shared) return fail(shared.error());
  }
  pool_.emplace(std::move(*pool));
  if (options_.pin) processors_.emplace(read_topology(sysfs_root()), allowed_processors(), picture_);
  auto signals = Signals::take();
  if (!signals) return fail(signals.error());
  signals_.emplace(std::move(*signals));
  cancel_fd_ = signals_->fd();
  if (options_.timeout_ms) deadline_us_ = monotonic_us() + *options_.timeout_ms * 1000;
  around_ = leases_around(*pool_);
  processors_around_ = processors_of(around_.leases);
  if (auto looked = look_past_own_leases(); !looked) return fail(looked.error());
  return options_.turn ? find_turn() : std::nullopt;
}

std::vector<ClaimPart> Place::parts() const {
  Claim whole = options_.claim;
  whole.eligible = eligible_;
  return split_claim(whole, around_.leases);
}

// The cards of a turn are the lease's: no driver is asked, for nothing new comes to lie on them.
std::optional<int> Place::find_turn() {
  const LeaseAround* resident = resident_of(around_.leases);
  if (resident == nullptr) {
    say("run: --turn is for commands inside of a lease with a GPU, berth run --vram 8G -- ...; outside of one say "
        "--compute 100 --only N");
    return exit_status::usage;
  }
  const Claim turn = turn_claim(*resident);
  options_.claim.gpu = turn.gpu;
  eligible_ = turn.eligible;
  if (options_.label.empty()) options_.label = resident->label;
  return std::nullopt;
}

// The lease of ours that does not end before this part is seated: the part taken before it, else the innermost
// one around us, unless that is the very one that serves it.
std::optional<PartyId> Place::kept_while_waiting(const ClaimPart& part) const {
  if (!seats_.empty()) return seats_.back()->engine.record().id;
  if (around_.leases.empty() || part.parent == around_.leases.front().id) return std::nullopt;
  return around_.leases.front().id;
}

Request Place::request_for(const ClaimPart& part, const PartyInfo& info) const {
  Request request;
  request.claim = part.claim;
  request.parent = part.parent;
  request.with = kept_while_waiting(part);
  request.priority = options_.priority;
  request.priority_cap = options_.priority > 0 && is_root() ? max_priority_magnitude : 0;
  request.expect_s = options_.expect_s;
  if (options_.ttl_ms) {
    request.ttl_us = *options_.ttl_ms * 1000;
    if (request.expect_s == 0) request.expect_s = (*options_.ttl_ms + 999) / 1000;
  }
  request.way.reclaimable = options_.reclaimable && parts().size() == 1;
  request.may_idle = options_.idle_ms.has_value();
  request.way.preemptible = request.way.reclaimable && options_.preemptible;
  request.pins = options_.pin && amount_of(part.claim, "cpu") > 0;
  request.info = info;
  return request;
}

std::unique_ptr<DriverAdmission> Place::admission_for(const ClaimPart& part) {
  if (part.claim.gpu.count == 0 || part.parent || part.on_own_memory || picture_.devices.front().simulated)
    return nullptr;
  const DriverRules rules{options_.min_free_bytes, options_.max_util_pct};
  return std::make_unique<DriverAdmission>(picture_, rules, [this] { return lease_roots(*pool_); });
}

std::unique_ptr<MachineMemory> Place::machine_for(const ClaimPart& part) {
  if (part.parent || !machine_is_heeded()) return nullptr;
  const int64_t ram_bytes = amount_of(part.claim, "ram");
  if (ram_bytes == 0 && amount_of(part.claim, "cpu") == 0) return nullptr;
  return std::make_unique<MachineMemory>(sysfs_root(), ram_bytes, [this] { return ram_leases(*pool_); });
}

void Place::heed_choice(Seat& seat) {
  if (seat.admission) seat.engine.heed(*seat.admission);
  if (processors_) seat.engine.heed(*processors_);
}

// Waits in line as people expect it: with a word on stderr, and ended or stopped by signals.
Result<Acquired> Place::wait_for(Seat& seat, int& ended_by, const std::function<Result<Acquired>()>& wait) {
  WaitingTalk talk(*pool_, picture_, seat.engine);
  WaitingManners manners(*signals_, seat.engine, talk);
  seat.engine.on_cancel([&] {
    const Engine::OnCancel told = manners();
    return told != Engine::OnCancel::give_up && wait_is_over_() ? Engine::OnCancel::give_up : told;
  });
  heed_choice(seat);
  if (seat.machine) seat.engine.heed(*seat.machine);
  // A turn is soon over, and the next one comes soon.
  if (!options_.turn) seat.engine.on_waiting([&](const Waiting& waiting) { return talk(waiting); });
  seat.ledger.on_slow_lock([&](const std::string& sentence) {
    talk.clear();
    say(sentence);
  });
  auto acquired = wait();
  talk.clear();
  ended_by = manners.ended_by();
  processors_of_others_ = seat.engine.processors_of_others();
  // The handlers and the admission speak of things that end here.
  seat.engine.heed_nobody();
  seat.engine.on_cancel({});
  seat.engine.on_waiting({});
  seat.ledger.on_slow_lock(say);
  return acquired;
}

std::optional<int> Place::take_part(const ClaimPart& part, const PartyInfo& info, bool& gave_up) {
  auto seat = std::make_unique<Seat>(*pool_, cancel_fd_);
  WaitRule rule;
  rule.no_wait = options_.no_wait;
  rule.deadline_us = deadline_us_;
  seat->admission = admission_for(part);
  seat->machine = machine_for(part);
  Request request = request_for(part, info);
  const int64_t came_us = wall_us();
  const std::string secret = new_secret();
  if (!secret.empty()) request.info.token_sha256 = sha256_hex(secret);
  int ended_by = SIGTERM;
  auto acquired = wait_for(*seat, ended_by, [&] { return seat->engine.acquire(request, rule); });
  if (!acquired) {
    if (acquired.error().kind == ErrorKind::lost) note_past(*seat, came_us, How::lost, exit_status::lost);
    return fail(acquired.error());
  }
  switch (acquired->ending) {
    case Ending::seated: break;
    case Ending::impossible: return refuse_impossible(*acquired);
    case Ending::cycle: return refuse_cycle(*acquired);
    case Ending::busy:
      note_past(*seat, came_us, How::busy, exit_status::busy);
      return refuse_busy(seat->engine.record(), acquired->refusal);
    case Ending::cancelled:
      release_all();
      if (wait_is_over_()) return exit_status::ok;
      note_past(*seat, came_us, How::cancelled, 128 + ended_by, ended_by);
      record_past(*this);
      Signals::die_of(ended_by);
    case Ending::timed_out:
      note_past(*seat, came_us, How::timed_out, exit_status::timed_out);
      gave_up = true;
      return exit_status::timed_out;
  }
  if (!request.way.reclaimable) {
    seat->admission.reset();
    seat->machine.reset();
  }
  seat->acquired = std::move(*acquired);
  if (!secret.empty()) seat->token = std::string(seat->engine.record().id.view()) + "." + secret;
  seat->life = high_copy(seat->ledger.life_fd());
  if (!seat->life.valid()) {
    const Error none = sys_error(errno, "no descriptor left for the command's life");
    (void)seat->engine.release();
    return fail(none);
  }
  seats_.push_back(std::move(seat));
  return std::nullopt;
}

std::optional<int> Place::take_again() {
  Seat& seat = *seats_.front();
  const auto gave = seat.engine.give_way(Engine::Return::anywhere);
  if (!gave) return fail(gave.error());
  if (*gave != GaveWay::gave) {
    say("it cannot be queued again: leases inside of it still stand, or the pool's lock is not to be had");
    return exit_status::lost;
  }
  int ended_by = SIGTERM;
  auto acquired = wait_for(seat, ended_by, [&] { return seat.engine.come_back(WaitRule{}); });
  if (!acquired) return fail(acquired.error());
  if (acquired->ending == Ending::seated) {
    seat.acquired = std::move(*acquired);
    look_around_again();
    return std::nullopt;
  }
  note_past(seat, seat.since_us, How::cancelled, 128 + ended_by, ended_by);
  record_past(*this);
  Signals::die_of(ended_by);
}

std::optional<int> Place::take(const PartyInfo& info, bool& gave_up) {
  gave_up = false;
  if (const auto failed = refuse_beyond_all()) return failed;
  for (const ClaimPart& part : parts()) {
    const auto failed = take_part(part, info, gave_up);
    if (!failed) continue;
    release_all();
    return failed;
  }
  look_around_again();
  return std::nullopt;
}

// While we waited the lease around us may have given way and come back to other processors.
void Place::look_around_again() {
  if (processors_around_.any()) processors_around_ = processors_of(leases_around(*pool_).leases);
}

std::optional<int> Place::adopt(const PartyInfo& info, std::vector<DeviceRef> devices) {
  auto seat = std::make_unique<Seat>(*pool_, signals_->fd());
  ClaimPart part{options_.claim, std::nullopt};
  part.claim.eligible = std::move(devices);
  auto adopted = seat->engine.adopt(request_for(part, info));
  if (!adopted) return fail(adopted.error());
  seat->acquired = std::move(*adopted);
  seats_.push_back(std::move(seat));
  return std::nullopt;
}

void Place::tell_if_not_reclaimable() const {
  if (options_.reclaimable && !may_yield())
    say("--reclaimable: its place is of two leases, of which none can be given back alone; it is not asked");
}

void Place::release_all() {
  for (const auto& seat : seats_) {
    seat->life.reset();
    (void)seat->engine.release();
  }
  seats_.clear();
}

}  // namespace berth
