#include "cli/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <vector>

#include "base/sys.h"
#include "cli/giving_way_companion.h"
#include "cli/lapse.h"
#include "cli/lease_end.h"
#include "cli/lost_lease.h"
#include "cli/own_terminal.h"
#include "cli/usage_companion.h"
#include "cli/wait_minder.h"

namespace berth {

namespace {

// All that a keeper looks after besides the process that it stands for.
struct Watched {
  std::vector<std::unique_ptr<LossCompanion>> losses;
  std::unique_ptr<GivingWayCompanion> giving;
  std::unique_ptr<UsageCompanion> usage;

  void add_all(std::vector<Companion*>& out) const {
    for (const auto& loss : losses) out.push_back(loss.get());
    if (giving) out.push_back(giving.get());
    if (usage) out.push_back(usage.get());
  }
};

// Its stderr is nobody's: what it has to say is in the history, and what somebody is to do, on his terminal.
void begin_to_watch(Place& place, const OwnTerminal& terminal, Watched& watched) {
  for (const auto& seat : place.seats()) {
    watched.losses.push_back(std::make_unique<LossCompanion>(place.pool(), *seat, /*ends_command=*/false));
    watched.losses.back()->stands_for(::getpid());
  }
  if (place.may_yield())
    watched.giving =
        std::make_unique<GivingWayCompanion>(place, *place.seats().front(), hook_environment(place.environment()));
  if (!place.options().idle_ms || place.usage_limits().empty()) return;
  const std::string lease = "the lease " + std::string(place.seats().front()->engine.record().id.view()) + ": ";
  watched.usage = std::make_unique<UsageCompanion>(
      place, watched.giving.get(), [&terminal, lease](const std::string& text) { terminal.tell(lease + text); });
}

How keep_until(Place& place, int pid_fd, Lapse& lapse, const Watched& watched) {
  std::vector<Companion*> beside;
  watched.add_all(beside);
  for (;;) {
    std::vector<pollfd> fds{{pid_fd, POLLIN, 0}, {place.signals().fd(), POLLIN, 0}};
    for (const auto& seat : place.seats()) fds.push_back({seat->ledger.bell_fd(), POLLIN, 0});
    int64_t due_us = lapse.due_us();
    for (const Companion* one : beside) {
      fds.push_back({one->fd(), POLLIN, 0});
      if (one->due_us() >= 0) due_us = due_us < 0 ? one->due_us() : std::min(due_us, one->due_us());
    }
    int left_ms = -1;
    if (due_us >= 0)
      left_ms = static_cast<int>(std::clamp<int64_t>((due_us - monotonic_us() + 999) / 1000, 0, 1 << 30));
    const int ready = ::poll(fds.data(), fds.size(), left_ms);
    if (ready < 0 && errno != EINTR) return How::unknown;
    if (fds[0].revents != 0) return How::process_ended;
    if (lapse.act()) {
      lapse.look();  // it may have been moved, and the bell not been heard yet
      if (lapse.act()) return How::ttl;
    }
    signalfd_siginfo info{};
    while (place.signals().next(info))
      if (info.ssi_signo == SIGTERM) return How::told;
    if (watched.usage) (void)watched.usage->act();
    if (watched.giving) (void)watched.giving->act();
    // Two leases can make one place: who releases one of them gives back both.
    for (const auto& seat : place.seats()) {
      if (seat->engine.seated()) seat->ledger.quiet_bell();
      (void)seat->engine.refresh();
      if (seat->ledger.told_to_leave() && !seat->ledger.entries_stand()) return How::released;
    }
    lapse.look();
    for (const auto& loss : watched.losses) {
      (void)loss->act();
      if (loss->lost()) return How::lost;
    }
  }
}

[[noreturn]] void be_keeper(Place& place, int pid_fd, int ready_fd) {
  const OwnTerminal terminal;
  Lapse lapse(place, terminal);
  ::setsid();
  (void)!::chdir("/");
  std::vector<int> keep{pid_fd, ready_fd, place.signals().fd(), place.pool().fd()};
  for (const auto& seat : place.seats())
    for (const int fd : seat->ledger.descriptors()) keep.push_back(fd);
  for (const auto& seat : place.seats()) {
    seat->life.reset();
    seat->ledger.note_processes({::getpid()});
  }
  close_all_but(keep);  // a `$(...)` waits for whoever has its pipe
  (void)!::write(ready_fd, "k", 1);
  ::close(ready_fd);
  Watched watched;
  begin_to_watch(place, terminal, watched);
  LeaseEnd end;
  end.how = keep_until(place, pid_fd, lapse, watched);
  if (watched.giving) end.reason = watched.giving->kept_its_place();
  if (watched.usage) end.peak_bytes = watched.usage->peak_bytes();
  watched = {};
  for (const auto& seat : place.seats()) seat->ledger.quiet_bell();  // who released it may have rung a moment ago
  std::vector<Job> jobs = place.jobs();
  for (const auto& seat : place.seats()) seat->engine.leave_line_if_away();
  place.release_all();
  record_end(std::move(jobs), end);
  ::_exit(0);
}

}  // namespace

pid_t start_keeper(Place& place, int pid_fd) {
  std::array<int, 2> ready{};
  if (::pipe2(ready.data(), O_CLOEXEC) != 0) return -1;
  const pid_t keeper = ::fork();
  if (keeper == 0) {
    ::close(ready[0]);
    be_keeper(place, pid_fd, ready[1]);
  }
  ::close(ready[1]);
  char byte = 0;
  const bool stands = keeper > 0 && retry_eintr([&] { return ::read(ready[0], &byte, 1); }) == 1;
  ::close(ready[0]);
  return stands ? keeper : -1;
}

}  // namespace berth
