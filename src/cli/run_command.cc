#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/options.h"
#include "cli/pool_access.h"
#include "cli/say.h"
#include "cli/status_json.h"
#include "cli/survivors.h"
#include "engine/engine.h"
#include "ledger/local_ledger.h"
#include "run/environment.h"
#include "run/supervisor.h"

namespace berth {

namespace {

constexpr int lowest_life_fd = 200;  // out of the way of `exec 3</dev/null` and its like

// The devices this run may use, and all the machine has (for indices and names).
struct Devices {
  std::vector<Device> all;
  std::vector<DeviceRef> eligible;
};

Result<Devices> find_devices(const RunOptions& options) {
  Devices out;
  if (options.claim.gpu.count == 0) return out;
  auto probed = probe_devices(std::getenv("BERTH_SIM_GPUS"));
  if (!probed) return probed.error();
  out.all = std::move(*probed);
  if (out.all.empty())
    return Error{ErrorKind::probe, 0,
                 "no GPU can be seen from here; BERTH_SIM_GPUS=2x24G stands in simulated ones, and a claim like "
                 "--cpu 1 needs none"};
  auto eligible = eligible_devices(options, out.all, std::getenv("CUDA_VISIBLE_DEVICES"));
  if (!eligible) return eligible.error();
  out.eligible = std::move(*eligible);
  if (out.eligible.size() > max_claim_devices) out.eligible.resize(max_claim_devices);
  return out;
}

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

std::string show_amount(const std::string& what, int64_t amount) {
  return what == "ram" || what == "vram" ? show_size(amount) : std::to_string(amount);
}

int refuse_impossible(const Acquired& acquired) {
  std::string text = "can never run here:";
  for (const Shortfall& s : acquired.shortfalls)
    text += " it asks for " + show_amount(s.what, s.asked) + " " + s.what + ", but " +
            (s.what == "vram" ? "the cards it may use have " : "the pool has ") + show_amount(s.what, s.there) + ";";
  text.pop_back();
  say(text);
  return exit_status::impossible;
}

int refuse_busy(LocalPool& pool, const std::vector<Device>& devices, const Record& record) {
  auto view = view_pool(pool, devices);
  if (!view) return fail(view.error());
  std::vector<const LeaseView*> holders;
  if (decode_record(record_name(record), record_target(record), view->snapshot) == Decoded::ok)
    holders = holders_in_the_way(*view, static_cast<int>(view->snapshot.parties.size()) - 1);
  const std::string line = busy_json(*view, holders) + "\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
  return exit_status::busy;
}

// What a signal means to a job that still stands in line.
class WaitingManners {
 public:
  WaitingManners(const Signals& signals, Engine& engine) : signals_(signals), engine_(engine) {}

  // True: go on waiting.
  bool operator()() {
    signalfd_siginfo info{};
    while (signals_.next(info)) {
      const int signal = static_cast<int>(info.ssi_signo);
      if (signal == SIGCONT || signal == SIGWINCH || signal == SIGCHLD) continue;
      if (signal != SIGTSTP) {
        ended_by_ = signal;
        return false;
      }
      (void)engine_.step_aside();
      ::kill(::getpid(), SIGSTOP);
      (void)engine_.step_back();
    }
    return true;
  }

  [[nodiscard]] int ended_by() const { return ended_by_; }

 private:
  const Signals& signals_;
  Engine& engine_;
  int ended_by_ = SIGTERM;
};

// A copy of the life on a high number, for the command's tree.
OwnFd high_copy(int life_fd) {
  for (const int lowest : {lowest_life_fd, 100, 50, 10}) {
    const int fd = ::fcntl(life_fd, F_DUPFD_CLOEXEC, lowest);
    if (fd >= 0) return OwnFd(fd);
  }
  return {};
}

std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) out.emplace_back(*entry);
  return out;
}

int report_exec_failure(const std::string& word, const Finished& finished) {
  const char* why = finished.exec_errno == ENOENT ? "command not found" : ::strerror(finished.exec_errno);
  say(printable(word) + ": " + why);
  return finished.status;
}

Command command_of(const RunOptions& options, const LeaseEnvironment& lease, const rlimit& descriptor_limit) {
  Command command;
  command.argv = options.command;
  command.environment = lease_environment(own_environment(), lease);
  command.life_fd = lease.life_fd;
  command.nice = options.nice;
  command.idle_io = options.idle_io;
  command.limit_ms = options.limit_ms;
  command.grace_ms = options.grace_ms;
  command.descriptor_limit = descriptor_limit;
  return command;
}

std::optional<int64_t> thread_cap(const RunOptions& options) {
  if (options.threads) return options.threads;
  for (const NamedAmount& c : options.claim.counters)
    if (c.name == "cpu") return c.amount;
  return std::nullopt;
}

// --on-timeout run: without a place, but as polite as it would have been with one.
int run_unseated(const RunOptions& options, const Signals& signals, const rlimit& descriptor_limit) {
  say("no place after " + show_duration(*options.timeout_ms / 1000) + "; running without one");
  LeaseEnvironment none;
  none.threads = thread_cap(options);
  const Command command = command_of(options, none, descriptor_limit);
  const auto finished =
      options.replace_self ? Result<Finished>(replace_self(command, signals)) : supervise(command, signals, -1, {});
  if (!finished.ok()) return fail(finished.error());
  if (finished->exec_errno != 0) return report_exec_failure(options.command.front(), *finished);
  return finished->status;
}

