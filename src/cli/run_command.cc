#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "base/pid_namespace.h"
#include "base/sys.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/giving_way_companion.h"
#include "cli/lease_end.h"
#include "cli/lost_lease.h"
#include "cli/place.h"
#include "cli/ram_guard.h"
#include "cli/say.h"
#include "cli/survivors.h"
#include "cli/turn_line.h"
#include "cli/usage_companion.h"
#include "device/probe_run.h"
#include "engine/lease_roots.h"
#include "engine/usage_watch.h"
#include "history/learned.h"
#include "run/process_tree.h"

namespace berth {

namespace {

// The exit status, said where there is something to say.
int report(const Result<Finished>& finished, const std::string& word) {
  if (!finished.ok()) return fail(finished.error());
  if (finished->exec_errno != 0) say_not_started(word, finished->exec_errno);
  return finished->status;
}

// As nice(1) does: what is not allowed is said, and the command runs all the same.
void tell_if_not_so_nice(const std::optional<int>& added) {
  if (!added || *added >= 0) return;
  const int now = ::getpriority(PRIO_PROCESS, 0);
  if (::setpriority(PRIO_PROCESS, 0, now + *added) != 0)
    say(sys_error(errno, "--nice " + std::to_string(*added) + " is not heeded").message);
  else
    ::setpriority(PRIO_PROCESS, 0, now);
}

Command command_of(const Place& place, const LeaseEnvironment& lease) {
  const RunOptions& options = place.options();
  Command command;
  command.argv = options.command;
  command.environment = lease_environment(own_environment(), lease);
  tell_if_not_so_nice(options.nice);
  command.nice = options.nice;
  command.idle_io = options.idle_io;
  command.affinity = AffinityMask(place.affinity());
  command.limit_ms = options.limit_ms;
  command.grace_ms = options.grace_ms;
  command.descriptor_limit = place.descriptor_limit();
  return command;
}

// What berth says of an end that it makes.
Notices notices_for(const RunOptions& options) {
  Notices out;
  out.ending = [&options](int signal, Finished::By by) {
    if (signal == SIGKILL)
      say("it still runs " + show_milliseconds(options.grace_ms) +
          " after it was told to end (--grace), so it is killed");
    else if (by == Finished::By::limit)
      say("it has run for " + show_milliseconds(*options.limit_ms) + " (--limit), so it is ended");
  };
  return out;
}

// A signal that came after the last look at the line and before there is a command to pass it to.
void heed_early_signals(Place& place) {
  const int fatal = place.signals().next_fatal(Signals::stop_here);
  if (fatal == 0) return;
  std::vector<Job> jobs = place.jobs();
  place.release_all();
  record_end(std::move(jobs), {How::cancelled, 128 + fatal, fatal});
  Signals::die_of(fatal);
}

// --on-timeout run: without a place, but as polite as it would have been with one.
int run_unseated(Place& place, RamGuard& ram) {
  const RunOptions& options = place.options();
  say("no place after " + show_milliseconds(*options.timeout_ms) + "; running without one");
  LeaseEnvironment none;
  none.threads = thread_cap(options);
  Command command = command_of(place, none);
  ram.limit(command);
  const std::unique_ptr<Companion> watch = ram.companion();
  heed_early_signals(place);
  const auto finished =
      options.replace_self
          ? Result<Finished>(replace_self(command, place.signals()))
          : supervise(command, place.signals(),
                      watch ? std::vector<Companion*>{watch.get()} : std::vector<Companion*>{}, notices_for(options));
  ram.tell_end(finished.ok() ? finished->largest_bytes : 0);
  const int status = report(finished, options.command.front());
  for (Job& job : place.past()) job.status = status;
  record_past(place);
  return status;
}

// What the command leaves running. A daemon is born by a parent that ends at once: so where there is
// anybody, it is waited a moment until the same ones were seen three times.
std::vector<pid_t> what_stays() {
  constexpr int most_looks = 12;
  constexpr timespec between{0, 10'000'000};
  std::vector<pid_t> seen = left_running(is_given_up_probe);
  for (int looks = 1, same = 1; !seen.empty() && same < 3 && looks < most_looks; ++looks) {
    ::nanosleep(&between, nullptr);
    std::vector<pid_t> now = left_running(is_given_up_probe);
    same = now == seen ? same + 1 : 1;
    seen = std::move(now);
  }
  return seen;
}

// Gives every seat back, or leaves it to those of the command's tree that still run: true.
bool give_back(Place& place) {
  const RunOptions& options = place.options();
  bool said = false;
  const std::vector<pid_t> left = options.until_command ? std::vector<pid_t>{} : what_stays();
  for (auto& seat : place.seats()) seat->life.reset();
  for (auto& seat : place.seats()) {
    LocalLedger& ledger = seat->ledger;
    seat->engine.leave_line_if_away();
    if (!left.empty()) ledger.note_processes(left);
    const auto stays = [&] {
      if (options.until_command || !ledger.entries_stand()) return false;  // or somebody has released it
      return ledger.life_goes_on_without_us() || !left.empty();
    };
    const auto released = seat->engine.release(stays);
    if (!released.ok() || released.value()) continue;
    if (!std::exchange(said, true))
      say("the place stays taken by what " + printable(options.command.front()) + " left running" +
          survivors_text(place.pool(), seat->engine.record(), left));
    ledger.abandon();
  }
  return said;
}

// Hears the bell of a holder: somebody may have given it another claim.
class BellCompanion : public Companion {
 public:
  explicit BellCompanion(Seat& seat) : seat_(seat) {}
  [[nodiscard]] int fd() const override { return seat_.ledger.bell_fd(); }
  [[nodiscard]] int64_t due_us() const override { return -1; }
  [[nodiscard]] bool act() override {
    seat_.ledger.quiet_bell();
    (void)seat_.engine.refresh();
    return false;
  }

