#include "sim/schedule.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>

namespace berth::sim {

namespace {

double seconds(int64_t us) { return static_cast<double>(us) / 1e6; }

// Calls visit(at_us, job, +1 or -1) in the order of time, ends before beginnings.
template <class Visit>
void each_change(const Trace& trace, const Schedule& schedule, const Visit& visit) {
  struct Change {
    int64_t at_us;
    int sign;
    size_t job;
  };
  std::vector<Change> changes;
  for (size_t i = 0; i < trace.jobs.size(); ++i) {
    if (schedule.jobs[i].start_us < 0 || trace.jobs[i].run_us == 0) continue;
    changes.push_back({schedule.jobs[i].start_us, 1, i});
    changes.push_back({schedule.jobs[i].start_us + trace.jobs[i].run_us, -1, i});
  }
  std::sort(changes.begin(), changes.end(),
            [](const Change& a, const Change& b) { return a.at_us != b.at_us ? a.at_us < b.at_us : a.sign < b.sign; });
  for (const Change& c : changes) visit(c.at_us, c.job, c.sign);
}

__attribute__((format(printf, 2, 3))) void append(std::string& out, const char* format, ...) {
  char line[512];
  va_list values;
  va_start(values, format);
  std::vsnprintf(line, sizeof line, format, values);
  va_end(values);
  out += line;
}

struct CardLoad {
  int users = 0;
  int whole = 0;
  int64_t vram_bytes = 0;
  int compute_pct = 0;
};

// A row for each card, then one for each counter, along the time.
class Drawing {
 public:
  Drawing(const Trace& trace, const Schedule& schedule)
      : trace_(trace), schedule_(schedule), first_us_(trace.jobs.empty() ? 0 : trace.jobs.front().arrival_us) {
    for (size_t i = 0; i < trace.jobs.size(); ++i)
      if (schedule.jobs[i].start_us >= 0)
        last_us_ = std::max(last_us_, schedule.jobs[i].start_us + trace.jobs[i].run_us);
    per_us_ = width / static_cast<double>(std::max<int64_t>(1, last_us_ - first_us_));
    append(out_,
           "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" font-family=\"sans-serif\" "
           "font-size=\"11\">\n<title>%s</title>\n",
           left + width + 20, top_of(rows()) + 40, schedule.name.c_str());
  }

  void add_rows() {
    for (size_t r = 0; r < rows(); ++r) {
      const bool card = r < static_cast<size_t>(trace_.box.gpus);
      const std::string name =
          card ? "GPU " + std::to_string(r) : trace_.box.capacities[r - static_cast<size_t>(trace_.box.gpus)].name;
      append(out_,
             "<text x=\"4\" y=\"%.1f\">%s</text><rect x=\"%.0f\" y=\"%.1f\" width=\"%.0f\" height=\"%.0f\" "
             "fill=\"#f2f2f2\"/>\n",
             top_of(r) + 16, name.c_str(), left, top_of(r), width, row - 4);
    }
  }

  // A share takes that part of its card's height, from where there is room upwards.
  void add_jobs_on_cards() {
    std::vector<size_t> order(trace_.jobs.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return schedule_.jobs[a].start_us < schedule_.jobs[b].start_us; });
    std::vector<std::vector<int64_t>> busy(static_cast<size_t>(trace_.box.gpus), std::vector<int64_t>(slots, -1));
    for (const size_t i : order) {
      if (schedule_.jobs[i].start_us < 0) continue;
      for (const int card : schedule_.jobs[i].cards) add_job(i, card, busy[static_cast<size_t>(card)]);
    }
  }

