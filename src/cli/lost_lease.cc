#include "cli/lost_lease.h"

#include <unistd.h>

#include <array>

#include "base/sys.h"
#include "cli/say.h"

namespace berth {

namespace {

// The kernel takes ten milliseconds to take a watch down again, and short jobs are not to pay for that.
constexpr int64_t begin_us = 1'000'000;
constexpr int64_t settle_us = 50'000;
constexpr int64_t again_in_us = 1'000'000;  // where somebody sat on the lock

}  // namespace

LossCompanion::LossCompanion(LocalPool& pool, Seat& seat, bool ends_command)
    : pool_(pool), seat_(seat), ends_command_(ends_command), again_us_(monotonic_us() + begin_us) {}

// Looks after it has begun to listen, so that nothing is missed in between.
bool LossCompanion::stands() {
  watch_ = seat_.ledger.watch_own_entries();
  return seat_.ledger.entries_stand();
}

bool LossCompanion::give_up(const std::string& why) {
  lost_ = true;
  again_us_ = -1;
  watch_.reset();
  say("its lease was removed from the pool, and " + why +
      (ends_command_ ? "; it is ended (--on-lost term)" : "; it runs on without a place"));
  return ends_command_;
}

bool LossCompanion::act() {
  std::array<char, 4096> events{};
  bool told = false;
  while (watch_.valid() && retry_eintr([&] { return ::read(watch_.get(), events.data(), events.size()); }) > 0)
    told = true;
  // Who removes a directory removes one entry after the other, and is let finish.
  if (told) again_us_ = monotonic_us() + settle_us;
  if (told || again_us_ < 0 || monotonic_us() < again_us_) return false;
  again_us_ = -1;
  if (!seat_.engine.seated()) return false;  // it gave way, and its place in line is looked after elsewhere
  seat_.ledger.quiet_bell();
  if (stands()) return false;
  if (seat_.ledger.told_to_leave()) {
    watch_.reset();
    return false;
  }
  (void)seat_.engine.still_ours();  // a look, for the next line
  if (pool_.removed())
    if (auto opened = pool_.reopen(); !opened) return give_up(opened.error().message);
  const auto standing = seat_.engine.stand_again();
  if (!standing.ok()) return give_up("it cannot be entered again: " + standing.error().message);
  switch (*standing) {
    case Engine::Standing::locked: again_us_ = monotonic_us() + again_in_us; return false;
    case Engine::Standing::stands: break;
    case Engine::Standing::taken: return give_up("others have its place by now");
    case Engine::Standing::nowhere: return give_up("so was the one that it is inside of");
    case Engine::Standing::again:
      if (pid_ > 0) seat_.ledger.note_processes({pid_});
      say("its lease was removed from the pool; it has been entered again");
      break;
  }
  if (!stands()) again_us_ = monotonic_us() + settle_us;
  return false;
}

}  // namespace berth
