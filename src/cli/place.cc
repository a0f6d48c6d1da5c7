#include "cli/place.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/sha256.h"
#include "base/sys.h"
#include "base/text.h"
#include "cli/container.h"
#include "cli/device_choice.h"
#include "cli/exit_status.h"
#include "cli/hold_and_wait.h"
#include "cli/impossible_text.h"
#include "cli/lease_end.h"
#include "cli/pool_access.h"
#include "cli/say.h"
#include "cli/status_json.h"
#include "cli/waiting_look.h"
#include "cli/waiting_talk.h"
#include "device/probe_run.h"
#include "engine/lease_roots.h"

namespace berth {

namespace {

constexpr int lowest_life_fd = 200;  // out of the way of `exec 3</dev/null` and its like

Result<> check_own_share(const Claim& claim) {
  for (const NamedAmount& c : claim.counters) {
    if (c.name != "cpu") continue;
    const int64_t own = own_cpus();
    // Where this shell may use all there are, only the pool says how many that is.
    if (c.amount > own && own < ::sysconf(_SC_NPROCESSORS_ONLN))
      return Error{ErrorKind::impossible, 0,
                   "can never run here: it asks for " + std::to_string(c.amount) +
                       " cpu, but this shell may use only " + std::to_string(own) +
                       " of them (taskset or a cgroup says so)"};
  }
  return success();
}

// What a signal means to a job that still stands in line.
class WaitingManners {
 public:
  WaitingManners(const Signals& signals, Engine& engine, WaitingTalk& talk)
      : signals_(signals), engine_(engine), talk_(talk) {}

  // True: go on waiting.
  bool operator()() {
    const int fatal = signals_.next_fatal([&] {
      (void)engine_.step_aside();
      talk_.clear();
      Signals::stop_here();
      engine_.step_back();
    });
    if (fatal == 0) return true;
    ended_by_ = fatal;
    return false;
  }

  [[nodiscard]] int ended_by() const { return ended_by_; }

 private:
  const Signals& signals_;
  Engine& engine_;
  WaitingTalk& talk_;
  int ended_by_ = SIGTERM;
};

// Where NVIDIA's MPS control daemon listens; its documentation, "Environment variables".
bool mps_runs() {
  const char* named = std::getenv("CUDA_MPS_PIPE_DIRECTORY");
  const std::string dir = named == nullptr || *named == '\0' ? "/tmp/nvidia-mps" : named;
  return ::access((dir + "/control").c_str(), F_OK) == 0;
}

// The driver's words, where it says of every one of them that it cannot be used; else "".
std::string trouble_of_all(const std::vector<DeviceRef>& eligible, const std::vector<Device>& devices) {
  std::string trouble;
  for (const DeviceRef& ref : eligible)
    for (const Device& d : devices) {
      if (d.uuid != ref.uuid) continue;
      if (d.trouble.empty()) return "";
      trouble = device_name(d) + ": " + d.trouble;
    }
  return trouble;
}

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

std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) out.emplace_back(*entry);
  return out;
}

std::optional<int64_t> thread_cap(const RunOptions& options) {
  if (options.threads) return options.threads;
  const int64_t cpus = amount_of(options.claim, "cpu");
  return cpus > 0 ? std::optional<int64_t>(cpus) : std::nullopt;
}

