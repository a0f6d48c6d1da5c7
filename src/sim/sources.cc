#include "sim/sources.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <sstream>

#include "base/text.h"

namespace berth::sim {

namespace {

constexpr int64_t gib = int64_t{1} << 30;
constexpr double hour = 3600;
constexpr double longest_run_s = 24 * hour;

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  double uniform() { return std::uniform_real_distribution<double>(0, 1)(random_); }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
  // Log-normal by its median; within a factor of 100 of it.
  double around(double median, double sigma) {
    const double x = std::normal_distribution<double>(0, sigma)(random_);
    return median * std::exp(std::clamp(x, -4.6, 4.6));
  }
  double gap(double mean) { return std::exponential_distribution<double>(1 / mean)(random_); }

 private:
  std::mt19937_64 random_;
};

TraceJob job(double at_s, double run_s, std::string user, std::string label, int gpus, int64_t cpu, int64_t ram_gib) {
  TraceJob out;
  out.arrival_us = std::llround(at_s * 1e6);
  out.run_us = std::llround(std::clamp(run_s, 1.0, 3 * 24 * hour)) * 1'000'000;
  out.user = std::move(user);
  out.label = std::move(label);
  out.gpu.count = gpus;
  out.counters = {{"cpu", cpu}, {"ram", ram_gib * gib}};
  return out;
}

void share_card(TraceJob& of, int64_t vram_gib) {
  of.gpu.whole = false;
  of.gpu.vram_bytes = vram_gib * gib;
}

TraceJob lab_job(Dice& dice, double at_s) {
  const std::string user = "u" + std::to_string(static_cast<int>(12 * dice.uniform() * dice.uniform()));
  const double kind = dice.uniform();
  if (kind < 0.34) return job(at_s, dice.around(0.7 * hour, 1.1), user, "train1", 1, 6, 48);
  if (kind < 0.46) return job(at_s, dice.around(1.5 * hour, 1.0), user, "train2", 2, 12, 96);
  if (kind < 0.57) return job(at_s, dice.around(2 * hour, 1.0), user, "train4", 4, 24, 192);
  if (kind < 0.62) return job(at_s, dice.around(1.5 * hour, 0.9), user, "train8", 8, 64, 512);
  if (kind < 0.85) {
    TraceJob out = job(at_s, dice.around(0.4 * hour, 1.2), user, "notebook", 1, 2, 16);
    const int64_t sizes[] = {8, 16, 20, 24, 40};
    share_card(out, sizes[dice.below(5)]);
    return out;
  }
  if (kind < 0.95) return job(at_s, dice.around(0.15 * hour, 1.0), user, "eval", 1, 4, 24);
  return job(at_s, dice.around(0.3 * hour, 1.0), user, "data", 0, 24, 64);
}

TraceJob agent_job(Dice& dice, double at_s) {
  const std::string user = "agent" + std::to_string(dice.below(8));
  const double kind = dice.uniform();
  if (kind < 0.35) return job(at_s, dice.around(180, 0.9), user, "build", 0, 8 + 8 * dice.below(4), 16);
  if (kind < 0.75) {
    TraceJob out = job(at_s, dice.around(240, 1.0), user, "model", 1, 2, 12);
    const int64_t sizes[] = {8, 12, 16, 24, 40, 60};
    share_card(out, sizes[dice.below(6)]);
    return out;
  }
  if (kind < 0.90) return job(at_s, dice.around(1200, 0.9), user, "tune", 1, 6, 48);
  if (kind < 0.96) return job(at_s, dice.around(1800, 0.8), user, "train", 2 + 2 * dice.below(2), 16, 128);
  return job(at_s, dice.around(900, 0.7), user, "wide-eval", 8, 48, 384);
}

}  // namespace

Box eight_cards() { return {{{"cpu", 96}, {"ram", 768 * gib}}, 8, 80 * gib}; }

