#include "cli/lost_lease.h"

#include <utility>

#include "base/sys.h"
#include "cli/say.h"

namespace berth {

namespace {

// A look is three names in a directory. A watch of the kernel's (inotify) would tell at once, and there are 128 of
// them for all that a user runs; taking one down takes ten milliseconds besides.
constexpr int64_t first_look_us = 1'000'000;
constexpr int64_t look_us = 5'000'000;
// Who removes a directory removes one entry after the other, and is let finish.
constexpr int64_t settle_us = 50'000;

}  // namespace

LossCompanion::LossCompanion(LocalPool& pool, Seat& seat, bool ends_command)
    : pool_(pool), seat_(seat), ends_command_(ends_command), look_us_(monotonic_us() + first_look_us) {}

bool LossCompanion::give_up(const std::string& why) {
  lost_ = true;
  look_us_ = -1;
  say("its lease was removed from the pool, and " + why +
      (ends_command_ ? "; it is ended (--on-lost term)" : "; it runs on without a place"));
  return ends_command_;
}

bool LossCompanion::act() {
  if (look_us_ < 0 || monotonic_us() < look_us_) return false;
  look_us_ = monotonic_us() + look_us;
  const bool missed = std::exchange(missed_, false);
  // Who gave way has its place in line looked after elsewhere.
  if (!seat_.engine.seated() || seat_.ledger.entries_stand()) return false;
  if (!missed) {
    missed_ = true;
    look_us_ = monotonic_us() + settle_us;
    return false;
  }
  seat_.ledger.quiet_bell();
  if (seat_.ledger.told_to_leave()) {
    look_us_ = -1;
    return false;
  }
  if (pool_.removed())
    if (auto opened = pool_.reopen(); !opened) return give_up(opened.error().message);
  const auto standing = seat_.engine.stand_again();
  if (!standing.ok()) return give_up("it cannot be entered again: " + standing.error().message);
  switch (*standing) {
    case Engine::Standing::locked: return false;
    case Engine::Standing::stands: break;
    case Engine::Standing::taken: return give_up("others have its place by now");
    case Engine::Standing::nowhere: return give_up("so was the one that it is inside of");
    case Engine::Standing::again:
      if (pid_ > 0) seat_.ledger.note_processes({pid_});
      say("its lease was removed from the pool; it has been entered again");
      break;
  }
  return false;
}

}  // namespace berth
