#include "cli/options.h"

#include <getopt.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "cli/nearest.h"
#include "cli/option_values.h"
#include "cli/policy_settings.h"

namespace berth {

namespace {

Error usage(std::string sentence) { return Error{ErrorKind::usage, 0, std::move(sentence)}; }

// What these verbs understand; see is_option_of() for what one of them does not.
constexpr auto place_options = std::to_array<option>({
    {"gpus", required_argument, nullptr, opt_gpus},
    {"vram", required_argument, nullptr, opt_vram},
    {"compute", required_argument, nullptr, opt_compute},
    {"turn", no_argument, nullptr, opt_turn},
    {"only", required_argument, nullptr, opt_only},
    {"exclude", required_argument, nullptr, opt_exclude},
    {"min-free", required_argument, nullptr, opt_min_free},
    {"max-util", required_argument, nullptr, opt_max_util},
    {"cpu", required_argument, nullptr, opt_cpu},
    {"ram", required_argument, nullptr, opt_ram},
    {"resource", required_argument, nullptr, opt_resource},
    {"no-wait", no_argument, nullptr, opt_no_wait},
    {"timeout", required_argument, nullptr, opt_timeout},
    {"priority", required_argument, nullptr, opt_priority},
    {"expect", required_argument, nullptr, opt_expect},
    {"label", required_argument, nullptr, opt_label},
    {"name", required_argument, nullptr, opt_label},
    {"threads", required_argument, nullptr, opt_threads},
    {"dry-run", no_argument, nullptr, opt_dry_run},
    {"on-timeout", required_argument, nullptr, opt_on_timeout},
    {"over-use", required_argument, nullptr, opt_over_use},
    {"on-lost", required_argument, nullptr, opt_on_lost},
    {"reclaimable", optional_argument, nullptr, opt_reclaimable},
    {"idle", required_argument, nullptr, opt_idle},
    {"on-reclaim", required_argument, nullptr, opt_on_reclaim},
    {"on-return", required_argument, nullptr, opt_on_return},
    {"reclaim-signal", required_argument, nullptr, opt_reclaim_signal},
    {"preemptible", no_argument, nullptr, opt_preemptible},
    {"requeue", no_argument, nullptr, opt_requeue},
    {"cap", required_argument, nullptr, opt_cap},
    {"limit", required_argument, nullptr, opt_limit},
    {"grace", required_argument, nullptr, opt_grace},
    {"until", required_argument, nullptr, opt_until},
    {"exec", no_argument, nullptr, opt_exec},
    {"nice", required_argument, nullptr, opt_nice},
    {"idle-io", no_argument, nullptr, opt_idle_io},
    {"pin", no_argument, nullptr, opt_pin},
    {"visible", required_argument, nullptr, opt_visible},
    {"for", required_argument, nullptr, opt_for},
    {"ttl", required_argument, nullptr, opt_ttl},
    {"print", required_argument, nullptr, opt_print},
    {"help", no_argument, nullptr, opt_help},
    {nullptr, 0, nullptr, 0},
});

bool is_option_of(PlaceVerb verb, int code) {
  if (verb == PlaceVerb::resize)
    return code == opt_gpus || code == opt_vram || code == opt_compute || code == opt_cpu || code == opt_ram ||
           code == opt_resource || code == opt_ttl || code == opt_help;
  switch (code) {
    case opt_for:
    case opt_ttl:
    case opt_print: return verb == PlaceVerb::hold;
    case opt_visible:
    case opt_cap:
    case opt_min_free:
    case opt_max_util:
    case opt_no_wait:
    case opt_timeout:
    case opt_idle:
    case opt_reclaimable:
    case opt_on_reclaim:
    case opt_on_return:
    case opt_grace:
    case opt_pin:
    case opt_priority: return verb != PlaceVerb::adopt;
    case opt_turn:
    case opt_dry_run:
    case opt_on_timeout:
    case opt_over_use:
    case opt_on_lost:
    case opt_threads:
    case opt_limit:
    case opt_reclaim_signal:
    case opt_preemptible:
    case opt_requeue:
    case opt_until:
    case opt_exec:
    case opt_nice:
    case opt_idle_io: return verb == PlaceVerb::run;
    default: return true;
  }
}

Error explain_bad_option(int code, const std::string& word, PlaceVerb verb) {
  const std::string name = word.substr(0, word.find('='));
  if (code == ':') return usage("option " + printable(name) + " needs a value");
  if (word.starts_with("--") && name != word) {
    for (const std::string& known : place_option_words(verb))
      if (known == name) return usage("option " + name + " takes no value");
  }
  const std::string near = nearest(name, place_option_words(verb));
  return usage("unknown option " + printable(name) + (near.empty() ? "" : "; did you mean " + near + "?"));
}

Result<RunOptions> parse_place(const std::vector<std::string>& words, PlaceVerb verb) {
  // getopt wants a mutable argv with the program's name in front; "+" stops it at the first word
  // that is no option, ":" leaves the talking to us.
  std::vector<std::string> copy{"berth run"};
  copy.insert(copy.end(), words.begin(), words.end());
  std::vector<char*> argv;
  argv.reserve(copy.size() + 1);
  for (std::string& word : copy) argv.push_back(word.data());
  const int argc = static_cast<int>(argv.size());
  argv.push_back(nullptr);
  std::vector<GivenOption> given;
  opterr = 0;
  optind = 0;
  for (;;) {
    const int at = optind == 0 ? 1 : optind;
    const int code = getopt_long(argc, argv.data(), "+:g:r:p:l:h", place_options.data(), nullptr);
    if (code == -1) break;
    const std::string word = copy[static_cast<size_t>(std::min(at, argc - 1))];
    if (code == '?' || code == ':') return explain_bad_option(code, word, verb);
    if (!is_option_of(verb, code))
      return usage(printable(word) + " is an option of " + (is_option_of(PlaceVerb::run, code) ? "run" : "hold"));
    given.push_back({code, optarg == nullptr ? "" : optarg});
  }
  auto out = read_options(given);
  if (!out) return out;
  out->command.assign(words.begin() + (optind - 1), words.end());
  out->verb = verb;
  return out;
}

}  // namespace

std::vector<std::string> place_option_words(PlaceVerb verb) {
  std::vector<std::string> words;
  for (const option& o : place_options) {
    if (o.name == nullptr || !is_option_of(verb, o.val)) continue;
    words.push_back(std::string("--") + o.name);
    if (o.val < opt_vram) words.push_back({'-', static_cast<char>(o.val)});
  }
  return words;
}

Result<RunOptions> parse_run(const std::vector<std::string>& words) {
  auto out = parse_place(words, PlaceVerb::run);
  if (!out.ok() || !out->command.empty() || out->help || out->dry_run) return out;
  if (!out->turn) return usage("there is no command to run");
  if (out->timeout_ms || out->limit_ms || out->replace_self || out->until_command)
    return usage(
        "--turn without a command goes on until its input ends, so --timeout, --limit, --exec and --until mean "
        "nothing to it");
  return out;
}

Result<RunOptions> parse_hold(const std::vector<std::string>& words) {
  auto out = parse_place(words, PlaceVerb::hold);
  if (out.ok() && !out->command.empty())
    return usage("hold runs nothing, so " + printable(out->command.front()) + " is one word too many; berth run does");
  return out;
}

namespace {

// For a verb whose one word that is no option may stand before or behind those: leaves it in `command`.
Result<RunOptions> parse_with_word(std::vector<std::string> words, PlaceVerb verb, const std::string& missing,
                                   const std::string& synopsis) {
  std::string word;
  if (!words.empty() && !words.front().starts_with("-")) {
    word = words.front();
    words.erase(words.begin());
  }
  auto out = parse_place(words, verb);
  if (!out.ok() || out->help) return out;
  std::vector<std::string> left = std::exchange(out->command, {});
  if (word.empty() && !left.empty()) {
    word = left.front();
    left.erase(left.begin());
  }
  if (word.empty()) return usage(missing + " " + synopsis);
  if (!left.empty()) return usage(printable(left.front()) + " is one word too many; " + synopsis);
  out->command = {word};
  return out;
}

}  // namespace

Result<RunOptions> parse_adopt(const std::vector<std::string>& words) {
  auto out = parse_with_word(words, PlaceVerb::adopt, "which process?", "berth adopt PID [CLAIM]");
  if (!out.ok() || out->help) return out;
  if (out->expect_learned)
    return usage("--expect learned: how much of it is over already, nobody knows; say a duration");
  const std::string pid = out->command.front();
  out->command.clear();
  const auto number = parse_count(pid);
  if (!number || *number == 0 || *number > INT32_MAX) return usage(printable(pid) + " is not the id of a process");
  out->for_pid = *number;
  return out;
}

Result<RunOptions> parse_resize(const std::vector<std::string>& words) {
  auto out = parse_with_word(words, PlaceVerb::resize, "which lease?", "berth resize ID CLAIM");
  if (out.ok() && !out->help && !out->claim_given && !out->ttl_ms)
    return usage("there is no CLAIM: what is it to have?");
  return out;
}

Result<NamedAmount> parse_setting(const std::string& word, bool zero_allowed) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos || equals == 0) return usage("\"" + printable(word) + "\" is not NAME=AMOUNT");
  NamedAmount out{word.substr(0, equals), 0};
  const std::string value = word.substr(equals + 1);
  if (zero_allowed && is_policy_setting(out.name)) {
    const auto amount = parse_policy_value(out.name, value);
    if (!amount) return amount.error();
    out.amount = *amount;
    return out;
  }
  if (!valid_resource_name(out.name)) {
    const bool device = out.name == "gpu" || out.name == "vram" || out.name == "compute";
    return usage("\"" + printable(out.name) + "\" " +
                 (device ? "is the driver's to say; use --gpus, --vram and --compute"
                         : "is no name for a resource (letters, digits, '_', '.', '-'; at most 32)"));
  }
  std::optional<int64_t> amount;
  amount = out.name == "ram" ? parse_size_bytes(value) : parse_count(value);
  if (!amount || (*amount == 0 && !zero_allowed))
    return usage("\"" + printable(value) + "\" is not an amount of " + out.name);
  out.amount = *amount;
  return out;
}

}  // namespace berth
