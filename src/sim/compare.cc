#include "sim/compare.h"

#include <algorithm>
#include <cstdio>

namespace berth::sim {

namespace {

constexpr uint64_t seeds = 10;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

struct Row {
  std::vector<double> utilisation, makespan, wait, worst, fairness, others, bound;  // absolute
  std::vector<double> makespan_of_fifo, wait_of_fifo, worst_of_fifo, wait_of_easy;  // seed by seed
};

double ratio(double a, double b) { return b > 0 ? a / b : 1; }

// All contenders on the same traces: one source, one load.
class Match {
 public:
  Match(const std::vector<Contender>& all, const Source& source, Estimates estimates, int load_pct)
      : all_(all), source_(source), estimates_(estimates), load_pct_(load_pct), rows_(all.size()) {}

  // What somebody did that cannot be, or "".
  std::string run(uint64_t seed) {
    Trace trace = source_.make(seed);
    scale_to_load(trace, load_pct_ / 100.0);
    estimate(trace, estimates_, seed);
    jobs_ = trace.jobs.size();
    Score fifo;
    Score easy;
    for (size_t i = 0; i < all_.size(); ++i) {
      if (all_[i].ignores_estimates && estimates_ == Estimates::wrong) continue;  // as with true ones
      const Schedule schedule = all_[i].run(trace, seed);
      const std::string wrong = fault(trace, schedule);
      if (!wrong.empty()) return all_[i].name + " on " + source_.name + ": " + wrong + "\n";
      const Score s = score(trace, schedule);
      if (i == 0) fifo = s;
      if (i == 1) easy = s;
      Row& row = rows_[i];
      row.utilisation.push_back(100 * s.utilisation);
      row.makespan.push_back(s.makespan_s / 3600);
      row.wait.push_back(s.mean_wait_s / 60);
      row.worst.push_back(s.worst_wait_s / 3600);
      row.fairness.push_back(s.fairness);
      row.others.push_back(s.others_wait_s / 60);
      row.bound.push_back(s.over_bound);
      row.makespan_of_fifo.push_back(ratio(s.makespan_s, fifo.makespan_s));
      row.wait_of_fifo.push_back(ratio(s.mean_wait_s, fifo.mean_wait_s));
      row.worst_of_fifo.push_back(ratio(s.worst_wait_s, fifo.worst_wait_s));
      if (i >= 1) row.wait_of_easy.push_back(ratio(s.mean_wait_s, easy.mean_wait_s));
    }
    return "";
  }

  [[nodiscard]] std::string table() const {
    char line[400];
    std::snprintf(line, sizeof line, "\n%s, %zu jobs, load %d %%, estimates %s\n\n", source_.name.c_str(), jobs_,
                  load_pct_, estimates_ == Estimates::exact ? "true" : "wrong by up to 3 times");
    std::string out = line;
    out +=
        "| | used % | makespan h | mean wait min | worst wait h | fairness | others' wait min | over bound | "
        "makespan / FIFO | wait / "
        "FIFO | worst / FIFO | wait / EASY |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    for (size_t i = 0; i < all_.size(); ++i) {
      const Row& r = rows_[i];
      if (r.wait.empty()) continue;
      std::snprintf(
          line, sizeof line, "| %s | %.1f | %.1f | %.1f | %.1f | %.2f | %.1f | %.3f | %.2f | %.2f | %.2f | %.2f |\n",
          all_[i].name.c_str(), median(r.utilisation), median(r.makespan), median(r.wait), median(r.worst),
          median(r.fairness), median(r.others), median(r.bound), median(r.makespan_of_fifo), median(r.wait_of_fifo),
          median(r.worst_of_fifo), r.wait_of_easy.empty() ? 0.0 : median(r.wait_of_easy));
      out += line;
    }
    return out;
  }

 private:
  const std::vector<Contender>& all_;
  const Source& source_;
  Estimates estimates_;
  int load_pct_;
  std::vector<Row> rows_;
  size_t jobs_ = 0;
};

}  // namespace

std::vector<Contender> contenders(const Besides& besides) {
  std::vector<Contender> out;
  const auto baseline = [&](const char* name, Baseline which) {
    out.push_back({name, [which](const Trace& t, uint64_t seed) { return run_baseline(t, which, seed); },
                   which != Baseline::easy && which != Baseline::fifo});
  };
  baseline("strict FIFO", Baseline::fifo);
  baseline("EASY", Baseline::easy);
  baseline("flock", Baseline::flock);
  baseline("small first, polling", Baseline::small_first);
  baseline("least work first, knows all", Baseline::shortest);
  const auto silent = [](const Trace& t) {
    Trace without = t;
    estimate(without, Estimates::none, 0);
    return without;
  };
  out.push_back({"berth, no estimates", [=](const Trace& t, uint64_t) { return replay(silent(t), {}); }, true});
  out.push_back({"berth, learned estimates",
                 [=](const Trace& t, uint64_t) { return replay(silent(t), {.saying = Saying::learned}); }, true});
  out.push_back({"berth", [](const Trace& t, uint64_t) { return replay(t, {}); }, false});
  if (besides.share)
    out.push_back({"berth, fair share",
                   [share = *besides.share](const Trace& t, uint64_t) { return replay(t, {.policy = share}); }, false});
  if (besides.everybody)
    out.push_back({"berth, everybody looks",
                   [](const Trace& t, uint64_t) { return replay(t, {.looking = Looking::at_changes}); }, false});
  return out;
}

std::string compare(const std::vector<Source>& sources, const Besides& besides) {
  std::string out;
  const std::vector<Contender> all = contenders(besides);
  for (const Source& source : sources)
    for (const Estimates estimates : {Estimates::exact, Estimates::wrong})
      for (const int load_pct : {70, 100, 130}) {
        Match match(all, source, estimates, load_pct);
        for (uint64_t seed = 1; seed <= seeds; ++seed)
          if (std::string fault = match.run(seed); !fault.empty()) return fault;
        out += match.table();
      }
  return out;
}

}  // namespace berth::sim