Trace generate(Kind kind, size_t jobs, uint64_t seed) {
  Dice dice(seed * 977 + static_cast<uint64_t>(kind));
  Trace trace;
  trace.box = eight_cards();
  double at_s = 0;
  while (trace.jobs.size() < jobs) {
    switch (kind) {
      case Kind::lab: {
        const double of_day = std::fmod(at_s, 24 * hour) / (24 * hour);
        at_s += dice.gap(300) / (1 + 0.8 * std::sin(2 * 3.14159265 * (of_day - 0.3)));
        trace.jobs.push_back(lab_job(dice, at_s));
        break;
      }
      case Kind::hog: {
        at_s += dice.gap(600);
        trace.jobs.push_back(lab_job(dice, at_s));
        if (dice.uniform() >= 0.03) break;
        const double median = dice.around(0.7 * hour, 0.5);
        const int array = 20 + dice.below(40);
        for (int i = 0; i < array && trace.jobs.size() < jobs; ++i)
          trace.jobs.push_back(job(at_s + i, median * dice.uniform(0.7, 1.3), "hog", "array", 1, 6, 48));
        break;
      }
      case Kind::agents:
        at_s += dice.gap(60);
        trace.jobs.push_back(agent_job(dice, at_s));
        break;
      case Kind::sweep: {
        at_s += dice.gap(2 * hour);
        const std::string user = "u" + std::to_string(dice.below(6));
        if (dice.uniform() < 0.45) {
          const double median = dice.around(0.5 * hour, 0.8);
          const int array = 8 + dice.below(40);
          for (int i = 0; i < array && trace.jobs.size() < jobs; ++i)
            trace.jobs.push_back(job(at_s + i, median * dice.uniform(0.7, 1.3), user, "sweep", 1, 6, 48));
          break;
        }
        const double wide = dice.uniform();
        const int gpus = wide < 0.5 ? 2 : wide < 0.85 ? 4 : 8;
        trace.jobs.push_back(
            job(at_s, dice.around(1.5 * hour, 0.9), user, "train", gpus, int64_t{8} * gpus, int64_t{64} * gpus));
        break;
      }
    }
  }
  std::stable_sort(trace.jobs.begin(), trace.jobs.end(),
                   [](const TraceJob& a, const TraceJob& b) { return a.arrival_us < b.arrival_us; });
  scale_to_load(trace, 1);
  return trace;
}

Result<Trace> convert_openb(std::string_view csv, size_t every, size_t from) {
  Trace trace;
  trace.box = {{{"cpu", 128'000}, {"ram", 1024 * gib}}, 8, 80 * gib};
  std::istringstream lines{std::string(csv)};
  std::string line;
  std::getline(lines, line);
  if (!line.starts_with("name,cpu_milli,memory_mib,num_gpu,gpu_milli"))
    return Error{ErrorKind::usage, 0, "this is not openb_pod_list_default.csv"};
  std::vector<TraceJob> all;
  while (std::getline(lines, line)) {
    std::vector<std::string> words;
    std::istringstream in(line);
    for (std::string word; std::getline(in, word, ',');) words.push_back(word);
    if (words.size() < 11 || words[9].empty() || words[10].empty()) continue;  // it never ran
    const auto number = [&](size_t i) { return std::strtod(words[i].c_str(), nullptr); };
    TraceJob out;
    out.arrival_us = std::llround(number(8) * 1e6);
    out.run_us = std::llround(std::clamp(number(9) - number(10), 1.0, longest_run_s) * 1e6);
    out.user = words[6];
    out.label = words[0];
    out.counters = {{"cpu", std::max<int64_t>(1, std::llround(number(1)))},
                    {"ram", std::max<int64_t>(1, std::llround(number(2)) << 20)}};
    out.gpu.count = static_cast<int>(number(3));
    if (out.gpu.count == 1 && number(4) < 1000) {
      out.gpu.whole = false;
      out.gpu.compute_pct = std::max(1, static_cast<int>(std::lround(number(4) / 10)));
      out.gpu.vram_bytes = std::llround(static_cast<double>(trace.box.vram_bytes) * number(4) / 1000);
    }
    if (possible(trace.box, out)) all.push_back(std::move(out));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const TraceJob& a, const TraceJob& b) { return a.arrival_us < b.arrival_us; });
  for (size_t i = all.size() / 10 + from; i < all.size(); i += std::max<size_t>(1, every)) trace.jobs.push_back(all[i]);
  if (trace.jobs.size() < 2) return Error{ErrorKind::usage, 0, "no tasks are left"};
  scale_to_load(trace, 1);
  return trace;
}

Result<Trace> convert_swf(std::string_view text) {
  Trace trace;
  int64_t processors = 0;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(";")) {
      const size_t at = line.find("MaxProcs:");
      if (at != std::string::npos) processors = std::strtoll(line.c_str() + at + 9, nullptr, 10);
      continue;
    }
    std::istringstream in(line);
    double field[18];
    int fields = 0;
    while (fields < 18 && in >> field[fields]) ++fields;
    if (fields < 12 || field[3] <= 0) continue;  // it never ran
    const double wanted = field[7] > 0 ? field[7] : field[4];
    if (wanted <= 0) continue;
    TraceJob out;
    out.arrival_us = std::llround(field[1] * 1e6);
    out.run_us = std::llround(field[3] * 1e6);
    out.expect_s = field[8] > 0 ? std::llround(field[8]) : 0;
    out.user = "u" + std::to_string(std::llround(field[11]));
    out.counters = {{"cpu", std::llround(wanted)}};
    trace.jobs.push_back(std::move(out));
  }
  for (const TraceJob& j : trace.jobs) processors = std::max(processors, j.counters[0].amount);
  if (trace.jobs.empty()) return Error{ErrorKind::usage, 0, "no jobs that ran"};
  trace.box.capacities = {{"cpu", processors}};
  std::stable_sort(trace.jobs.begin(), trace.jobs.end(),
                   [](const TraceJob& a, const TraceJob& b) { return a.arrival_us < b.arrival_us; });
  return trace;
}

}  // namespace berth::sim
