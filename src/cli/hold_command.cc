// hold: a place without a command, for as long as some process lives.
//
// The place is taken here, in the foreground, so that failures and signals are the caller's to see. Then
// a keeper is forked that inherits the life: it leaves the caller's session, closes every descriptor of
// the caller's and sleeps on a pidfd until the process is gone. Only when it stands is anything printed.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>

#include "base/pid_namespace.h"
#include "base/process_stat.h"
#include "base/small_file.h"
#include "base/sys.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/keeper.h"
#include "cli/lease_end.h"
#include "cli/place.h"
#include "cli/say.h"
#include "cli/wait_minder.h"
#include "history/learned.h"

namespace berth {

namespace {

using Print = RunOptions::Print;

// The pipe that stdout goes into, or nothing.
std::optional<struct stat> pipe_of_stdout() {
  struct stat st {};
  if (::fstat(STDOUT_FILENO, &st) != 0 || !S_ISFIFO(st.st_mode)) return std::nullopt;
  return st;
}

bool same_file(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

// A subshell that `$(...)` waits for is a copy of its parent, writes into our pipe, and ends after us.
bool is_subshell_of_a_substitution(pid_t pid) {
  const auto ours = pipe_of_stdout();
  const std::string proc = "/proc/" + std::to_string(pid);
  struct stat theirs {};
  if (!ours || ::stat((proc + "/fd/1").c_str(), &theirs) != 0 || !same_file(*ours, theirs)) return false;
  const auto text = read_text(proc + "/stat");
  const auto stat = text ? parse_process_stat(*text) : std::nullopt;
  const auto words = read_text(proc + "/cmdline");
  if (!stat || !words || words->empty()) return false;
  const auto parents = read_text("/proc/" + std::to_string(stat->parent) + "/cmdline");
  return parents.ok() && *words == *parents;
}

// What is wrong with holding for this process, or "". Says what makes one doubt.
std::string fault_of_holding_for(std::optional<int64_t>& pid) {
  if (!pid) {
    pid = ::getppid();
    if (pipe_of_stdout())
      say("hold: stdout is a pipe, so the parent process (pid " + std::to_string(*pid) +
          ") may be a subshell that ends at once; say --for $$");
  } else if (*pid == ::getpid()) {
    return "--for " + std::to_string(*pid) +
           " is this very berth, which ends at once: inside $(...) say --for $$ and not $BASHPID, and use no exec";
  } else if (*pid == ::getppid() && is_subshell_of_a_substitution(::getppid())) {
    say("hold: pid " + std::to_string(*pid) + " is the subshell of a $(...), which ends at once; say --for $$");
  }
  return "";
}

// `eval "$(berth hold --print env 2>&1)"` would run what is said for people, others' labels included.
bool talk_would_be_run(const RunOptions& options) {
  const auto out = pipe_of_stdout();
  struct stat err {};
  return options.print == Print::env && out && ::fstat(STDERR_FILENO, &err) == 0 && same_file(*out, err);
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

// What makes `eval` fail as we do.
std::string exit_text(int status) { return "(exit " + std::to_string(status) + ")\n"; }

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

int hold_place(RunOptions options) {
  if (talk_would_be_run(options))
    return fail_usage("hold", "stdout and stderr are one pipe, so eval would run the messages: leave 2>&1 away");
  if (const auto fault = fault_of_holding_for(options.for_pid); !fault.empty()) return fail_usage("hold", fault);
  const int64_t pid = *options.for_pid;
  const OwnFd pid_fd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  if (!pid_fd.valid()) return fail_usage("hold", "there is no process " + std::to_string(pid) + " to hold for");
  WaitMinder minder(pid_fd.get(), options.print == Print::env ? exit_text(exit_status::unavailable) : "");
  if (options.expect_learned) options.expect_s = learned_expect_s(options.label, "").value_or(0);
  Place place(std::move(options));
  if (const auto failed = place.prepare()) return *failed;
  bool gave_up = false;
  const PartyInfo info{pid, place.options().label, "hold for pid " + std::to_string(pid), "", own_pid_namespace()};
  const auto failed = place.take(info, gave_up);
  if (gave_up) say("gave up after " + show_milliseconds(*place.options().timeout_ms) + " without a place");
  if (failed) {
    record_past(place);
    return *failed;
  }
  place.tell_if_load_is_not_told();
  place.tell_if_not_reclaimable();
  const std::string text = text_for(place);
  const pid_t keeper = start_keeper(place, pid_fd.get());
  if (keeper < 0) {
    place.release_all();
    say("hold: no process could be made to keep the place");
    return exit_status::unavailable;
  }
  if (!put(text)) {
    ::kill(keeper, SIGTERM);  // nobody heard what he holds
    minder.dismiss();
    ::_exit(exit_status::unavailable);
  }
  minder.dismiss();
  // Nothing here may be released on the way out: it is the keeper's now.
  ::_exit(exit_status::ok);
}

}  // namespace

int hold_command(const Words& words) {
  auto options = parse_hold(words);
  // Whatever goes wrong, `eval "$(berth hold --print env)"` must fail as well.
  const auto asks_env = [](const std::string& word) {
    return word == "env" || (word.starts_with("--p") && word.ends_with("=env"));
  };
  const bool for_eval = options.ok() ? options->print == Print::env : std::any_of(words.begin(), words.end(), asks_env);
  if (options.ok() && options->help) return put(help_text("hold")) ? exit_status::ok : exit_status::unavailable;
  const int status = options.ok() ? hold_place(std::move(*options)) : fail_usage("hold", options.error().message);
  if (for_eval) (void)put(exit_text(status));
  return status;
}

}  // namespace berth
