#include "cli/option_values.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/text.h"

namespace berth {

namespace {

Error usage(std::string sentence) { return Error{ErrorKind::usage, 0, std::move(sentence)}; }

// A word as a sentence has it: an empty one is seen.
std::string shown(const std::string& text) { return text.empty() ? "\"\"" : printable(text); }

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
  return usage(option + " " + shown(text) +
               (is_size ? " is not a size like 8G or 512M" : " is not a number from 1 up"));
}

Result<int64_t> duration_of(const std::string& option, const std::string& text) {
  const auto ms = parse_duration_ms(text);
  if (ms) return *ms;
  return usage(option + " " + shown(text) + " is not a duration like 90s, 5m or 1h30m");
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
      case opt_only: add_devices(value, o.only); return o.only.empty() ? usage("--only names no device") : success();
      case opt_exclude: add_devices(value, o.exclude); return success();
      case opt_gpus: return gpus(value);
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
      case opt_limit: return limit(value);
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
    if (auto claimed = complete_claim(); !claimed) return claimed.error();
    if (auto fit = check_words(); !fit) return fit.error();
    if (auto fit = check_ways(); !fit) return fit.error();
    return std::move(out_);
  }

 private:
  Result<> complete_claim() {
    GpuClaim& gpu = out_.claim.gpu;
    out_.gpus_given = gpus_ != 0;
    out_.claim_given = gpus_ != 0 || vram_ != 0 || compute_ != 0 || !out_.claim.counters.empty();
    const bool shared = vram_ != 0 || compute_ != 0;
    gpu.count = static_cast<int>(gpus_);
    if (gpus_ == 0 && (shared || out_.claim.counters.empty())) gpu.count = 1;
    gpu.whole = !shared;
    gpu.vram_bytes = vram_;
    gpu.compute_pct = static_cast<int>(compute_);
    const bool picky =
        !out_.only.empty() || !out_.exclude.empty() || out_.min_free_bytes != 0 || out_.max_util_pct != 100;
    if (out_.turn) {
      if (auto alone = check_turn_alone(picky); !alone) return alone.error();
      gpu = GpuClaim{};  // which cards, the lease says
    }
    if (picky && gpu.count == 0) gpu.count = 1;  // who picks among GPUs wants one
    return success();
  }

  [[nodiscard]] Result<> check_words() const {
    if (out_.pin && berth::amount_of(out_.claim, "cpu") == 0)
      return usage("--pin is about the processors of --cpu N: how many is it to have for its own?");
    if (out_.run_after_timeout && !out_.timeout_ms) return usage("--on-timeout run needs a --timeout");
    if (out_.replace_self &&
        (out_.limit_ms || out_.until_command || out_.over_use_ends || out_.loss_ends || out_.reclaimable))
      return usage(
          "--exec leaves nobody to do what --limit, --until command, --over-use term, --on-lost term and --reclaimable "
          "ask for");
    if (out_.idle_ms && out_.replace_self) return usage("--exec leaves nobody to do what --idle asks for");
    return success();
  }

  // Of giving way.
  [[nodiscard]] Result<> check_ways() const {
    if (!out_.reclaimable)
      for (const auto& [given, word] :
           {std::pair(!out_.on_reclaim.empty(), "--on-reclaim"), std::pair(!out_.on_return.empty(), "--on-return"),
            std::pair(out_.reclaim_signal_given, "--reclaim-signal"), std::pair(out_.preemptible, "--preemptible"),
            std::pair(out_.requeue, "--requeue")})
        if (given) return usage(std::string(word) + " says how to give way: it needs --reclaimable");
    if (out_.reclaim_when_idle && !out_.idle_ms) return usage("--reclaimable=idle needs an --idle: after how long?");
    if (!out_.on_return.empty() && out_.on_reclaim.empty()) return usage("--on-return needs an --on-reclaim");
    return success();
  }

  [[nodiscard]] Result<> check_turn_alone(bool picky) const {
    const char* other = gpus_ != 0           ? "--gpus"
                        : vram_ != 0         ? "--vram"
                        : compute_ != 0      ? "--compute"
                        : !out_.only.empty() ? "--only"
                        : picky              ? "--exclude, --min-free or --max-util"
                                             : nullptr;
    if (other == nullptr) return success();
    return usage("--turn is on the cards of the lease around it, all of them, so " + std::string(other) +
                 " does not go with it; --compute 100 takes such words");
  }
  template <class Store>
  static Result<> number(const char* option, const std::string& text, Store store, int64_t least, int64_t most) {
    const auto value = parse_count(text);
    if (!value || *value < least || *value > most)
      return usage(std::string(option) + " " + shown(text) + " is not a number from " + std::to_string(least) + " to " +
                   std::to_string(most));
    store(*value);
    return success();
  }
  // More than a pool can have is no wrong call: it can never be met, and whoever plans says so.
  Result<> gpus(const std::string& text) {
    constexpr int64_t beyond_any_machine = 1'000'000;
    const auto value = amount_of("--gpus", text, false);
    if (!value) return value.error();
    gpus_ = std::min(value.value(), beyond_any_machine);
    return success();
  }
  // Said twice it is both lists: whoever excludes a card wants it left alone.
  static void add_devices(const std::string& value, std::vector<std::string>& out) {
    for (const std::string& word : split(value, ',')) {
      const size_t first = word.find_first_not_of(' ');
      if (first != std::string::npos) out.push_back(word.substr(first, word.find_last_not_of(' ') + 1 - first));
    }
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
    return usage(std::string(option) + " " + shown(value) + " is neither " + usual + " nor " + other);
  }
  Result<> nice(const std::string& text) {
    const auto value = parse_signed(text);
    if (!value || *value < -20 || *value > 19)
      return usage("--nice " + shown(text) + " is not a number from -20 to 19");
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
      return usage("--for " + shown(text) +
                   " is no process id: say $$ where a shell reads it, $$$$ in a Makefile, elsewhere the number");
    out_.for_pid = *value;
    return success();
  }
  // As for timeout(1), 0 is none.
  Result<> limit(const std::string& text) {
    out_.limit_ms.reset();
    return duration("--limit", text, [&](int64_t ms) {
      if (ms > 0) out_.limit_ms = ms;
    });
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
    return usage("--print " + shown(text) + " is none of id, env, uuid and index");
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
    return usage("--reclaim-signal " + shown(text) + " is no signal like TERM or USR1");
  }
  // What is beyond all reason is lowered like any that is too high.
  Result<> priority(const std::string& text) {
    const auto value = parse_signed(text);
    if (!value) return usage("--priority " + shown(text) + " is not a whole number");
    constexpr int64_t most = max_priority_magnitude;
    out_.priority = static_cast<int>(std::clamp(value.value(), -most, most));
    return success();
  }

  RunOptions out_;
  int64_t gpus_ = 0;
  int64_t vram_ = 0;
  int64_t compute_ = 0;
};

}  // namespace

Result<RunOptions> read_options(const std::vector<GivenOption>& given) {
  RunReader reader;
  for (const GivenOption& option : given)
    if (auto took = reader.take(option.code, option.value); !took) return took.error();
  return reader.finish();
}

}  // namespace berth
