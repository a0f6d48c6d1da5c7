// The driver's word: what a look does with it, and how a waiter asks and sleeps.
#include <algorithm>

#include "engine/engine.h"

namespace berth {

namespace {

constexpr int64_t answer_age_us = 500'000;      // what a driver said longer ago than this is not believed
constexpr int64_t slowest_pace_us = 5'000'000;  // and what that grows to, for those at the front;
constexpr int most_pace_doublings = 3;          // doubled for every two refused ones ahead
constexpr int64_t rung_pace_us = 100'000;       // and at least, where somebody rings
constexpr int64_t courtesy_us = 300'000;  // for one ahead to find out that its driver refuses it nothing any more,
constexpr int64_t longest_courtesy_us = 2'000'000;
constexpr int64_t courtesy_again_us = 10'000'000;  // and how long it gets none after that

}  // namespace

bool Engine::driver_answered_lately() const {
  return admission_->taken_us() >= 0 && ledger_.now_monotonic_us() - admission_->taken_us() <= answer_age_us;
}

void Engine::refuse(Look& look, const Eligible& device, bool seated) {
  const std::string why = admission_->refusal(look.snapshot, look.dead, look.self, device, seated);
  if (why.empty()) return;
  look.veto |= OrdinalMask{1} << device.ordinal;
  look.refusal = why;
}

void Engine::count_refused_ahead(Look& look) {
  look.refused_ahead = 0;
  for (const int index : look.plan.line) {
    if (index == look.self) return;
    if (!look.snapshot.vetoed(look.snapshot.parties[static_cast<size_t>(index)]).empty()) ++look.refused_ahead;
  }
}

// Since when an answer has to have been asked for, of each device that we may use. Who comes to hold some
// of it is in the book, and the book is believed.
void Engine::note_departures(const Look& look) {
  const Party& self = look.snapshot.parties[static_cast<size_t>(look.self)];
  device_books_.resize(max_claim_devices);
  const auto note = [&](const Eligible& e) {
    std::vector<PartyKey> holders;
    for (size_t i = 0; i < look.snapshot.parties.size(); ++i) {
      const Party& p = look.snapshot.parties[i];
      const auto granted = look.snapshot.granted(p);
      const bool on_it = std::find(granted.begin(), granted.end(), e.device) != granted.end();
      if (p.state == PartyState::held && on_it && !look.dead[i]) holders.push_back(p.key());
    }
    DeviceBook& book = device_books_[e.ordinal];
    const bool somebody_left = std::any_of(book.holders.begin(), book.holders.end(), [&](const PartyKey& was) {
      return std::find(holders.begin(), holders.end(), was) == holders.end();
    });
    if (somebody_left) book.left_us = ledger_.now_monotonic_us();
    book.holders = std::move(holders);
  };
  for (const Eligible& e : look.snapshot.eligible(self)) note(e);
  for (const Eligible& e : look.snapshot.vetoed(self)) note(e);
}

// Where the driver has been asked lately, the veto is made anew: first the devices on which we could not
// be even if no lease stood in our way, then those on which the plan seats us and the driver does not,
// until both agree. Planning again around each costs nobody anything: nothing of it is published yet.
void Engine::heed_driver(Look& look, const std::function<void(Look&)>& replan) {
  if (record_.claim.gpu.count == 0) return;
  const auto self = static_cast<size_t>(look.self);
  note_departures(look);

  if (!driver_answered_lately()) {
    look.impossible = look.verdict() == Verdict::impossible && look.veto == 0;
    look.asks_driver = look.verdict() == Verdict::seat;
    count_refused_ahead(look);
    return;
  }
  look.veto = elsewhere_;
  look.snapshot.set_veto(self, elsewhere_);
  const std::vector<Eligible> all(look.snapshot.eligible(look.snapshot.parties[self]).begin(),
                                  look.snapshot.eligible(look.snapshot.parties[self]).end());
  replan(look);
  look.impossible = look.verdict() == Verdict::impossible;
  if (look.impossible) return;
  for (const Eligible& device : all) refuse(look, device, /*seated=*/false);
  for (size_t round = 0; round <= max_claim_devices; ++round) {
    look.snapshot.set_veto(self, look.veto);
    replan(look);
    count_refused_ahead(look);
    if (look.verdict() != Verdict::seat) return;
    const OrdinalMask known = look.veto;
    const auto& seat = look.plan.seat_of(look.self);
    for (const Eligible& device : all) {
      if (std::find(seat.begin(), seat.end(), device.device) == seat.end()) continue;
      // A device whose lease ended after the question may still be full of what that lease left there.
      look.asks_driver = look.asks_driver || admission_->begun_us() < device_books_[device.ordinal].left_us;
      refuse(look, device, /*seated=*/true);
    }
    if (look.asks_driver) {
      look.veto = known;
      return;
    }
    if (look.veto == known) return;
  }
}

// Who was refused looks at the driver now and then only, and we have just done so. Where it would be let
// in by now it is told, and has the time of two questions before we take what it stands in line for. Only
// its own rules (--min-free) are not known to us: it may be refused all the same, so this is not for ever.
bool Engine::gives_way(Look& look) {
  if (record_.claim.gpu.count == 0 || look.asks_driver || look.verdict() != Verdict::seat) return false;
  const int64_t now_us = ledger_.now_monotonic_us();
  const int64_t question_us = admission_->taken_us() - admission_->begun_us();
  const int64_t time_us = std::min(longest_courtesy_us, courtesy_us + 2 * question_us);
  const auto& seat = look.plan.seat_of(look.self);
  bool waits = false;
  for (const int index : look.plan.line) {
    if (index == look.self) break;
    const auto i = static_cast<size_t>(index);
    const Party& party = look.snapshot.parties[i];
    const auto vetoed = look.snapshot.vetoed(party);
    const bool let_in = !look.dead[i] && std::any_of(vetoed.begin(), vetoed.end(), [&](const Eligible& e) {
      return std::find(seat.begin(), seat.end(), e.device) != seat.end() &&
             admission_->refusal(look.snapshot, look.dead, index, e, /*seated=*/false).empty();
    });
    if (!let_in) continue;
    const auto known = courtesies_.find(party);
    if (known == courtesies_.end() || now_us > known->second + courtesy_again_us) {
      (void)ledger_.ring(party);
      courtesies_[party] = now_us + time_us;
    }
    const int64_t until_us = courtesies_[party];
    if (now_us >= until_us) continue;
    waits = true;
    look.look_again_us = look.look_again_us < 0 ? until_us : std::min(look.look_again_us, until_us);
  }
  return waits;
}

// For one who does not stand in line. False: it was cancelled.
bool Engine::ask_now() {
  admission_->ask();
  while (admission_->fd() >= 0) {
    const Wake wake = ledger_.wait(admission_->due_us(), admission_->fd());
    if (wake.cancelled && ask_caller() == OnCancel::give_up) return false;
    if ((wake.answered || wake.timed_out) && admission_->take_in()) return true;
  }
  return true;
}

namespace {

int64_t earlier(int64_t a, int64_t b) { return b >= 0 && (a < 0 || b < a) ? b : a; }

}  // namespace

// Sleeps until there is a reason to look at the pool again. A driver that refused us is asked again in
// between, and its answer is such a reason.
Wake Engine::sleep(const Look& look, int64_t next_us) {
  if (admission_ == nullptr || record_.claim.gpu.count == 0) return ledger_.wait(next_us, -1);
  before_sleep(look);
  if (look.asks_driver && admission_->fd() < 0) return Wake{};  // it could not even be asked, and that is an answer
  for (;;)
    if (const auto wake = nap(next_us, next_us)) return *wake;
}

void Engine::before_sleep(const Look& look) {
  if (look.asks_driver) admission_->ask();
  if ((look.veto & ~elsewhere_) == 0) {
    ask_again_us_ = -1;
    ask_pace_us_ = first_pace_us;
  } else if (ask_again_us_ < 0) {
    const int64_t slowest_us = slowest_pace_us << std::min(look.refused_ahead / 2, most_pace_doublings);
    ask_again_us_ = ledger_.now_monotonic_us() + ask_pace_us_;
    ask_pace_us_ = std::min(slowest_us, ask_pace_us_ * 3 / 2);
  }
}

// One wait of such a sleep; nullopt: there is no reason to look at the pool.
std::optional<Wake> Engine::nap(int64_t next_us, int64_t until_us) {
  if (ask_again_us_ >= 0 && ledger_.now_monotonic_us() >= ask_again_us_) {
    admission_->ask();
    ask_again_us_ = -1;
  }
  Wake wake = ledger_.wait(earlier(earlier(until_us, ask_again_us_), admission_->due_us()), admission_->fd());
  const bool timed_out = std::exchange(wake.timed_out, wake.timed_out && ledger_.now_monotonic_us() >= next_us);
  if (wake.cancelled || wake.timed_out) return wake;
  if (wake.answered || (timed_out && admission_->due_us() >= 0)) {
    if (admission_->take_in()) return wake;
    return std::nullopt;
  }
  if (timed_out) return std::nullopt;
  // Rung: somebody has found the stranger gone, say, and not all shall find out each at its own pace.
  if (ask_again_us_ >= 0) ask_again_us_ = std::min(ask_again_us_, admission_->taken_us() + rung_pace_us);
  return wake;
}

// A wake-up for who tells of us is none of ours: there is nothing to look for, and no lock to take.
std::optional<Wake> Engine::sleep_and_tell(const Look& look, const Waiting& waiting, int64_t next_us) {
  for (;;) {
    const int64_t again_us = on_waiting_ ? on_waiting_(waiting) : -1;
    const Wake wake = sleep(look, again_us < 0 ? next_us : std::min(next_us, again_us));
    if (wake.cancelled) {
      const OnCancel told = ask_caller();
      if (told == OnCancel::give_up) return std::nullopt;
      if (told == OnCancel::sleep_on && wake.nothing_else) continue;
    }
    if (!wake.timed_out || ledger_.now_monotonic_us() >= next_us) return wake;
  }
}

}  // namespace berth
