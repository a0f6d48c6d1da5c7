// hold: a place without a command, for as long as some process lives.
//
// The place is taken here, in the foreground, so that failures and signals are the caller's to see. Then
// a keeper is forked that inherits the life: it leaves the caller's session, closes every descriptor of
// the caller's - a `$(...)` must not wait for it - and sleeps on a pidfd until the process is gone. Only
// when it stands is anything printed.
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "base/pid_namespace.h"
#include "base/sys.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/place.h"
#include "cli/say.h"

namespace berth {

namespace {

using Print = RunOptions::Print;

bool stdout_is_pipe() {
  struct stat st {};
  return ::fstat(STDOUT_FILENO, &st) == 0 && S_ISFIFO(st.st_mode);
}

// For a POSIX shell: 'text', with ' as '\''.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string joined(const std::vector<Device>& devices, bool by_uuid) {
  std::string out;
  for (const Device& d : devices) out += (out.empty() ? "" : ",") + (by_uuid ? d.uuid : std::to_string(d.index));
  return out;
}

std::string text_for(const Place& place) {
  LeaseEnvironment lease = place.environment();
  lease.life_fd = -1;  // it is the keeper's, not the caller's
  switch (place.options().print) {
    case Print::id: return lease.id + "\n";
    case Print::uuid: return joined(lease.devices, true) + "\n";
    case Print::index: return joined(lease.devices, false) + "\n";
    case Print::env: break;
  }
  std::string out;
  for (const std::string& entry : lease_environment({}, lease)) {
    const size_t equals = entry.find('=');
    out += "export " + entry.substr(0, equals) + "=" + quoted(entry.substr(equals + 1)) + ";\n";
  }
  return out;
}

// Everything the caller had open but `keep` (sorted) is closed; 0, 1 and 2 become /dev/null.
void drop_descriptors(std::vector<int> keep) {
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  std::sort(keep.begin(), keep.end());
  unsigned next = 3;
  for (const int fd : keep) {
    const auto kept = static_cast<unsigned>(fd);
    if (kept < next) continue;
    if (kept > next) ::syscall(SYS_close_range, next, kept - 1, 0);
    next = kept + 1;
  }
  ::syscall(SYS_close_range, next, ~0U, 0);
}

void keep_until(Place& place, int pid_fd) {
  const auto& ttl_ms = place.options().ttl_ms;
  const int64_t end_us = ttl_ms ? monotonic_us() + *ttl_ms * 1000 : -1;
  for (;;) {
    std::vector<pollfd> fds{{pid_fd, POLLIN, 0}, {place.signals().fd(), POLLIN, 0}};
    for (const auto& seat : place.seats()) fds.push_back({seat->ledger.bell_fd(), POLLIN, 0});
    int left_ms = -1;
    if (end_us >= 0)
      left_ms = static_cast<int>(std::clamp<int64_t>((end_us - monotonic_us() + 999) / 1000, 0, 1 << 30));
    const int ready = ::poll(fds.data(), fds.size(), left_ms);
    if (ready < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) return;
    if (end_us >= 0 && monotonic_us() >= end_us) return;
    signalfd_siginfo info{};
    while (place.signals().next(info))
      if (info.ssi_signo == SIGTERM) return;
    bool ours = false;
    for (const auto& seat : place.seats()) {
      seat->ledger.quiet_bell();
      const auto still = seat->engine.still_ours();
      ours = ours || !still.ok() || *still;
    }
    if (!ours) return;  // released
  }
}

[[noreturn]] void be_keeper(Place& place, int pid_fd, int ready_fd) {
  ::setsid();
  (void)!::chdir("/");
  std::vector<int> keep{pid_fd, ready_fd, place.signals().fd(), place.pool().fd()};
  for (const auto& seat : place.seats())
    for (const int fd : seat->ledger.descriptors()) keep.push_back(fd);
  std::erase(keep, -1);
  for (const auto& seat : place.seats()) {
    seat->life.reset();
    seat->ledger.note_processes({::getpid()});
  }
  drop_descriptors(keep);
  (void)!::write(ready_fd, "k", 1);
  ::close(ready_fd);
  keep_until(place, pid_fd);
  place.release_all();
  ::_exit(0);
}

// Forks the keeper and waits until it stands; its pid, or -1.
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

int hold_place(RunOptions options) {
  if (!options.for_pid) {
    options.for_pid = ::getppid();
    if (stdout_is_pipe())
      say("hold: stdout is a pipe, so the parent process (pid " + std::to_string(*options.for_pid) +
          ") may be a subshell that ends at once; say --for $$");
  }
  const int64_t pid = *options.for_pid;
  const OwnFd pid_fd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  if (!pid_fd.valid()) return fail_usage("hold", "there is no process " + std::to_string(pid) + " to hold for");
  Place place(std::move(options));
  if (const auto failed = place.prepare()) return *failed;
  bool gave_up = false;
  const PartyInfo info{pid, place.options().label, "hold for pid " + std::to_string(pid), "", own_pid_namespace()};
  const auto failed = place.take(info, gave_up);
  if (gave_up) say("gave up after " + show_duration(*place.options().timeout_ms / 1000) + " without a place");
  if (failed) return *failed;
  const std::string text = text_for(place);
  const pid_t keeper = start_keeper(place, pid_fd.get());
  if (keeper < 0) {
    place.release_all();
    say("hold: no process could be made to keep the place");
    return exit_status::unavailable;
  }
  if (!put(text)) {
    ::kill(keeper, SIGTERM);  // nobody heard what he holds
    ::_exit(exit_status::unavailable);
  }
  // Nothing here may be released on the way out: it is the keeper's now.
  ::_exit(exit_status::ok);
}

}  // namespace

int hold_command(const Words& words) {
  auto options = parse_hold(words);
  // Whatever goes wrong, `eval "$(berth hold --print env)"` must fail as well.
  const bool for_eval = options.ok() ? options->print == Print::env
                                     : std::find(words.begin(), words.end(), "env") != words.end() ||
                                           std::find(words.begin(), words.end(), "--print=env") != words.end();
  if (options.ok() && options->help) return put(help_text("hold")) ? exit_status::ok : exit_status::unavailable;
  const int status = options.ok() ? hold_place(std::move(*options)) : fail_usage("hold", options.error().message);
  if (for_eval) (void)put("(exit " + std::to_string(status) + ")\n");
  return status;
}

}  // namespace berth