// --dry-run: what would happen now.
int tell_preview(Engine& engine, const Request& request, LocalPool& pool, const Devices& devices) {
  const auto preview = engine.preview(request);
  if (!preview) return fail(preview.error());
  if (preview->ending == Ending::impossible) return refuse_impossible(*preview);
  if (preview->ending == Ending::seated) {
    std::string on;
    for (const DeviceRef& granted : preview->devices)
      for (const Device& d : devices.all)
        if (d.uuid == granted.uuid) on += (on.empty() ? " on GPU " : ", ") + std::to_string(d.index);
    return put("would start now" + on + "\n") ? exit_status::ok : exit_status::unavailable;
  }
  auto view = view_pool(pool, devices.all);
  if (!view) return fail(view.error());
  std::string why;
  if (decode_record(record_name(engine.record()), record_target(engine.record()), view->snapshot) == Decoded::ok)
    for (const LeaseView* holder : holders_in_the_way(*view, static_cast<int>(view->snapshot.parties.size()) - 1))
      why += (why.empty() ? "held by " : ", ") + lease_name(*view, *holder);
  if (why.empty()) why = "others stand before it in line";
  return put("would wait for " + describe(request.claim) + ": " + why + "\n") ? exit_status::busy
                                                                              : exit_status::unavailable;
}

// Runs the command in the place that `ledger` holds, and gives the place back.
int run_in_place(const RunOptions& options, const Devices& devices, const Acquired& acquired, Engine& engine,
                 LocalLedger& ledger, const LocalPool& pool, const Signals& signals, const rlimit& descriptor_limit) {
  OwnFd life = high_copy(ledger.life_fd());
  if (!life.valid()) {
    (void)engine.release();
    return fail(sys_error(errno, "no descriptor left for the command's life"));
  }
  LeaseEnvironment lease;
  lease.id = engine.record().id.view();
  lease.pool = pool.path();
  lease.life_fd = life.get();
  for (const DeviceRef& granted : acquired.devices)
    for (const Device& d : devices.all)
      if (d.uuid == granted.uuid) lease.devices.push_back(d);
  lease.visible_by_uuid = options.visible_by_uuid;
  lease.threads = thread_cap(options);
  const Command command = command_of(options, lease, descriptor_limit);
  if (options.replace_self) {
    const Finished failed = replace_self(command, signals);
    (void)engine.release();
    return report_exec_failure(options.command.front(), failed);
  }
  const auto finished = supervise(command, signals, ledger.bell_fd(), [&] { ledger.quiet_bell(); });
  life.reset();

  const auto released = engine.release([&] { return !options.until_command && ledger.life_goes_on_without_us(); });
  if (released.ok() && !released.value()) {
    say("the place stays taken by what " + printable(options.command.front()) + " left running" +
        survivors_text(pool, engine.record()));
    ledger.abandon();
  }
  if (!finished.ok()) return fail(finished.error());
  if (finished.value().exec_errno != 0) return report_exec_failure(options.command.front(), finished.value());
  return finished.value().status;
}

}  // namespace

int run_command(const Words& words) {
  auto options = parse_run(words);
  if (!options) return fail_usage("run", options.error().message);
  if (options->help) return put(help_text("run")) ? exit_status::ok : exit_status::unavailable;
  rlimit descriptor_limit{};
  ::getrlimit(RLIMIT_NOFILE, &descriptor_limit);
  auto devices = find_devices(*options);
  if (!devices) return fail(devices.error());
  if (auto share = check_own_share(options->claim); !share) return fail(share.error());
  auto pool = open_pool(LocalPool::IfMissing::create);
  if (!pool) return fail(pool.error());
  auto signals = Signals::take();
  if (!signals) return fail(signals.error());

  LocalLedger ledger(*pool, signals->fd());
  ledger.on_slow_lock([](const std::string& sentence) { say(sentence); });
  Engine engine(ledger, machine_figures);
  Request request;
  request.claim = options->claim;
  request.claim.eligible = devices->eligible;
  request.priority = options->priority;
  request.priority_cap = acts_as_root() ? max_priority_magnitude : 0;
  request.expect_s = options->expect_s;
  request.info = {::getpid(), options->label, command_line(options->command)};
  if (options->dry_run) return tell_preview(engine, request, *pool, *devices);
  WaitRule rule;
  rule.no_wait = options->no_wait;
  if (options->timeout_ms) rule.deadline_us = ledger.now_monotonic_us() + *options->timeout_ms * 1000;

  WaitingManners manners(*signals, engine);
  engine.on_cancel([&] { return manners(); });
  bool told = false;
  engine.on_waiting([&](const Waiting& waiting) {
    if (std::exchange(told, true)) return;
    say("waiting for " + describe(options->claim) +
        (waiting.ahead > 0 ? " (" + std::to_string(waiting.ahead) + " ahead)" : ""));
  });
  auto acquired = engine.acquire(request, rule);
  if (!acquired) return fail(acquired.error());
  switch (acquired->ending) {
    case Ending::seated: break;
    case Ending::impossible: return refuse_impossible(*acquired);
    case Ending::busy: return refuse_busy(*pool, devices->all, engine.record());
    case Ending::cancelled: Signals::die_of(manners.ended_by());
    case Ending::timed_out:
      if (options->run_after_timeout) return run_unseated(*options, *signals, descriptor_limit);
      say("gave up after " + show_duration(*options->timeout_ms / 1000) + " without a place");
      return exit_status::timed_out;
  }
  return run_in_place(*options, *devices, *acquired, engine, ledger, *pool, *signals, descriptor_limit);
}

}  // namespace berth
