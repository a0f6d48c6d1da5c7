// berth-sim: traces of jobs through berth's plan and through others, on a virtual clock.
#include <getopt.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>

#include "sim/compare.h"

namespace {

using namespace berth;
using namespace berth::sim;

constexpr const char* usage = R"(berth-sim: what berth's plan makes of a trace of jobs

  berth-sim run [options] SOURCE        one trace, berth beside the baselines
  berth-sim trace [options] SOURCE      writes the trace instead
  berth-sim starts [options] SOURCE     when berth starts each of its jobs, in seconds, a line each
  berth-sim compare [options] SOURCE... medians over ten seeds at 70, 100 and 130 % load

SOURCE  lab, agents, sweep,  made up by --seed, --jobs of them
        hog
        FILE.csv             openb_pod_list_default.csv, thinned: every --every-th task
        FILE.swf             the Standard Workload Format
        FILE                 a trace (see src/sim/trace.h); - is standard input

  --jobs N           2000
  --seed N           1
  --every N          10
  --load PERCENT     stretches the arrivals; a trace or .swf as it is, others 100
  --estimates WORD   exact, wrong (by up to 3 times), none, given; a trace given, others exact
  --share fair       as well: berth with policy.share=fair
  --half-life S      its policy.half_life, 86400
  --max-debt S       its policy.max_debt, 3600
  --svg FILE         draws berth's schedule
  --everybody        as well: everybody looks at every change, which must come to the same
)";

struct Options {
  size_t jobs = 2000;
  uint64_t seed = 1;
  size_t every = 10;
  double load = 0;
  std::string estimates;
  std::string svg;
  Besides besides;
  Policy share;
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "berth-sim: %s\n", why.c_str());
  std::exit(2);
}

std::string slurp(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream in(path, std::ios::binary);
  if (!in) give_up("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

Trace must(Result<Trace> trace) {
  if (!trace) give_up(trace.error().message);
  return std::move(*trace);
}

Source source_of(const std::string& word, const Options& o) {
  Source source;
  source.name = word.substr(word.find_last_of('/') + 1);
  for (const auto& [name, kind] :
       {std::pair{"lab", Kind::lab}, {"agents", Kind::agents}, {"sweep", Kind::sweep}, {"hog", Kind::hog}})
    if (word == name) {
      source.make = [kind = kind, jobs = o.jobs](uint64_t seed) { return generate(kind, jobs, seed); };
      return source;
    }
  const std::string text = slurp(word);
  if (word.ends_with(".csv")) {
    source.make = [text, every = o.every](uint64_t seed) { return must(convert_openb(text, every, seed % every)); };
    return source;
  }
  Trace trace = must(word.ends_with(".swf") ? convert_swf(text) : parse_trace(text));
  source.make = [trace = std::move(trace)](uint64_t) { return trace; };
  source.as_given = true;
  return source;
}

Estimates estimates_of(const Options& o, bool as_given) {
  if (o.estimates.empty()) return as_given ? Estimates::as_given : Estimates::exact;
  if (o.estimates == "exact") return Estimates::exact;
  if (o.estimates == "wrong") return Estimates::wrong;
  if (o.estimates == "none") return Estimates::none;
  if (o.estimates == "given") return Estimates::as_given;
  give_up("--estimates exact, wrong, none or given");
}

Trace trace_of(const Source& source, const Options& o) {
  Trace trace = source.make(o.seed);
  if (o.load > 0) scale_to_load(trace, o.load / 100);
  estimate(trace, estimates_of(o, source.as_given), o.seed);
  return trace;
}

int run(const Source& source, const Options& o) {
  const Trace trace = trace_of(source, o);
  std::printf("%s: %zu jobs, load %.0f %%\n", source.name.c_str(), trace.jobs.size(), 100 * offered_load(trace));
  std::printf("%-28s %6s %11s %10s %10s %10s %9s %10s %6s %9s %7s\n", "", "used %", "makespan h", "wait min", "p95 min",
              "worst h", "fairness", "others min", "bound", "looks", "ms");
  for (const Contender& contender : contenders(o.besides)) {
    const auto began = std::chrono::steady_clock::now();
    const Schedule schedule = contender.run(trace, o.seed);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    const std::string wrong = fault(trace, schedule);
    if (!wrong.empty()) give_up(contender.name + ": " + wrong);
    const Score s = score(trace, schedule);
    std::printf("%-28s %6.1f %11.2f %10.1f %10.1f %10.2f %9.3f %10.1f %6.3f %9lld %7.0f\n", contender.name.c_str(),
                100 * s.utilisation, s.makespan_s / 3600, s.mean_wait_s / 60, s.p95_wait_s / 60, s.worst_wait_s / 3600,
                s.fairness, s.others_wait_s / 60, s.over_bound, static_cast<long long>(schedule.looks), took.count());
    if (!o.svg.empty() && contender.name == "berth") std::ofstream(o.svg) << draw(trace, schedule);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const option longs[] = {{"jobs", 1, nullptr, 'j'},      {"seed", 1, nullptr, 's'},  {"every", 1, nullptr, 'e'},
                          {"load", 1, nullptr, 'l'},      {"svg", 1, nullptr, 'v'},   {"everybody", 0, nullptr, 'a'},
                          {"estimates", 1, nullptr, 'x'}, {"share", 1, nullptr, 'f'}, {"half-life", 1, nullptr, 'i'},
                          {"max-debt", 1, nullptr, 'd'},  {"help", 0, nullptr, 'h'},  {nullptr, 0, nullptr, 0}};
  for (int c = 0; (c = ::getopt_long(argc, argv, "", longs, nullptr)) >= 0;) {
    if (c == 'j') o.jobs = std::strtoul(optarg, nullptr, 10);
    if (c == 's') o.seed = std::strtoul(optarg, nullptr, 10);
    if (c == 'e') o.every = std::max(1UL, std::strtoul(optarg, nullptr, 10));
    if (c == 'l') o.load = std::strtod(optarg, nullptr);
    if (c == 'v') o.svg = optarg;
    if (c == 'a') o.besides.everybody = true;
    if (c == 'f') o.share.fair_share = std::string(optarg) == "fair";
    if (c == 'i') o.share.half_life_s = std::strtol(optarg, nullptr, 10);
    if (c == 'd') o.share.max_debt_s = std::strtol(optarg, nullptr, 10);
    if (c == 'x') o.estimates = optarg;
    if (c == '?') return 2;
    if (c == 'h') {
      std::fputs(usage, stdout);
      return 0;
    }
  }
  if (argc - optind < 2) {
    std::fputs(usage, stderr);
    return 2;
  }
  if (o.share.half_life_s < 1 || o.share.max_debt_s < 0) give_up("--half-life and --max-debt take seconds");
  if (o.share.fair_share) o.besides.share = o.share;
  const std::string verb = argv[optind];
  if (verb == "compare") {
    for (int i = optind + 1; i < argc; ++i) {
      std::fputs(compare({source_of(argv[i], o)}, o.besides).c_str(), stdout);
      std::fflush(stdout);
    }
    return 0;
  }
  const Source source = source_of(argv[optind + 1], o);
  if (verb == "run") return run(source, o);
  if (verb == "starts") {
    for (const Placement& place : replay(trace_of(source, o), {.policy = o.share}).jobs)
      std::printf("%.3f\n", static_cast<double>(place.start_us) / 1e6);
    return 0;
  }
  if (verb != "trace") give_up("run, trace, starts or compare");
  std::fputs(show_trace(trace_of(source, o)).c_str(), stdout);
  return 0;
}
