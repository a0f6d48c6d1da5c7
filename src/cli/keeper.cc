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
#include "cli/wait_minder.h"

namespace berth {

namespace {

How keep_until(Place& place, int pid_fd, Lapse& lapse, std::unique_ptr<GivingWayCompanion>& giving) {
  // Its stderr is nobody's: what it has to say is in the history.
  std::vector<std::unique_ptr<LossCompanion>> losses;
  for (const auto& seat : place.seats()) {
    losses.push_back(std::make_unique<LossCompanion>(place.pool(), *seat, /*ends_command=*/false));
    losses.back()->stands_for(::getpid());
  }
  if (place.may_yield())
    giving = std::make_unique<GivingWayCompanion>(place, *place.seats().front(), hook_environment(place.environment()));
  for (;;) {
    std::vector<pollfd> fds{{pid_fd, POLLIN, 0}, {place.signals().fd(), POLLIN, 0}};
    for (const auto& seat : place.seats()) fds.push_back({seat->ledger.bell_fd(), POLLIN, 0});
    int64_t due_us = lapse.due_us();
    for (const auto& loss : losses) {
      fds.push_back({loss->fd(), POLLIN, 0});
      if (loss->due_us() >= 0) due_us = due_us < 0 ? loss->due_us() : std::min(due_us, loss->due_us());
    }
    if (giving) {
      fds.push_back({giving->fd(), POLLIN, 0});
      if (giving->due_us() >= 0) due_us = due_us < 0 ? giving->due_us() : std::min(due_us, giving->due_us());
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
    if (giving) (void)giving->act();
    // Two leases can make one place: who releases one of them gives back both.
    for (const auto& seat : place.seats()) {
      if (seat->engine.seated()) seat->ledger.quiet_bell();
      (void)seat->engine.refresh();
      if (seat->ledger.told_to_leave() && !seat->ledger.entries_stand()) return How::released;
    }
    lapse.look();
    for (const auto& loss : losses) {
      (void)loss->act();
      if (loss->lost()) return How::lost;
    }
  }
}

[[noreturn]] void be_keeper(Place& place, int pid_fd, int ready_fd) {
  Lapse lapse(place);
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
  std::unique_ptr<GivingWayCompanion> giving;
  LeaseEnd end;
  end.how = keep_until(place, pid_fd, lapse, giving);
  if (giving) end.reason = giving->kept_its_place();
  giving.reset();
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
