// reclaim and busy: to ask a lease by hand to give way, and to say that it is not to be asked just now.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "base/user.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/leases_around.h"
#include "cli/pool_access.h"
#include "cli/say.h"
#include "cli/told.h"
#include "ledger/local_ledger.h"

namespace berth {

namespace {

constexpr int lowest_span_fd = 190;  // out of the way of `exec 3</dev/null` and its like

bool wants_help(const Words& words) { return !words.empty() && (words.front() == "--help" || words.front() == "-h"); }

// The holder that is meant: by its id or a unique prefix.
Result<Party> find_holder(const Snapshot& snapshot, const std::string& prefix) {
  std::vector<Party> found;
  for (const Party& party : snapshot.parties)
    if (party.id.view().starts_with(prefix)) found.push_back(party);
  if (found.empty()) return Error{ErrorKind::not_found, 0, "there is no lease " + printable(prefix)};
  if (found.size() > 1) return Error{ErrorKind::usage, 0, printable(prefix) + " begins the id of more than one lease"};
  return found.front();
}

// For the owner, who would see nothing happen: why it does not give way at once, or "". What was asked by hand
// stands until it does.
std::string why_not_now(LocalLedger& ledger, const Party& party) {
  const std::string name = "the lease " + std::string(party.id.view());
  if (ledger.is_in_span(party))
    return name + " is busy (berth busy), so it does not give way yet; it is asked when that is over";
  if (party.way.unseen)
    return name + " gives way only while its GPUs do nothing (--reclaimable=idle), and no driver tells whether they do";
  if (party.way.busy)
    return name + " is at work, so it does not give way yet; it is asked when its GPUs do nothing (--reclaimable=idle)";
  return "";
}

// What is to be said to who asked, or "".
Result<std::string> ask(LocalPool& pool, const std::string& prefix) {
  const auto snapshot = pool.read();
  if (!snapshot) return snapshot.error();
  const auto party = find_holder(*snapshot, prefix);
  if (!party) return party.error();
  const std::string name = "the lease " + std::string(party->id.view());
  const auto told = ask_party(pool, *party);
  if (!told) return Error{ErrorKind::not_found, 0, "there is no lease " + printable(prefix)};
  if (told->uid != ::geteuid() && !is_root())
    return Error{ErrorKind::not_yours, 0, "that lease belongs to " + user_name(told->uid)};
  if (party->state != PartyState::held) return Error{ErrorKind::not_found, 0, name + " has no place: it waits"};
  if (!party->way.reclaimable)
    return Error{ErrorKind::not_found, 0, name + " did not say that it may be asked (--reclaimable)"};
  LocalLedger ledger(pool);
  std::string why_not = why_not_now(ledger, *party);
  if (auto requested = ledger.request(*party); !requested) return requested.error();
  if (!ledger.ring(*party).answered)
    return Error{ErrorKind::not_found, 0, name + " has nobody left to ask: its berth was killed; its command runs on"};
  return why_not;
}

// Marks every lease around us that may be asked, for as long as anybody has the descriptors: who gives way lets go of
// what those inside of it work with.
void begin_span() {
  auto pool = open_pool(LocalPool::IfMissing::fail);
  if (!pool) return;
  const LeasesAround around = leases_around(*pool);
  const auto snapshot = pool->read();
  if (!snapshot) return;
  for (const LeaseAround& lease : around.leases) {
    const int index = snapshot->find(lease.id);
    if (index < 0 || !snapshot->parties[static_cast<size_t>(index)].way.reclaimable) continue;
    const Party& party = snapshot->parties[static_cast<size_t>(index)];
    LocalLedger ledger(*pool);
    const auto span = ledger.begin_span(party);
    if (!span || ::fcntl(span->get(), F_DUPFD, lowest_span_fd) < 0) {
      say("its lease cannot be marked as busy" + (span ? "" : ": " + span.error().message));
      return;
    }
    (void)ledger.ring(party);
  }
}

}  // namespace

int reclaim_command(const Words& words) {
  if (wants_help(words)) return put(help_text("reclaim")) ? exit_status::ok : exit_status::unavailable;
  if (words.empty()) return fail_usage("reclaim", "which lease? ID is what status shows");
  if (words.front().starts_with("-")) return fail_unknown("reclaim", words.front());
  if (words.size() > 1) return fail_usage("reclaim", "one lease at a time");
  auto pool = open_pool_of_a_lease();
  if (!pool) return fail(pool.error());
  const auto asked = ask(*pool, words.front());
  if (!asked) return fail(asked.error());
  if (!asked->empty()) say(*asked);
  return exit_status::ok;
}

// Becomes the command: the span ends with the last process that has its descriptor.
int busy_command(const Words& words) {
  if (wants_help(words)) return put(help_text("busy")) ? exit_status::ok : exit_status::unavailable;
  Words command = words;
  if (!command.empty() && command.front() == "--")
    command.erase(command.begin());
  else if (!command.empty() && command.front().starts_with("-"))
    return fail_unknown("busy", command.front());
  if (command.empty()) return fail_usage("busy", "there is no command to run");
  begin_span();
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(argv.front(), argv.data());
  const int failed = errno;
  say_not_started(command.front(), failed);
  return failed == ENOENT ? 127 : 126;
}

}  // namespace berth
