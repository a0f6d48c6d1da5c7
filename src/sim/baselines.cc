#include "sim/baselines.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <queue>
#include <random>
#include <set>

namespace berth::sim {

namespace {

constexpr int64_t poll_us = 10'000'000;
constexpr int64_t never = std::numeric_limits<int64_t>::max() / 4;

struct Card {
  int users = 0;
  bool whole = false;
  int64_t vram_bytes = 0;
  int compute_pct = 0;
};

// What is free now. Knows nothing of how berth counts.
class Room {
 public:
  explicit Room(const Box& box) : box_(&box), cards_(static_cast<size_t>(box.gpus)) {
    for (const NamedAmount& c : box.capacities) free_.push_back(c.amount);
  }

  // The cards it would have, the fullest first for a share; nullopt: it does not fit.
  [[nodiscard]] std::optional<std::vector<int>> fit(const TraceJob& job) const {
    for (const NamedAmount& want : job.counters)
      if (want.amount > free_[slot(want.name)]) return std::nullopt;
    std::vector<int> fits;
    for (size_t i = 0; i < cards_.size(); ++i) {
      const Card& c = cards_[i];
      const bool has = job.gpu.whole ? c.users == 0
                                     : !c.whole && c.vram_bytes + job.gpu.vram_bytes <= box_->vram_bytes &&
                                           c.compute_pct + job.gpu.compute_pct <= 100;
      if (has) fits.push_back(static_cast<int>(i));
    }
    if (fits.size() < static_cast<size_t>(job.gpu.count)) return std::nullopt;
    std::stable_sort(fits.begin(), fits.end(), [&](int a, int b) {
      const Card& ca = cards_[static_cast<size_t>(a)];
      const Card& cb = cards_[static_cast<size_t>(b)];
      if ((ca.users > 0) != (cb.users > 0)) return ca.users > 0;
      return ca.vram_bytes != cb.vram_bytes ? ca.vram_bytes > cb.vram_bytes : ca.compute_pct > cb.compute_pct;
    });
    fits.resize(static_cast<size_t>(job.gpu.count));
    std::sort(fits.begin(), fits.end());
    return fits;
  }

  void take(const TraceJob& job, const std::vector<int>& cards) { change(job, cards, 1); }
  void give(const TraceJob& job, const std::vector<int>& cards) { change(job, cards, -1); }

 private:
  [[nodiscard]] size_t slot(const std::string& name) const {
    size_t i = 0;
    while (box_->capacities[i].name != name) ++i;
    return i;
  }
  void change(const TraceJob& job, const std::vector<int>& cards, int sign) {
    for (const NamedAmount& want : job.counters) free_[slot(want.name)] -= sign * want.amount;
    for (const int i : cards) {
      Card& c = cards_[static_cast<size_t>(i)];
      c.users += sign;
      c.whole = job.gpu.whole && sign > 0;
      c.vram_bytes += sign * job.gpu.vram_bytes;
      c.compute_pct += sign * job.gpu.compute_pct;
    }
  }

  const Box* box_;
  std::vector<int64_t> free_;
  std::vector<Card> cards_;
};

class Run {
 public:
  Run(const Trace& trace, Baseline baseline, uint64_t seed)
      : trace_(trace), baseline_(baseline), random_(seed), room_(trace.box) {
    out_.jobs.resize(trace.jobs.size());
  }

  Schedule run() {
    size_t next = 0;
    while (next < trace_.jobs.size() || !ends_.empty() || poll_at_ >= 0) {
      now_ = never;
      if (next < trace_.jobs.size()) now_ = trace_.jobs[next].arrival_us;
      if (!ends_.empty()) now_ = std::min(now_, ends_.begin()->first);
      if (poll_at_ >= 0) now_ = std::min(now_, poll_at_);
      bool ended = false;
      while (!ends_.empty() && ends_.begin()->first <= now_) {
        const size_t job = ends_.begin()->second;
        ends_.erase(ends_.begin());
        room_.give(trace_.jobs[job], out_.jobs[job].cards);
        ended = true;
      }
      std::vector<size_t> newcomers;
      for (; next < trace_.jobs.size() && trace_.jobs[next].arrival_us <= now_; ++next) newcomers.push_back(next);
      decide(ended, newcomers);
    }
    return std::move(out_);
  }

