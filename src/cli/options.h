// The words of the command line, read. No effects: what is wrong comes back as a usage error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/claim.h"

namespace berth {

enum class PlaceVerb { run, hold, adopt, resize };

struct RunOptions {
  PlaceVerb verb = PlaceVerb::run;
  bool help = false;
  Claim claim;               // without eligible devices: those need a probe
  bool claim_given = false;  // anything of CLAIM was said; without it `claim` is one GPU
  bool gpus_given = false;   // --gpus was said
  bool turn = false;         // --turn: the compute of the cards of the lease around us
  std::vector<std::string> only;
  std::vector<std::string> exclude;
  int64_t min_free_bytes = 0;
  int max_util_pct = 100;
  bool no_wait = false;
  std::optional<int64_t> timeout_ms;
  int priority = 0;
  int64_t expect_s = 0;
  bool expect_learned = false;  // --expect learned: see history/learned.h
  std::string label;
  bool dry_run = false;
  bool run_after_timeout = false;
  std::optional<int64_t> threads;
  std::optional<int64_t> limit_ms;
  int64_t grace_ms = 30'000;
  bool until_command = false;  // the lease ends with CMD alone, not with its tree
  bool replace_self = false;   // --exec
  bool cap_env = false;        // --cap env
  bool over_use_ends = false;  // --over-use term
  std::optional<int64_t> idle_ms;
  bool reclaim_when_idle = false;  // --reclaimable=idle: asked only while it is so
  bool loss_ends = false;          // --on-lost term
  bool reclaimable = false;
  std::string on_reclaim;  // "": no hook
  std::string on_return;
  int reclaim_signal = 15;  // SIGTERM
  bool reclaim_signal_given = false;
  bool preemptible = false;
  bool requeue = false;
  std::optional<int> nice;
  bool idle_io = false;
  bool pin = false;  // processors of its own, as many as it claims
  bool visible_by_uuid = false;
  std::vector<std::string> command;
  // hold only
  enum class Print { id, env, uuid, index };
  Print print = Print::id;
  std::optional<int64_t> for_pid;
  std::optional<int64_t> ttl_ms;
};

// Reads `words` (without "berth" and "run"). Options end at the first word that is none, or at the
// first "--", which is dropped; everything after that is the command's, to the byte.
[[nodiscard]] Result<RunOptions> parse_run(const std::vector<std::string>& words);
// The same for `hold`, which has no command.
[[nodiscard]] Result<RunOptions> parse_hold(const std::vector<std::string>& words);

// The same for `adopt`: the process before or behind the options, as `for_pid`.
[[nodiscard]] Result<RunOptions> parse_adopt(const std::vector<std::string>& words);

// The same for `resize`: the lease's id, before or behind the options, as the one word of `command`.
[[nodiscard]] Result<RunOptions> parse_resize(const std::vector<std::string>& words);

// What they take: "--gpus", "-g" and so on. For "did you mean", and for the test that holds
// the help against it.
[[nodiscard]] std::vector<std::string> place_option_words(PlaceVerb verb);

// "cpu=12" as `berth set` takes it: ram as a SIZE, a policy as policy_settings.h says, all else a count.
[[nodiscard]] Result<NamedAmount> parse_setting(const std::string& word, bool zero_allowed);

}  // namespace berth