  void add_counters() {
    for (size_t c = 0; c < trace_.box.capacities.size(); ++c) {
      const NamedAmount& capacity = trace_.box.capacities[c];
      const double y = top_of(static_cast<size_t>(trace_.box.gpus) + c);
      append(out_, "<path d=\"M%.0f %.1f", left, y + row - 4);
      int64_t taken = 0;
      each_change(trace_, schedule_, [&](int64_t at_us, size_t i, int sign) {
        for (const NamedAmount& want : trace_.jobs[i].counters)
          if (want.name == capacity.name) taken += sign * want.amount;
        append(out_, " H%.2f V%.2f", x_of(at_us),
               y + (row - 4) *
                       (1 - static_cast<double>(taken) / static_cast<double>(std::max<int64_t>(1, capacity.amount))));
      });
      append(out_, " V%.1f Z\" fill=\"#7aa6c2\"/>\n", y + row - 4);
    }
  }

  std::string finish() {
    append(out_, "<text x=\"%.0f\" y=\"18\">%s: %zu jobs, %.1f h</text>\n</svg>\n", left, schedule_.name.c_str(),
           trace_.jobs.size(), static_cast<double>(last_us_ - first_us_) / 3.6e9);
    return std::move(out_);
  }

 private:
  static constexpr double width = 1200;
  static constexpr double left = 90;
  static constexpr double row = 26;
  static constexpr double top = 30;
  static constexpr int slots = 20;  // that a card's height is divided into

  [[nodiscard]] size_t rows() const { return static_cast<size_t>(trace_.box.gpus) + trace_.box.capacities.size(); }
  [[nodiscard]] static double top_of(size_t r) { return top + row * static_cast<double>(r); }
  [[nodiscard]] double x_of(int64_t at_us) const { return left + static_cast<double>(at_us - first_us_) * per_us_; }

  // `busy`: until when each of the card's slots is.
  void add_job(size_t i, int card, std::vector<int64_t>& busy) {
    const TraceJob& job = trace_.jobs[i];
    const int64_t start_us = schedule_.jobs[i].start_us;
    const double share = job.gpu.whole ? 1
                                       : std::max(static_cast<double>(job.gpu.vram_bytes) /
                                                      static_cast<double>(std::max<int64_t>(1, trace_.box.vram_bytes)),
                                                  job.gpu.compute_pct / 100.0);
    const int high = std::clamp(static_cast<int>(share * slots), 1, slots);
    const unsigned hue = static_cast<unsigned>(std::hash<std::string>{}(job.user) % 360);
    int at = 0;
    while (at + high < slots &&
           std::any_of(busy.begin() + at, busy.begin() + at + high, [&](int64_t until) { return until > start_us; }))
      ++at;
    std::fill(busy.begin() + at, busy.begin() + at + high, start_us + job.run_us);
    const double unit = (row - 4) / slots;
    append(out_,
           "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"hsl(%u,60%%,60%%)\" stroke=\"#fff\" "
           "stroke-width=\"0.3\"/>\n",
           x_of(start_us), top_of(static_cast<size_t>(card)) + unit * (slots - at - high),
           std::max(0.3, static_cast<double>(job.run_us) * per_us_), unit * high, hue);
  }

  const Trace& trace_;
  const Schedule& schedule_;
  int64_t first_us_;
  int64_t last_us_ = 1;
  double per_us_ = 0;
  std::string out_;
};

}  // namespace

double makespan_bound_s(const Trace& trace) {
  if (trace.jobs.empty()) return 0;
  const int64_t first = trace.jobs.front().arrival_us;
  double bound = 0;
  std::vector<double> after;
  for (auto job = trace.jobs.rbegin(); job != trace.jobs.rend(); ++job) {
    const double came = seconds(job->arrival_us - first);
    bound = std::max(bound, came + seconds(job->run_us));
    const std::vector<double> share = shares(trace.box, *job);
    after.resize(share.size());
    for (size_t i = 0; i < share.size(); ++i) {
      after[i] += share[i] * seconds(job->run_us);
      bound = std::max(bound, came + after[i]);
    }
  }
  return bound;
}