Result<> Place::find_devices() {
  if (options_.claim.gpu.count == 0) return success();
  auto probed = probe_devices(std::getenv("BERTH_SIM_GPUS"), sysfs_root());
  if (!probed) return probed.error();
  picture_ = std::move(*probed);
  const std::string complaint = picture_.complaints.empty() ? "" : picture_.complaints.front();
  if (picture_.devices.empty() && !complaint.empty())
    return Error{ErrorKind::probe, 0, "the state of the GPUs cannot be read: " + complaint};
  if (picture_.devices.empty())
    return Error{ErrorKind::probe, 0,
                 "no GPU can be seen from here; BERTH_SIM_GPUS=2x24G stands in simulated ones, and a claim like "
                 "--cpu 1 needs none"};
  if (const std::string missing = missing_card(picture_);
      !missing.empty() && chooses_by_number(options_, inherited_visibility()))
    return Error{ErrorKind::probe, 0,
                 "the state of the GPUs cannot be read: " + missing +
                     "; until it is back the cards are not counted as before: name them by UUID"};
  auto eligible = eligible_devices(options_, picture_.devices, inherited_visibility());
  if (!eligible) return eligible.error();
  eligible_ = std::move(*eligible);
  if (const std::string trouble = trouble_of_all(eligible_, picture_.devices); !trouble.empty())
    return Error{ErrorKind::probe, 0, "the state of the GPUs cannot be read: " + trouble};
  if (eligible_.size() > max_claim_devices) eligible_.resize(max_claim_devices);
  return success();
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

std::optional<int> Place::prepare() {
  ::getrlimit(RLIMIT_NOFILE, &descriptor_limit_);
  if (auto found = find_devices(); !found) return fail(found.error());
  if (auto share = check_own_share(options_.claim); !share) return fail(share.error());
  auto pool = options_.dry_run ? open_for_a_look() : open_pool(LocalPool::IfMissing::create);
  if (!pool) return fail(pool.error());
  if (options_.claim.gpu.count > 0) {
    if (auto shared = check_pool_is_shared(pool->path()); !shared) return fail(shared.error());
  }
  pool_.emplace(std::move(*pool));
  auto signals = Signals::take();
  if (!signals) return fail(signals.error());
  signals_.emplace(std::move(*signals));
  cancel_fd_ = signals_->fd();
  if (options_.timeout_ms) deadline_us_ = monotonic_us() + *options_.timeout_ms * 1000;
  around_ = leases_around(*pool_);
  if (auto looked = look_past_own_leases(); !looked) return fail(looked.error());
  return options_.turn ? find_turn() : std::nullopt;
}

std::vector<ClaimPart> Place::parts() const {
  Claim whole = options_.claim;
  whole.eligible = eligible_;
  return split_claim(whole, around_.leases);
}

// What was inherited of the visible cards is most often what berth itself has set for the lease around us. That
// says nothing of the other cards of the machine.
Result<> Place::look_past_own_leases() {
  inherited_ = inherited_visibility();
  if (options_.claim.gpu.count == 0 || around_.leases.empty()) return success();
  std::vector<std::vector<std::string>> cards;
  for (const LeaseAround& lease : around_.leases) {
    cards.emplace_back();
    for (const DeviceRef& d : lease.devices) cards.back().push_back(d.uuid);
  }
  inherited_ = beyond_leases(inherited_, picture_.devices, cards);
  auto eligible = eligible_devices(options_, picture_.devices, inherited_);
  if (!eligible) return eligible.error();
  eligible_ = std::move(*eligible);
  if (eligible_.size() > max_claim_devices) eligible_.resize(max_claim_devices);
  return success();
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
  request.info = info;
  return request;
}

int Place::refuse_busy(const Record& record, const std::string& reason) {
  auto view = view_pool(*pool_, picture_);
  if (!view) return fail(view.error());
  const auto words = look_for_waiter(*pool_, picture_, record, reason);
  const std::optional<int64_t> eta_s = words.ok() ? words->eta_s : std::nullopt;
  const std::string& why = words.ok() ? words->objection : reason;
  const std::string line = busy_json(*view, rivals_in_the_way(*view, record), why, eta_s) + "\n";
  put_last(line);
  return exit_status::busy;
}

// Inside of a lease it is a part of the claim that falls short; said is the whole of it.
int Place::refuse_impossible(const Acquired& acquired) const {
  std::vector<Shortfall> shortfalls = acquired.shortfalls;
  for (Shortfall& s : shortfalls) {
    if (s.what == "gpu") s.asked = options_.claim.gpu.count;
    for (const NamedAmount& c : options_.claim.counters)
      if (s.what == c.name) s.asked = c.amount;
  }
  say_last(impossible_text(shortfalls, options_, picture_.devices, inherited_));
  return exit_status::impossible;
}

int Place::refuse_cycle(const Acquired& acquired) {
  auto view = view_pool(*pool_, picture_);
  if (!view) return fail(view.error());
  say_last("would wait for ever: " + cycle_text(*view, acquired.snapshot, acquired.cycle) +
           "; ask for all of it in one claim, or first");
  return exit_status::impossible;
}

std::unique_ptr<DriverAdmission> Place::admission_for(const ClaimPart& part) {
  if (part.claim.gpu.count == 0 || part.parent || part.on_own_memory || picture_.devices.front().simulated)
    return nullptr;
  const DriverRules rules{options_.min_free_bytes, options_.max_util_pct};
  return std::make_unique<DriverAdmission>(picture_, rules, [this] { return lease_roots(*pool_); });
}

std::unique_ptr<MachineMemory> Place::machine_for(const ClaimPart& part) {
  const char* heed = std::getenv("BERTH_HEED_MACHINE");
  if (part.parent || (heed != nullptr && std::string_view(heed) == "off")) return nullptr;
  const int64_t ram_bytes = amount_of(part.claim, "ram");
  if (ram_bytes == 0 && amount_of(part.claim, "cpu") == 0) return nullptr;
  return std::make_unique<MachineMemory>(sysfs_root(), ram_bytes, [this] { return ram_leases(*pool_); });
}

// Waits in line as people expect it: with a word on stderr, and ended or stopped by signals.
Result<Acquired> Place::wait_for(Seat& seat, int& ended_by, const std::function<Result<Acquired>()>& wait) {
  WaitingTalk talk(*pool_, picture_, seat.engine);
  WaitingManners manners(*signals_, seat.engine, talk);
  seat.engine.on_cancel([&] { return manners() && !wait_is_over_(); });
  if (seat.admission) seat.engine.heed(*seat.admission);
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
    return std::nullopt;
  }
  note_past(seat, seat.since_us, How::cancelled, 128 + ended_by, ended_by);
  record_past(*this);
  Signals::die_of(ended_by);
}