 private:
  void decide(bool ended, const std::vector<size_t>& newcomers) {
    switch (baseline_) {
      case Baseline::flock:
        if (ended) {
          std::shuffle(waiting_.begin(), waiting_.end(), random_);
          try_all();
        }
        for (const size_t job : newcomers)
          if (!start(job)) waiting_.push_back(job);
        return;
      case Baseline::small_first:
        for (const size_t job : newcomers)
          if (!start(job)) waiting_.push_back(job);
        if (poll_at_ >= 0 && now_ >= poll_at_) {
          std::stable_sort(waiting_.begin(), waiting_.end(), [&](size_t a, size_t b) { return size(a) < size(b); });
          try_all();
          poll_at_ = -1;
        }
        if (waiting_.empty() || ends_.empty())
          poll_at_ = waiting_.empty() ? -1 : now_ + poll_us;
        else if (poll_at_ < 0)  // nothing changes until somebody ends: the first poll after that
          poll_at_ = now_ + std::max<int64_t>(1, (ends_.begin()->first - now_ + poll_us - 1) / poll_us) * poll_us;
        return;
      case Baseline::shortest:
        waiting_.insert(waiting_.end(), newcomers.begin(), newcomers.end());
        std::stable_sort(waiting_.begin(), waiting_.end(), [&](size_t a, size_t b) { return work(a) < work(b); });
        try_all();
        return;
      case Baseline::fifo:
        waiting_.insert(waiting_.end(), newcomers.begin(), newcomers.end());
        while (!waiting_.empty() && start(waiting_.front())) waiting_.erase(waiting_.begin());
        return;
      case Baseline::easy:
        waiting_.insert(waiting_.end(), newcomers.begin(), newcomers.end());
        while (!waiting_.empty() && start(waiting_.front())) waiting_.erase(waiting_.begin());
        if (waiting_.size() > 1) backfill();
        return;
    }
  }

  // The first in line starts, as far as anybody can tell, when enough of those who run have ended. Another
  // may start now if it is gone by then, or if both have room then.
  void backfill() {
    const TraceJob& head = trace_.jobs[waiting_.front()];
    std::vector<std::pair<int64_t, size_t>> ends;
    for (const auto& [end, job] : ends_)
      ends.emplace_back(std::max(now_, expected_end(job, out_.jobs[job].start_us)), job);
    std::sort(ends.begin(), ends.end());
    Room then = room_;
    int64_t shadow = never;
    for (const auto& [end, job] : ends) {
      then.give(trace_.jobs[job], out_.jobs[job].cards);
      if (!then.fit(head)) continue;
      shadow = end;
      break;
    }
    for (size_t i = 1; i < waiting_.size();) {
      const size_t job = waiting_[i];
      const auto cards = room_.fit(trace_.jobs[job]);
      bool may = cards.has_value();
      if (may && expected_end(job, now_) > shadow) {
        Room both = then;
        both.take(trace_.jobs[job], *cards);
        may = both.fit(head).has_value();
        if (may) then = both;
      }
      if (may && start(job))
        waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
      else
        ++i;
    }
  }

  [[nodiscard]] int64_t expected_end(size_t job, int64_t start) const {
    const int64_t expect_s = trace_.jobs[job].expect_s;
    return expect_s > 0 ? start + expect_s * 1'000'000 : never;
  }

  [[nodiscard]] double size(size_t job) const {
    const std::vector<double> share = shares(trace_.box, trace_.jobs[job]);
    return *std::max_element(share.begin(), share.end());
  }

  [[nodiscard]] double work(size_t job) const { return size(job) * static_cast<double>(trace_.jobs[job].run_us); }

  void try_all() {
    std::erase_if(waiting_, [&](size_t job) { return start(job); });
  }

  bool start(size_t job) {
    ++out_.looks;
    auto cards = room_.fit(trace_.jobs[job]);
    if (!cards) return false;
    room_.take(trace_.jobs[job], *cards);
    out_.jobs[job] = {now_, std::move(*cards)};
    ends_.emplace(now_ + trace_.jobs[job].run_us, job);
    return true;
  }

  const Trace& trace_;
  Baseline baseline_;
  std::mt19937_64 random_;
  Room room_;
  int64_t now_ = 0;
  int64_t poll_at_ = -1;
  std::vector<size_t> waiting_;
  std::set<std::pair<int64_t, size_t>> ends_;
  Schedule out_;
};

}  // namespace

Schedule run_baseline(const Trace& trace, Baseline baseline, uint64_t seed) {
  Schedule out = Run(trace, baseline, seed).run();
  switch (baseline) {
    case Baseline::flock: out.name = "flock"; break;
    case Baseline::small_first: out.name = "small first"; break;
    case Baseline::shortest: out.name = "least work first"; break;
    case Baseline::fifo: out.name = "strict FIFO"; break;
    case Baseline::easy: out.name = "EASY"; break;
  }
  return out;
}

}  // namespace berth::sim
