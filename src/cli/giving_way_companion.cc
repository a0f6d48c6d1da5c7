#include "cli/giving_way_companion.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>

#include "base/sys.h"
#include "base/text.h"
#include "cli/lease_end.h"
#include "cli/say.h"
#include "cli/told.h"
#include "engine/lease_roots.h"
#include "run/affinity.h"
#include "run/process_tree.h"

namespace berth {

namespace {

constexpr int64_t look_us = 5'000'000;  // of our own accord: for what nobody rings for
constexpr int64_t give_again_us = 100'000;
constexpr int64_t in_vain_us = 60'000'000;  // who did not take the place is not given it again so soon

GivingWayRules rules_of(const Place& place) {
  const RunOptions& options = place.options();
  GivingWayRules rules;
  rules.hook = !options.on_reclaim.empty();
  rules.proves = !place.usage_limits().empty();
  rules.signal = options.verb == PlaceVerb::run && (!rules.hook || options.reclaim_signal_given);
  rules.preemptible = options.preemptible;
  rules.grace_us = options.grace_ms * 1000;
  return rules;
}

}  // namespace

std::vector<std::string> hook_environment(LeaseEnvironment lease) {
  lease.life_fd = -1;
  return lease_environment(own_environment(), lease);
}

GivingWayCompanion::GivingWayCompanion(Place& place, Seat& seat, std::vector<std::string> environment)
    : place_(place),
      seat_(seat),
      environment_(std::move(environment)),
      way_(rules_of(place)),
      load_told_(place.load_is_told()),
      next_look_us_(monotonic_us()) {  // at once: somebody may have asked before we listened
  events_.reset(::epoll_create1(EPOLL_CLOEXEC));
  listen();
}

bool GivingWayCompanion::command_ended(const Finished& finished) {
  ended_command_ = ended_by_it(finished);
  return ended_command_ && place_.options().preemptible;
}

bool GivingWayCompanion::owns(pid_t pid) const {
  return (hook_ && hook_->owns(pid)) || (return_hook_ && return_hook_->owns(pid)) || (proof_ && proof_->owns(pid));
}

// Whom others ended, and what had its time, did not end for this, even if it was asked just then. What they sent it
// long before, a HUP to read its settings again say, did not end it.
bool GivingWayCompanion::ended_by_it(const Finished& finished) const {
  if (way_.stage() == GivingWay::Stage::ending) return finished.by == Finished::By::companion;
  if (!way_.would_end_by_it() || finished.by != Finished::By::itself) return false;
  return finished.told_to_end_us < 0 || finished.told_to_end_us < began_us_ - place_.options().grace_ms * 1000;
}

int64_t GivingWayCompanion::due_us() const {
  if (lost_) return -1;
  if (seat_.ledger.was_rung()) return 0;  // somebody else read the bell
  if (way_.stage() == GivingWay::Stage::away) return seat_.engine.wake_due_us();
  int64_t due_us = next_look_us_;
  for (const int64_t other : {way_.due_us(), next_give_us_, proof_ ? proof_->due_us() : int64_t{-1}})
    if (other >= 0) due_us = std::min(due_us, other);
  return due_us;
}

bool GivingWayCompanion::act() {
  if (lost_) return false;
  const bool away = way_.stage() == GivingWay::Stage::away;
  if (away) {
    const bool rung = seat_.ledger.was_rung();
    const bool woken = seat_.engine.woken();
    (void)seat_.ledger.forget_ring();  // woken() has read the bell
    if (rung || woken) look_for_seat();
  } else {
    seat_.ledger.quiet_bell();
  }
  hear_hooks();
  if (proof_ && proof_->act()) {
    proof_.reset();
    perform(way_.on(GivingWay::Event::memory_free, monotonic_us()));
  }
  const int64_t now_us = monotonic_us();
  perform(way_.at(now_us));
  if (next_give_us_ >= 0 && now_us >= next_give_us_) try_to_give();
  if (!lost_ && seat_.engine.seated()) look();
  listen();
  return way_.stage() == GivingWay::Stage::ending;
}

bool GivingWayCompanion::not_just_now() const {
  return span_.valid() || (place_.options().reclaim_when_idle && !idle_);
}

void GivingWayCompanion::set_idle(bool idle) {
  if (std::exchange(idle_, idle) != idle) next_look_us_ = monotonic_us();
}

void GivingWayCompanion::set_load_told(bool told) {
  if (std::exchange(load_told_, told) != told) next_look_us_ = monotonic_us();
}

Way GivingWayCompanion::published() const {
  Way way;
  way.reclaimable = true;
  way.preemptible = place_.options().preemptible;
  way.idle = idle_;
  way.doubtful = doubtful_;
  way.busy = not_just_now() && way_.stage() == GivingWay::Stage::settled;
  way.unseen = way.busy && !span_.valid() && !load_told_;
  way.yielding = way_.yielding();
  way.unheeded = way_.stage() == GivingWay::Stage::unheeded || gave_in_vain_until_us_ >= 0;
  way.asked = way_.stage() == GivingWay::Stage::unheeded ? unheeded_by_hand_ : by_hand_ && !way.unheeded;
  return way;
}

// Under the pool's lock: changes what we think of ourselves, and leaves the deeds for later.
Way GivingWayCompanion::decide(const Asked& asked, bool anew, GivingWay::Deeds& deeds) {
  using Stage = GivingWay::Stage;
  const int64_t now_us = monotonic_us();
  const auto still_waits = [&](const PartyKey& who) {
    return std::find(asked.above.begin(), asked.above.end(), who) != asked.above.end();
  };
  const bool same_again = asked.waiter && waiter_ == asked.waiter;
  if (gave_in_vain_until_us_ >= 0 && (anew || !same_again || now_us >= gave_in_vain_until_us_))
    gave_in_vain_until_us_ = -1;
  if (way_.stage() == Stage::unheeded) {
    if (anew || (unheeded_by_hand_ && asked.waiter))
      way_.begin_again();
    else if (!unheeded_by_hand_ && std::none_of(unheeded_for_.begin(), unheeded_for_.end(), still_waits))
      deeds = way_.on(GivingWay::Event::let_off, now_us);
  }
  const bool wanted = asked.asked || by_hand_;
  const bool not_now = way_.stage() == Stage::settled && (not_just_now() || gave_in_vain_until_us_ >= 0);
  if (wanted && not_now) return published();
  if (wanted && way_.stage() == Stage::settled) waiter_ = asked.waiter;
  for_whole_cards_ = asked.for_whole_cards;
  const Stage before = way_.stage();
  if (before != Stage::unheeded) deeds = way_.on(wanted ? GivingWay::Event::asked : GivingWay::Event::let_off, now_us);
  if (before != Stage::unheeded) unheeded_for_ = asked.above;
  if (way_.stage() == Stage::settled && !wanted) by_hand_ = false;
  return published();
}

// Whether anything of what may concern us has changed; and if so, what the pool says to it.
void GivingWayCompanion::look() {
  const int64_t now_us = monotonic_us();
  bool changed = seat_.ledger.forget_ring();
  if (changed || now_us >= next_look_us_ || span_.valid()) {
    OwnFd span = seat_.ledger.open_span();
    changed = changed || span.valid() != span_.valid();
    span_ = std::move(span);
  }
  // Of its own accord it looks for what nobody rings for; where nobody waits there is none of that.
  if (!changed && now_us >= next_look_us_ && published() == seat_.engine.record().way) {
    const auto nobody = place_.pool().line_is_empty();
    const bool waits_for_somebody =
        way_.stage() == GivingWay::Stage::settled || (way_.stage() == GivingWay::Stage::unheeded && unheeded_by_hand_);
    if (nobody.ok() && *nobody && waits_for_somebody) {
      next_look_us_ = now_us + look_us;
      return;
    }
  }
  const bool anew = seat_.ledger.take_request();
  by_hand_ = by_hand_ || anew;
  changed = changed || anew || published() != seat_.engine.record().way || now_us >= next_look_us_;
  if (!changed) return;
  GivingWay::Deeds deeds;
  const auto asked = seat_.engine.heed_requests([&](const Asked& a) { return decide(a, anew, deeds); });
  if (!asked) return lose(asked.error());
  next_look_us_ = now_us + look_us;
  if (asked->look_again_us >= 0) next_look_us_ = std::min(next_look_us_, asked->look_again_us);
  perform(deeds);
}

void GivingWayCompanion::perform(const GivingWay::Deeds& deeds) {
  for (const GivingWay::Deed deed : deeds) perform(deed);
}

void GivingWayCompanion::perform(GivingWay::Deed deed) {
  using Deed = GivingWay::Deed;
  const RunOptions& options = place_.options();
  switch (deed) {
    case Deed::start_hook: start_hook(); break;
    case Deed::stop_hook:
      hook_.reset();
      say("--on-reclaim has had " + show_duration((options.grace_ms + 999) / 1000) + " (--grace), and is killed");
      break;
    case Deed::prove:
      proof_.emplace(
          place_.usage_limits(), [this] { return lease_roots(place_.pool()); }, for_whole_cards_);
      break;
    case Deed::send_signal:
      began_us_ = monotonic_us();
      send_signal();
      reason_ = "gave way" + asker();
      say("asked to give way" + asker() + "; it was sent SIG" + ::sigabbrev_np(options.reclaim_signal));
      break;
    case Deed::end_command:
      proof_.reset();
      next_give_us_ = -1;
      say("it has not given way" + asker() + ", so it is ended (--preemptible)");
      break;
    case Deed::give: try_to_give(); break;
    case Deed::give_up:
      proof_.reset();
      next_give_us_ = -1;
      unheeded_by_hand_ = by_hand_ && !waiter_;
      by_hand_ = false;
      doubtful_ = true;
      kept_its_place_ = "did not give way" + (waiter_ ? asker() : ", asked by hand");
      say("it has not given way" + asker() + " and keeps its place");
      break;
    case Deed::come_back: {
      proof_.reset();
      next_give_us_ = -1;
      if (options.on_return.empty()) break;
      auto run = HookRun::start({"--on-return", options.on_return, environment_, place_.signals().inherited_mask(),
                                 place_.descriptor_limit(), say});
      if (run)
        return_hook_.emplace(std::move(*run));
      else
        say(run.error().message);
      break;
    }
  }
}

// TERM, which ends things, goes to all of the tree: a shell ends of it at once and leaves behind what it was about.
// What else was chosen means something to the command alone, and might end those below it.
void GivingWayCompanion::send_signal() {
  const int signal = place_.options().reclaim_signal;
  if (!command_.valid()) return;
  siginfo_t ended{};
  const bool gone = command_.wait(ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid != 0;
  if (gone) return;  // its pid will be another's
  const std::vector<pid_t> tree = signal == SIGTERM ? tree_of(command_.pid()) : std::vector<pid_t>{};
  command_.send(signal);
  for (const pid_t pid : tree)
    if (pid != command_.pid()) ::kill(pid, signal);
}

void GivingWayCompanion::start_hook() {
  return_hook_.reset();
  began_us_ = monotonic_us();
  auto run = HookRun::start({"--on-reclaim", place_.options().on_reclaim, environment_,
                             place_.signals().inherited_mask(), place_.descriptor_limit(), say});
  if (run) {
    hook_.emplace(std::move(*run));
    reason_ = "gave way" + asker();
    say("asked to give way" + asker());
    return;
  }
  say(run.error().message);
  perform(way_.on(GivingWay::Event::hook_failed, monotonic_us()));
}

void GivingWayCompanion::hear_hooks() {
  if (return_hook_) {
    if (const auto status = return_hook_->act()) {
      return_hook_.reset();
      if (*status != 0) say("--on-return ended with " + std::to_string(*status));
    }
  }
  if (!hook_) return;
  const auto status = hook_->act();
  if (!status) return;
  hook_.reset();
  if (*status != 0) say("--on-reclaim ended with " + std::to_string(*status));
  perform(way_.on(*status == 0 ? GivingWay::Event::hook_succeeded : GivingWay::Event::hook_failed, monotonic_us()));
}

void GivingWayCompanion::try_to_give() {
  next_give_us_ = monotonic_us() + give_again_us;
  place_.heed_choice(seat_);
  const auto result = seat_.engine.give_way(Engine::Return::to_the_same_devices);
  if (!result) return lose(result.error());
  if (*result == GaveWay::gave) return gave();
  seat_.engine.heed_nobody();
  if (*result == GaveWay::nobody_asks) perform(way_.on(GivingWay::Event::nobody_asks, monotonic_us()));
}

void GivingWayCompanion::gave() {
  next_give_us_ = -1;
  const std::string for_whom = asker();
  reason_ = "gave way" + for_whom;
  kept_its_place_.clear();
  by_hand_ = doubtful_ = false;
  perform(way_.on(GivingWay::Event::gave, monotonic_us()));
  seat_.ledger.set_cancel_fd(-1);  // signals are the command's, which runs on
  say("gave way" + for_whom + "; it comes back when there is room");
  record_given_away(place_, seat_, reason_);  // while the seat is still what it was
  look_for_seat();
}

void GivingWayCompanion::look_for_seat() {
  auto looked = seat_.engine.look_for_seat();
  if (!looked) return lose(looked.error());
  if (*looked) back(std::move(**looked));
}

void GivingWayCompanion::back(Acquired acquired) {
  seat_.engine.heed_nobody();
  seat_.ledger.set_cancel_fd(place_.signals().fd());
  seat_.acquired = std::move(acquired);
  gave_in_vain_until_us_ = monotonic_us() + in_vain_us;  // if the same one still asks
  next_look_us_ = monotonic_us();
  // Those that it had may be another's by now.
  if (const auto& own = seat_.engine.record().processors; !own.empty() && command_.valid())
    confine_tree(command_.pid(), processor_set(own));
  say("has its place again");
  perform(way_.on(GivingWay::Event::back, monotonic_us()));
}

void GivingWayCompanion::lose(const Error& error) {
  // A record that was removed behind our back may be entered again.
  next_look_us_ = monotonic_us() + look_us;
  lost_ = way_.stage() == GivingWay::Stage::away || seat_.ledger.told_to_leave();
  if (way_.stage() == GivingWay::Stage::away) say(error.message + "; it runs on without a place");
}

std::string GivingWayCompanion::asker() const {
  if (!waiter_) return " by hand";
  const auto snapshot = place_.pool().read();
  const int index = snapshot.ok() ? snapshot->find(*waiter_) : -1;
  if (index < 0) return " to " + std::string(waiter_->id.view());
  const auto told = ask_party(place_.pool(), snapshot->parties[static_cast<size_t>(index)]);
  return " to " + (told ? short_name(told->info, waiter_->id) + " (" : "(") + std::string(waiter_->id.view()) + ")";
}

void GivingWayCompanion::listen() {
  std::vector<pollfd> wanted;
  const auto add = [&](int fd, short events) {
    if (fd >= 0) wanted.push_back({fd, events, 0});
  };
  if (!lost_) {
    for (const pollfd& one : seat_.ledger.waited_for()) wanted.push_back(one);
    if (way_.stage() == GivingWay::Stage::away && seat_.admission) add(seat_.admission->fd(), POLLIN);
    add(span_.get(), 0);
    for (const auto* hook : {&hook_, &return_hook_}) {
      if (!*hook) continue;
      add((*hook)->output_fd(), POLLIN);
      add((*hook)->status_fd(), POLLIN);
    }
    if (proof_) add(proof_->fd(), POLLIN);
  }
  // Numbers are used again, so a list that looks the same need not be: it is made anew each time.
  events_.reset(::epoll_create1(EPOLL_CLOEXEC));
  for (const pollfd& one : wanted) {
    epoll_event event{};
    event.events = one.events == 0 ? 0U : static_cast<uint32_t>(EPOLLIN);
    (void)::epoll_ctl(events_.get(), EPOLL_CTL_ADD, one.fd, &event);
  }
}

}  // namespace berth