std::optional<int> Place::take(const PartyInfo& info, bool& gave_up) {
  gave_up = false;
  for (const ClaimPart& part : parts()) {
    const auto failed = take_part(part, info, gave_up);
    if (!failed) continue;
    release_all();
    return failed;
  }
  return std::nullopt;
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

void Place::release_all() {
  for (const auto& seat : seats_) {
    seat->life.reset();
    (void)seat->engine.release();
  }
  seats_.clear();
}

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

std::vector<Job> Place::jobs() {
  std::vector<Job> out;
  if (options_.turn) return out;
  for (const auto& seat : seats_) {
    Job job = job_of(*seat);
    job.seated_us = seat->acquired.seated_us;
    for (const DeviceRef& granted : seat->acquired.devices)
      for (const Device& d : picture_.devices)
        if (d.uuid == granted.uuid)
          job.devices.push_back({d.uuid, d.index, job.claim.gpu.whole ? granted.vram_bytes : job.claim.gpu.vram_bytes});
    // Most often our record stands as we wrote it, and nobody else's need be read.
    struct stat st {};
    const std::string name = record_name(seat->engine.record());
    if (::fstatat(pool_->fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      const auto still = seat->engine.still_ours();
      if (still.ok() && !*still) job.how = seat->ledger.told_to_leave() ? How::released : How::lost;
    }
    out.push_back(std::move(job));
  }
  return out;
}

int Place::tell_preview(const PartyInfo& info) {
  std::string on;
  for (const ClaimPart& part : parts()) {
    Seat seat(*pool_, -1);
    const auto admission = admission_for(part);
    if (admission) seat.engine.heed(*admission);
    const auto machine = machine_for(part);
    if (machine) seat.engine.heed(*machine);
    const auto preview = seat.engine.preview(request_for(part, info));
    if (!preview) return fail(preview.error());
    if (preview->ending == Ending::impossible) return refuse_impossible(*preview);
    if (preview->ending == Ending::cycle) return refuse_cycle(*preview);
    if (preview->ending != Ending::seated) {
      const auto words = look_for_waiter(*pool_, picture_, seat.engine.record(), preview->refusal);
      if (!words) return fail(words.error());
      return put("would wait for " + waiting_text(*words) + "\n") ? exit_status::busy : exit_status::unavailable;
    }
    for (const DeviceRef& granted : preview->devices)
      for (const Device& d : picture_.devices)
        if (d.uuid == granted.uuid) on += (on.empty() ? " on GPU " : ", ") + std::to_string(d.index);
  }
  return put("would start now" + on + "\n") ? exit_status::ok : exit_status::unavailable;
}

std::vector<UsageLimit> Place::usage_limits() const {
  std::vector<UsageLimit> out;
  for (const auto& seat : seats_) {
    const Record& record = seat->engine.record();
    // Inside another lease, it is that one's use that is looked at.
    if (record.parent || record.claim.gpu.count == 0 || picture_.devices.empty()) continue;
    if (picture_.devices.front().simulated) continue;
    if (record.with && uses_memory_of_lease(record.claim.gpu)) continue;
    for (const uint16_t ordinal : record.grant) {
      const DeviceRef& d = record.claim.eligible.at(ordinal);
      out.push_back({PartyKey::of(record.id, record.dir), d.uuid,
                     record.claim.gpu.whole ? d.vram_bytes : record.claim.gpu.vram_bytes});
    }
  }
  return out;
}

LeaseEnvironment Place::environment() const {
  LeaseEnvironment out;
  out.id = seats_.front()->engine.record().id.view();
  out.pool = pool_->path();
  out.life_fd = seats_.front()->life.get();
  for (const auto& seat : seats_) {
    if (!seat->token.empty()) out.tokens += (out.tokens.empty() ? "" : ":") + seat->token;
    for (const DeviceRef& granted : seat->acquired.devices)
      for (const Device& d : picture_.devices)
        if (d.uuid == granted.uuid) out.devices.push_back(d);
  }
  std::sort(out.devices.begin(), out.devices.end(), [](const Device& a, const Device& b) { return a.index < b.index; });
  if (!around_.tokens.empty()) out.tokens += ":" + around_.tokens;
  // CUDA may still count a card that its driver cannot name.
  out.visible_by_uuid = options_.visible_by_uuid || !missing_card(picture_).empty();
  if (options_.cap_env) {
    out.vram_cap_bytes = options_.claim.gpu.vram_bytes;
    out.compute_cap_pct = options_.claim.gpu.compute_pct;
    out.mps_runs = mps_runs();
  }
  out.threads = thread_cap(options_);
  return out;
}

}  // namespace berth
