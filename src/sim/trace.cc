#include "sim/trace.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <sstream>

#include "base/text.h"

namespace berth::sim {

namespace {

constexpr double most_seconds = 1e10;

bool parse_seconds(const std::string& word, int64_t& us) {
  char* end = nullptr;
  const double seconds = std::strtod(word.c_str(), &end);
  if (word.empty() || *end != '\0' || !(seconds >= 0) || seconds > most_seconds) return false;
  us = std::llround(seconds * 1e6);
  return true;
}

bool is_size(const std::string& name) { return name == "ram" || name == "vram"; }

// "cpu=4": false where it is no such word.
bool parse_amount(const std::string& word, std::string& name, int64_t& amount) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) return false;
  name = word.substr(0, equals);
  const std::string value = word.substr(equals + 1);
  const auto parsed = is_size(name) ? parse_size_bytes(value) : parse_count(value);
  if (!parsed) return false;
  amount = *parsed;
  return true;
}

bool parse_pool_word(const std::string& word, Box& box) {
  if (word.starts_with("gpus=")) {
    const size_t times = word.find('x');
    if (times == std::string::npos) return false;
    const auto count = parse_count(word.substr(5, times - 5));
    const auto size = parse_size_bytes(word.substr(times + 1));
    if (!count || !size || *count > static_cast<int64_t>(max_claim_devices)) return false;
    box.gpus = static_cast<int>(*count);
    box.vram_bytes = *size;
    return true;
  }
  NamedAmount amount;
  if (!parse_amount(word, amount.name, amount.amount) || !valid_resource_name(amount.name)) return false;
  box.capacities.push_back(std::move(amount));
  return true;
}

bool parse_claim_word(const std::string& word, TraceJob& job) {
  NamedAmount amount;
  if (!parse_amount(word, amount.name, amount.amount)) return false;
  if (amount.name == "gpus") {
    job.gpu.count = static_cast<int>(amount.amount);
    return amount.amount <= static_cast<int64_t>(max_claim_devices);
  }
  if (amount.name == "vram" || amount.name == "compute") {
    job.gpu.whole = false;
    if (amount.name == "vram") job.gpu.vram_bytes = amount.amount;
    if (amount.name == "compute") job.gpu.compute_pct = static_cast<int>(std::min<int64_t>(101, amount.amount));
    return true;
  }
  if (!valid_resource_name(amount.name) || amount.amount == 0) return false;
  job.counters.push_back(std::move(amount));
  return true;
}

bool parse_job(const std::vector<std::string>& words, TraceJob& job) {
  if (words.size() < 7) return false;
  int64_t expect_us = 0;
  const auto priority = parse_signed(words[3]);
  if (!parse_seconds(words[0], job.arrival_us) || !parse_seconds(words[1], job.run_us) || !priority) return false;
  if (words[2] != "-" && !parse_seconds(words[2], expect_us)) return false;
  if (std::abs(*priority) > max_priority_magnitude) return false;
  job.expect_s = (expect_us + 999'999) / 1'000'000;
  job.priority = static_cast<int>(*priority);
  job.user = words[4];
  job.label = words[5];
  return std::all_of(words.begin() + 6, words.end(), [&](const std::string& w) { return parse_claim_word(w, job); });
}

std::string show_amount(const NamedAmount& amount) {
  const bool size = is_size(amount.name);
  return amount.name + "=" + std::to_string(amount.amount) + (size ? "B" : "");
}

}  // namespace

Result<Trace> parse_trace(std::string_view text) {
  Trace trace;
  bool has_pool = false;
  std::istringstream lines{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const auto refuse = [&](const std::string& why) {
      return Error{ErrorKind::usage, 0, "line " + std::to_string(number) + " of the trace: " + why};
    };
    std::istringstream in(line.substr(0, line.find('#')));
    std::vector<std::string> words;
    for (std::string word; in >> word;) words.push_back(word);
    if (words.empty()) continue;
    if (words[0] == "pool") {
      for (size_t i = 1; i < words.size(); ++i)
        if (!parse_pool_word(words[i], trace.box)) return refuse("not a resource: " + printable(words[i]));
      has_pool = true;
      continue;
    }
    if (!has_pool) return refuse("a job before the pool");
    TraceJob job;
    if (!parse_job(words, job)) return refuse("not a job");
    if (!possible(trace.box, job)) return refuse("the pool has not that much");
    trace.jobs.push_back(std::move(job));
  }
  std::stable_sort(trace.jobs.begin(), trace.jobs.end(),
                   [](const TraceJob& a, const TraceJob& b) { return a.arrival_us < b.arrival_us; });
  return trace;
}