Score score(const Trace& trace, const Schedule& schedule) {
  Score out;
  if (trace.jobs.empty()) return out;
  std::vector<double> waits;
  std::vector<double> work;
  std::map<std::string, std::pair<double, int>> slowdowns;
  std::map<std::string, double> user_waits;
  std::map<std::string, double> user_work;
  int64_t last = 0;
  for (size_t i = 0; i < trace.jobs.size(); ++i) {
    const TraceJob& job = trace.jobs[i];
    const int64_t start = schedule.jobs[i].start_us;
    if (start < 0) continue;
    last = std::max(last, start + job.run_us);
    waits.push_back(seconds(start - job.arrival_us));
    const std::vector<double> share = shares(trace.box, job);
    work.resize(share.size());
    for (size_t r = 0; r < share.size(); ++r) work[r] += share[r] * seconds(job.run_us);
    const double run = std::max(10.0, seconds(job.run_us));
    auto& [sum, count] = slowdowns[job.user];
    sum += (waits.back() + run) / run;
    ++count;
    user_waits[job.user] += waits.back();
    user_work[job.user] += *std::max_element(share.begin(), share.end()) * seconds(job.run_us);
  }
  if (waits.empty()) return out;
  out.makespan_s = seconds(last - trace.jobs.front().arrival_us);
  out.utilisation = out.makespan_s > 0 ? *std::max_element(work.begin(), work.end()) / out.makespan_s : 0;
  for (const double w : waits) out.mean_wait_s += w / static_cast<double>(waits.size());
  std::sort(waits.begin(), waits.end());
  out.worst_wait_s = waits.back();
  out.p95_wait_s = waits[static_cast<size_t>(static_cast<double>(waits.size() - 1) * 0.95)];
  double sum = 0;
  double squares = 0;
  for (const auto& [user, total] : slowdowns) {
    const double mean = total.first / total.second;
    sum += mean;
    squares += mean * mean;
  }
  out.fairness = sum * sum / (static_cast<double>(slowdowns.size()) * squares);
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  const std::string heaviest = std::max_element(user_work.begin(), user_work.end(), less)->first;
  const auto others = static_cast<double>(std::max<size_t>(2, slowdowns.size()) - 1);
  for (const auto& [user, total] : slowdowns)
    if (user != heaviest) out.others_wait_s += user_waits[user] / total.second / others;
  out.over_bound = out.makespan_s / std::max(1e-9, makespan_bound_s(trace));
  return out;
}

std::string fault(const Trace& trace, const Schedule& schedule) {
  std::map<std::string, int64_t> taken;
  std::vector<CardLoad> cards(static_cast<size_t>(trace.box.gpus));
  std::string out;
  each_change(trace, schedule, [&](int64_t at_us, size_t i, int sign) {
    const TraceJob& job = trace.jobs[i];
    const Placement& place = schedule.jobs[i];
    const auto complain = [&](const std::string& what) {
      if (out.empty()) out = what + " at " + std::to_string(at_us) + " us, job " + std::to_string(i);
    };
    if (place.start_us < job.arrival_us) complain("ran before it came");
    if (place.cards.size() != static_cast<size_t>(job.gpu.count)) complain("wrong number of cards");
    for (const NamedAmount& c : job.counters) taken[c.name] += sign * c.amount;
    for (const int card : place.cards) {
      CardLoad& load = cards[static_cast<size_t>(card)];
      load.users += sign;
      load.whole += job.gpu.whole ? sign : 0;
      load.vram_bytes += sign * job.gpu.vram_bytes;
      load.compute_pct += sign * job.gpu.compute_pct;
      if ((load.whole > 0 && load.users > 1) || load.vram_bytes > trace.box.vram_bytes || load.compute_pct > 100)
        complain("card " + std::to_string(card) + " over-granted");
    }
    for (const NamedAmount& c : trace.box.capacities)
      if (taken[c.name] > c.amount) complain(c.name + " over-granted");
  });
  for (size_t i = 0; i < trace.jobs.size(); ++i)
    if (schedule.jobs[i].start_us < 0 && out.empty()) out = "job " + std::to_string(i) + " never ran";
  return out;
}

std::string draw(const Trace& trace, const Schedule& schedule) {
  Drawing drawing(trace, schedule);
  drawing.add_rows();
  drawing.add_jobs_on_cards();
  drawing.add_counters();
  return drawing.finish();
}

}  // namespace berth::sim