 private:
  Seat& seat_;
};

// --cap env: what was set, and that it is advice.
void print_caps(const LeaseEnvironment& lease) {
  std::string text;
  for (const std::string& cap : framework_caps(own_environment(), lease)) text += " " + cap;
  say(text.empty() ? "--cap env: there is nothing to cap; it goes with --vram or --compute" : "--cap env sets" + text);
}

// Who stand beside the command while it runs. What they know of it afterwards is asked before they are cleared away.
struct Beside {
  std::vector<std::unique_ptr<Companion>> companions;
  std::vector<LossCompanion*> losses;
  GivingWayCompanion* giving = nullptr;
  const UsageCompanion* usage = nullptr;

  template <class T>
  T* add(std::unique_ptr<T> companion) {
    T* const added = companion.get();
    companions.push_back(std::move(companion));
    return added;
  }
  [[nodiscard]] std::vector<Companion*> all() const {
    std::vector<Companion*> out;
    for (const auto& companion : companions) out.push_back(companion.get());
    return out;
  }
  [[nodiscard]] bool lost() const {
    return std::any_of(losses.begin(), losses.end(), [](const LossCompanion* l) { return l->lost(); });
  }
};

// For each seat one that hears its bell, and one that sees whether it is lost.
void add_those_of_seats(Beside& beside, Place& place, const LeaseEnvironment& lease) {
  for (const auto& seat : place.seats()) {
    if (place.may_yield())
      beside.giving = beside.add(std::make_unique<GivingWayCompanion>(place, *seat, hook_environment(lease)));
    else
      beside.add(std::make_unique<BellCompanion>(*seat));
    if (place.options().replace_self) continue;
    beside.losses.push_back(
        beside.add(std::make_unique<LossCompanion>(place.pool(), *seat, place.options().loss_ends)));
  }
}

void add_those_that_measure(Beside& beside, Place& place, RamGuard& ram) {
  if (!place.usage_limits().empty())
    beside.usage = beside.add(std::make_unique<UsageCompanion>(place, beside.giving, say));
  const auto claimed_ram = [&place] {
    int64_t bytes = 0;
    for (const auto& seat : place.seats()) bytes += amount_of(seat->engine.record().claim, "ram");
    return bytes;
  };
  if (auto watch = ram.companion(claimed_ram)) beside.add(std::move(watch));
}

// The command takes this process's place. Back only where that failed.
int become_command(Place& place, Command& command) {
  for (const auto& seat : place.seats()) seat->ledger.note_processes({::getpid()});
  const Finished failed = replace_self(command, place.signals());
  std::vector<Job> jobs = place.jobs();
  place.release_all();
  record_end(std::move(jobs), {how_of(failed), failed.status});
  return report(failed, place.options().command.front());
}

// --requeue: nothing, where the place was had again.
std::optional<int> take_place_again(Place& place, const std::string& reason) {
  record_given_away(place, *place.seats().front(), reason);
  const auto failed = place.take_again();
  if (!failed) return std::nullopt;
  (void)give_back(place);
  record_past(place);
  return failed;
}

// Nothing: the place was given away, and had again, for the command to be started anew (--requeue).
std::optional<int> run_in_place(Place& place, RamGuard& ram) {
  const RunOptions& options = place.options();
  const LeaseEnvironment lease = place.environment();
  if (options.cap_env) print_caps(lease);
  Command command = command_of(place, lease);
  ram.limit(command);
  command.life_fds.reserve(place.seats().size());
  for (const auto& seat : place.seats()) command.life_fds.push_back(seat->life.get());
  Beside beside;
  add_those_of_seats(beside, place, lease);
  heed_early_signals(place);
  if (options.replace_self) return become_command(place, command);
  add_those_that_measure(beside, place, ram);
  Notices notices = notices_for(options);
  notices.started = [&](pid_t pid) {
    for (const auto& seat : place.seats()) seat->ledger.note_processes({pid});
    for (LossCompanion* loss : beside.losses) loss->stands_for(pid);
    ram.started(pid);
    if (beside.giving != nullptr) beside.giving->stands_for(pid);
  };
  const auto finished = supervise(command, place.signals(), beside.all(), notices);
  ram.tell_end(finished.ok() ? finished->largest_bytes : 0);
  LeaseEnd end;
  if (beside.usage != nullptr) end.peak_bytes = beside.usage->peak_bytes();
  if (finished.ok()) end.peak_ram_bytes = ram.peak_bytes(finished->largest_bytes);
  const bool lost = beside.lost();
  const GivingWayCompanion* giving = beside.giving;
  const bool reclaimed = giving != nullptr && finished.ok() && finished->exec_errno == 0 && giving->ended_command();
  if (giving != nullptr) end.reason = reclaimed ? giving->reason() : giving->kept_its_place();
  beside = {};  // none of them is to be taken for something that the command left running
  if (reclaimed && options.requeue && !lost && what_stays().empty()) return take_place_again(place, end.reason);
  std::vector<Job> jobs = place.jobs();
  end.stays = give_back(place);
  end.status = report(finished, options.command.front());
  if (reclaimed || (lost && options.loss_ends)) end.status = exit_status::lost;
  if (finished.ok()) {
    end.how = lost ? How::lost : reclaimed ? How::reclaimed : how_of(*finished);
    end.signal = finished->signal;
  }
  record_end(std::move(jobs), end);
  // A shell ends its loop or script on Ctrl-C only if who it waits for died of it too.
  if (finished.ok() && finished->by_terminal && !reclaimed) Signals::die_of(finished->signal);
  return end.status;
}

}  // namespace

int run_command(const Words& words) {
  auto options = parse_run(words);
  if (!options) return fail_usage("run", options.error().message);
  if (options->help) return put(help_text("run")) ? exit_status::ok : exit_status::unavailable;
  if (options->expect_learned)
    options->expect_s = learned_expect_s(options->label, command_line(options->command)).value_or(0);
  Place place(std::move(*options));
  if (const auto failed = place.prepare()) return *failed;
  RamGuard ram(place.options());
  const PartyInfo info{::getpid(), place.options().label, command_line(place.options().command), "",
                       own_pid_namespace()};
  if (place.options().dry_run) return place.tell_preview(info);
  if (place.options().command.empty()) return serve_turns(place, info);
  bool gave_up = false;
  const auto failed = place.take(info, gave_up);
  if (gave_up && place.options().run_after_timeout) return run_unseated(place, ram);
  if (gave_up) say("gave up after " + show_milliseconds(*place.options().timeout_ms) + " without a place");
  if (!failed) place.tell_if_load_is_not_told();
  if (!failed) place.tell_if_not_reclaimable();
  while (!failed)
    if (const auto status = run_in_place(place, ram)) return *status;
  record_past(place);
  return *failed;
}

}  // namespace berth
