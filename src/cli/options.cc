#include "cli/options.h"

#include <getopt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <utility>

#include "base/text.h"
#include "cli/policy_settings.h"

namespace berth {

namespace {

Error usage(std::string sentence) { return Error{ErrorKind::usage, 0, std::move(sentence)}; }

enum Option : int {
  opt_gpus = 'g',
  opt_resource = 'r',
  opt_priority = 'p',
  opt_label = 'l',
  opt_help = 'h',
  opt_vram = 256,
  opt_compute,
  opt_turn,
  opt_only,
  opt_exclude,
  opt_min_free,
  opt_max_util,
  opt_cpu,
  opt_ram,
  opt_no_wait,
  opt_timeout,
  opt_expect,
  opt_threads,
  opt_dry_run,
  opt_on_timeout,
  opt_on_lost,
  opt_reclaimable,
  opt_idle,
  opt_on_reclaim,
  opt_on_return,
  opt_reclaim_signal,
  opt_preemptible,
  opt_requeue,
  opt_over_use,
  opt_cap,
  opt_limit,
  opt_grace,
  opt_until,
  opt_exec,
  opt_nice,
  opt_idle_io,
  opt_pin,
  opt_visible,
  opt_for,
  opt_ttl,
  opt_print,
};

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

Result<> add_counter(Claim& claim, const std::string& name, int64_t amount) {
  for (const NamedAmount& c : claim.counters)
    if (c.name == name) return usage("\"" + name + "\" is claimed twice");
  if (claim.counters.size() >= max_claim_counters)
    return usage("a claim can name at most " + std::to_string(max_claim_counters) + " resources");
  claim.counters.push_back({name, amount});
  return success();
}

// An amount of at least 1, or what is wrong with it.
Result<int64_t> amount_of(const std::string& option, const std::string& text, bool is_size) {
  const auto value = is_size ? parse_size_bytes(text) : parse_count(text);
  if (value && *value > 0) return *value;
  return usage(option + " " + printable(text) +
               (is_size ? " is not a size like 8G or 512M" : " is not a number from 1 up"));
}

Result<int64_t> duration_of(const std::string& option, const std::string& text) {
  const auto ms = parse_duration_ms(text);
  if (ms) return *ms;
  return usage(option + " " + printable(text) + " is not a duration like 90s, 5m or 1h30m");
}

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
    case opt_idle:
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

class RunReader {
 public:
  Result<> take(int code, const std::string& value) {
    RunOptions& o = out_;
    switch (code) {
      case opt_help: o.help = true; return success();
      case opt_no_wait: o.no_wait = true; return success();
      case opt_turn: o.turn = true; return success();
      case opt_label: o.label = value; return success();
      case opt_only:
        only_given_ = true;
        o.only = split(value, ',');
        return success();
      case opt_exclude: o.exclude = split(value, ','); return success();
      case opt_gpus:
        return number(
            "--gpus", value, [&](int64_t n) { gpus_ = n; }, 1, max_claim_devices);
      case opt_compute:
        return number(
            "--compute", value, [&](int64_t n) { compute_ = n; }, 1, 100);
      case opt_max_util:
        return number(
            "--max-util", value, [&](int64_t n) { o.max_util_pct = static_cast<int>(n); }, 0, 100);
      case opt_threads:
        return number(
            "--threads", value, [&](int64_t n) { o.threads = n; }, 1, 1'000'000);
      case opt_vram: return size("--vram", value, [&](int64_t n) { vram_ = n; });
      case opt_min_free: return size("--min-free", value, [&](int64_t n) { o.min_free_bytes = n; });
      case opt_cpu: return counter("cpu", amount_of("--cpu", value, false));
      case opt_ram: return counter("ram", amount_of("--ram", value, true));
      case opt_resource: return resource(value);
      case opt_priority: return priority(value);
      case opt_timeout: return duration("--timeout", value, [&](int64_t ms) { o.timeout_ms = ms; });
      case opt_expect: return expect(value);
      case opt_dry_run: o.dry_run = true; return success();
      case opt_exec: o.replace_self = true; return success();
      case opt_idle_io: o.idle_io = true; return success();
      case opt_pin: o.pin = true; return success();
      case opt_limit: return duration("--limit", value, [&](int64_t ms) { o.limit_ms = ms; });
      case opt_grace: return duration("--grace", value, [&](int64_t ms) { o.grace_ms = ms; });
      case opt_nice: return nice(value);
      case opt_cap: return choice("--cap", value, "none", "env", o.cap_env);
      case opt_reclaimable: return reclaimable(value);
      case opt_idle: return duration("--idle", value, [&](int64_t ms) { o.idle_ms = std::max<int64_t>(1000, ms); });
      case opt_on_reclaim: o.on_reclaim = value; return success();
      case opt_on_return: o.on_return = value; return success();
      case opt_reclaim_signal: return reclaim_signal(value);
      case opt_preemptible: o.preemptible = true; return success();
      case opt_requeue: o.requeue = true; return success();
      case opt_over_use: return choice("--over-use", value, "warn", "term", o.over_use_ends);
      case opt_on_lost: return choice("--on-lost", value, "warn", "term", o.loss_ends);
      case opt_on_timeout: return choice("--on-timeout", value, "fail", "run", o.run_after_timeout);
      case opt_until: return choice("--until", value, "tree", "command", o.until_command);
      case opt_visible: return choice("--visible", value, "index", "uuid", o.visible_by_uuid);
      case opt_for: return process(value);
      case opt_ttl: return duration("--ttl", value, [&](int64_t ms) { o.ttl_ms = ms; });
      case opt_print: return print(value);
      default: return usage("unknown option");
    }
  }