std::string show_trace(const Trace& trace) {
  std::string out = "# berth trace 1\npool";
  for (const NamedAmount& c : trace.box.capacities) out += " " + show_amount(c);
  if (trace.box.gpus > 0)
    out += " gpus=" + std::to_string(trace.box.gpus) + "x" + std::to_string(trace.box.vram_bytes) + "B";
  out += "\n# arrival run expect priority user label claim\n";
  for (const TraceJob& job : trace.jobs) {
    char times[96];
    std::snprintf(times, sizeof times, "%.6g %.6g ", static_cast<double>(job.arrival_us) / 1e6,
                  static_cast<double>(job.run_us) / 1e6);
    out += times + (job.expect_s > 0 ? std::to_string(job.expect_s) : std::string("-")) + " " +
           std::to_string(job.priority) + " " + job.user + " " + job.label;
    if (job.gpu.count > 0) out += " gpus=" + std::to_string(job.gpu.count);
    if (job.gpu.vram_bytes > 0) out += " vram=" + std::to_string(job.gpu.vram_bytes) + "B";
    if (job.gpu.compute_pct > 0) out += " compute=" + std::to_string(job.gpu.compute_pct);
    for (const NamedAmount& c : job.counters) out += " " + show_amount(c);
    out += "\n";
  }
  return out;
}

bool possible(const Box& box, const TraceJob& job) {
  for (const NamedAmount& want : job.counters) {
    const auto there = std::find_if(box.capacities.begin(), box.capacities.end(),
                                    [&](const NamedAmount& c) { return c.name == want.name; });
    if (there == box.capacities.end() || there->amount < want.amount) return false;
  }
  return job.gpu.count <= box.gpus && job.gpu.vram_bytes <= box.vram_bytes && job.gpu.compute_pct <= 100;
}

std::vector<double> shares(const Box& box, const TraceJob& job) {
  std::vector<double> out;
  for (const NamedAmount& c : box.capacities) {
    double share = 0;
    for (const NamedAmount& want : job.counters)
      if (want.name == c.name && c.amount > 0) share = static_cast<double>(want.amount) / static_cast<double>(c.amount);
    out.push_back(share);
  }
  if (box.gpus == 0) return out;
  double of_card = 1;
  if (!job.gpu.whole)
    of_card = std::max(static_cast<double>(job.gpu.vram_bytes) / static_cast<double>(box.vram_bytes),
                       job.gpu.compute_pct / 100.0);
  out.push_back(job.gpu.count * of_card / box.gpus);
  return out;
}

double offered_load(const Trace& trace) {
  if (trace.jobs.size() < 2) return 0;
  std::vector<double> work;
  for (const TraceJob& job : trace.jobs) {
    const std::vector<double> share = shares(trace.box, job);
    work.resize(share.size());
    for (size_t i = 0; i < share.size(); ++i) work[i] += share[i] * static_cast<double>(job.run_us);
  }
  const auto span = static_cast<double>(trace.jobs.back().arrival_us - trace.jobs.front().arrival_us);
  return span > 0 ? *std::max_element(work.begin(), work.end()) / span : 0;
}

void scale_to_load(Trace& trace, double load) {
  const double now = offered_load(trace);
  if (now <= 0 || load <= 0) return;
  const int64_t first = trace.jobs.front().arrival_us;
  for (TraceJob& job : trace.jobs)
    job.arrival_us = std::llround(static_cast<double>(job.arrival_us - first) * now / load);
}

void estimate(Trace& trace, Estimates estimates, uint64_t seed) {
  std::mt19937_64 random(seed ^ 0x9e3779b97f4a7c15U);
  std::uniform_real_distribution<double> power(-1, 1);
  for (TraceJob& job : trace.jobs) {
    const double run_s = static_cast<double>(job.run_us) / 1e6;
    const double factor = estimates == Estimates::wrong ? std::pow(3.0, power(random)) : 1;
    if (estimates == Estimates::none) job.expect_s = 0;
    if (estimates == Estimates::exact || estimates == Estimates::wrong)
      job.expect_s = std::max<int64_t>(1, std::llround(std::ceil(run_s * factor)));
  }
}

}  // namespace berth::sim