  Result<RunOptions> finish() {
    GpuClaim& gpu = out_.claim.gpu;
    out_.gpus_given = gpus_ != 0;
    out_.claim_given = gpus_ != 0 || vram_ != 0 || compute_ != 0 || !out_.claim.counters.empty();
    const bool shared = vram_ != 0 || compute_ != 0;
    gpu.count = static_cast<int>(gpus_);
    if (gpus_ == 0 && (shared || out_.claim.counters.empty())) gpu.count = 1;
    gpu.whole = !shared;
    gpu.vram_bytes = vram_;
    gpu.compute_pct = static_cast<int>(compute_);
    const bool picky = only_given_ || !out_.exclude.empty() || out_.min_free_bytes != 0 || out_.max_util_pct != 100;
    if (out_.turn) {
      if (auto alone = check_turn_alone(picky); !alone) return alone.error();
      gpu = GpuClaim{};  // which cards, the lease says
    }
    if (picky && gpu.count == 0) gpu.count = 1;  // who picks among GPUs wants one
    if (only_given_ && out_.only.empty()) return usage("--only names no device");
    if (out_.pin && berth::amount_of(out_.claim, "cpu") == 0)
      return usage("--pin is about the processors of --cpu N: how many is it to have for its own?");
    if (out_.run_after_timeout && !out_.timeout_ms) return usage("--on-timeout run needs a --timeout");
    if (out_.replace_self &&
        (out_.limit_ms || out_.until_command || out_.over_use_ends || out_.loss_ends || out_.reclaimable))
      return usage(
          "--exec leaves nobody to do what --limit, --until command, --over-use term, --on-lost term and --reclaimable "
          "ask for");
    if (!out_.reclaimable)
      for (const auto& [given, word] :
           {std::pair(!out_.on_reclaim.empty(), "--on-reclaim"), std::pair(!out_.on_return.empty(), "--on-return"),
            std::pair(out_.reclaim_signal_given, "--reclaim-signal"), std::pair(out_.preemptible, "--preemptible"),
            std::pair(out_.requeue, "--requeue")})
        if (given) return usage(std::string(word) + " says how to give way: it needs --reclaimable");
    if (out_.reclaim_when_idle && !out_.idle_ms) return usage("--reclaimable=idle needs an --idle: after how long?");
    if (out_.idle_ms && out_.replace_self) return usage("--exec leaves nobody to do what --idle asks for");
    if (!out_.on_return.empty() && out_.on_reclaim.empty()) return usage("--on-return needs an --on-reclaim");
    return std::move(out_);
  }

 private:
  [[nodiscard]] Result<> check_turn_alone(bool picky) const {
    const char* other = gpus_ != 0      ? "--gpus"
                        : vram_ != 0    ? "--vram"
                        : compute_ != 0 ? "--compute"
                        : only_given_   ? "--only"
                        : picky         ? "--exclude, --min-free or --max-util"
                                        : nullptr;
    if (other == nullptr) return success();
    return usage("--turn is on the cards of the lease around it, all of them, so " + std::string(other) +
                 " does not go with it; --compute 100 takes such words");
  }
  template <class Store>
  static Result<> number(const char* option, const std::string& text, Store store, int64_t least, int64_t most) {
    const auto value = parse_count(text);
    if (!value || *value < least || *value > most)
      return usage(std::string(option) + " " + printable(text) + " is not a number from " + std::to_string(least) +
                   " to " + std::to_string(most));
    store(*value);
    return success();
  }
  template <class Store>
  static Result<> size(const char* option, const std::string& text, Store store) {
    const auto value = amount_of(option, text, true);
    if (!value) return value.error();
    store(value.value());
    return success();
  }
  template <class Store>
  static Result<> duration(const char* option, const std::string& text, Store store) {
    const auto value = duration_of(option, text);
    if (!value) return value.error();
    store(value.value());
    return success();
  }
  Result<> counter(const std::string& name, const Result<int64_t>& amount) {
    if (!amount) return amount.error();
    return add_counter(out_.claim, name, amount.value());
  }
  Result<> resource(const std::string& word) {
    auto setting = parse_setting(word, /*zero_allowed=*/false);
    if (!setting) return setting.error().within("--resource");
    return add_counter(out_.claim, setting->name, setting->amount);
  }
  // One of two words; true for the second.
  static Result<> choice(const char* option, const std::string& value, const char* usual, const char* other,
                         bool& out) {
    out = value == other;
    if (out || value == usual) return success();
    return usage(std::string(option) + " " + printable(value) + " is neither " + usual + " nor " + other);
  }
  Result<> nice(const std::string& text) {
    const auto value = parse_signed(text);
    if (!value || *value < -20 || *value > 19)
      return usage("--nice " + printable(text) + " is not a number from -20 to 19");
    out_.nice = static_cast<int>(*value);
    return success();
  }
  Result<> reclaimable(const std::string& text) {
    out_.reclaimable = true;
    out_.reclaim_when_idle = text == "idle";
    if (text.empty() || out_.reclaim_when_idle) return success();
    return usage("--reclaimable=" + printable(text) + " is neither --reclaimable nor --reclaimable=idle");
  }
  Result<> process(const std::string& text) {
    const auto value = parse_count(text);
    if (!value || *value < 1 || *value > int64_t{1} << 22)
      return usage("--for " + (text.empty() ? "\"\"" : printable(text)) +
                   " is no process id: say $$ where a shell reads it, $$$$ in a Makefile, elsewhere the number");
    out_.for_pid = *value;
    return success();
  }
  Result<> expect(const std::string& text) {
    out_.expect_s = 0;
    out_.expect_learned = text == "learned";
    if (out_.expect_learned || text == "none") return success();
    return duration("--expect", text, [&](int64_t ms) { out_.expect_s = (ms + 999) / 1000; });
  }
  Result<> print(const std::string& text) {
    using Print = RunOptions::Print;
    if (text == "id") return out_.print = Print::id, success();
    if (text == "env") return out_.print = Print::env, success();
    if (text == "uuid") return out_.print = Print::uuid, success();
    if (text == "index") return out_.print = Print::index, success();
    return usage("--print " + printable(text) + " is none of id, env, uuid and index");
  }
  Result<> reclaim_signal(const std::string& text) {
    out_.reclaim_signal_given = true;
    const auto number = parse_count(text);
    const std::string name = text.starts_with("SIG") ? text.substr(3) : text;
    for (int signal = 1; signal < 32; ++signal) {
      const char* known = ::sigabbrev_np(signal);
      if ((number && *number == signal) || (known != nullptr && name == known)) {
        out_.reclaim_signal = signal;
        return success();
      }
    }
    return usage("--reclaim-signal " + printable(text) + " is no signal like TERM or USR1");
  }
  Result<> priority(const std::string& text) {
    const auto value = parse_signed(text);
    if (!value || *value < -max_priority_magnitude || *value > max_priority_magnitude)
      return usage("--priority " + printable(text) + " is not a whole number");
    out_.priority = static_cast<int>(*value);
    return success();
  }

  RunOptions out_;
  int64_t gpus_ = 0;
  int64_t vram_ = 0;
  int64_t compute_ = 0;
  bool only_given_ = false;
};

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
  for (std::string& word : copy) argv.push_back(word.data());
  const int argc = static_cast<int>(argv.size());
  argv.push_back(nullptr);
  RunReader reader;
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
    if (auto took = reader.take(code, optarg == nullptr ? "" : optarg); !took) return took.error();
  }
  auto out = reader.finish();
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

namespace {

// Slips between two words: a letter too many, one too few, another one, or two that changed places.
size_t slips(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  constexpr size_t longest = 64;  // nothing that is known is half as long
  std::string best;
  size_t best_slips = 3;  // further than two slips is no slip
  for (const std::string& candidate : known) {
    const size_t found = word.size() > longest ? best_slips : slips(word, candidate);
    if (found >= best_slips) continue;
    best_slips = found;
    best = candidate;
  }
  return best;
}

}  // namespace berth
