// The search. Whether a set of holders is enough is a question for plan(), and each costs one. So:
//
//   1. With every candidate gone, who of the line is seated? For all others one candidate alone is tried at most.
//   2. For those, of the twelve cheapest candidates all sets of one, two and three, the cheapest first.
//   3. If none of them is enough, or the line is so long that a plan is dear: the cheapest so many that are
//      enough, less those, the dearest first, that are not needed among them. Nobody of them is one too many.
#include "sched/reclaim.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sched/plan.h"
#include "sched/quota.h"
#include "sched/shape.h"
#include "sched/way_rules.h"

namespace berth {

namespace {

constexpr size_t most_exact = 12;    // candidates of which all small sets are tried
constexpr int most_together = 3;     // of them in one set
constexpr size_t most_waiters = 16;  // for whom somebody is asked at one time
constexpr int most_rounds = 3;
constexpr size_t most_planned = 20'000;  // parties in all trial plans of the exact search together

class Search {
 public:
  Search(const Snapshot& snapshot, std::vector<bool> absent, const std::vector<bool>& deaf)
      : snapshot_(snapshot), gone_(std::move(absent)) {
    gone_.resize(snapshot.parties.size(), false);
    for (size_t i = 0; i < snapshot.parties.size(); ++i) {
      const Party& party = snapshot.parties[i];
      const Way& way = party.way;
      if (party.state != PartyState::held || gone_[i] || (i < deaf.size() && deaf[i])) continue;
      if (way.reclaimable && !way.busy && !refuses(way)) candidates_.push_back(static_cast<int>(i));
    }
    std::sort(candidates_.begin(), candidates_.end(), [&](int a, int b) { return cheaper(a, b); });
  }

  std::vector<Reclaim> run() {
    if (!snapshot_.policy.quotas.empty()) as_it_is_ = plan(snapshot_, gone_);
    ask_by_hand();
    if (candidates_.empty()) return std::move(out_);
    const Plan hoped = plan(snapshot_, with(gone_, candidates_));
    std::vector<int> waiters;
    // Who is let off may have made room in passing for somebody behind, who then asks for himself.
    for (int round = 0; round < most_rounds; ++round) {
      Plan now = plan(snapshot_, gone_);
      const std::vector<int> line = now.line;
      for (const int waiter : line) {
        if (now.verdict_of(waiter) != Verdict::wait || waiters.size() >= most_waiters) continue;
        const std::vector<int> chosen = choose(waiter, hoped.verdict_of(waiter) == Verdict::seat);
        if (chosen.empty()) continue;
        waiters.push_back(waiter);
        for (const int holder : chosen)
          if (helps_already(waiter, holder)) out_.push_back({holder, waiter});
        gone_ = with(gone_, chosen);
        now = plan(snapshot_, gone_);
      }
      if (waiters.size() < 2 || !let_off(waiters)) break;
    }
    put_off_those_beside_doubtful_ones();
    return std::move(out_);
  }

 private:
  [[nodiscard]] const Party& at(int index) const { return snapshot_.parties[static_cast<size_t>(index)]; }
  [[nodiscard]] bool cheaper(int a, int b) const {
    const Party& pa = at(a);
    const Party& pb = at(b);
    if (pa.way.yielding != pb.way.yielding) return pa.way.yielding;
    if (pa.way.doubtful != pb.way.doubtful) return pb.way.doubtful;
    if (pa.priority != pb.priority) return pa.priority < pb.priority;
    if (pa.seated_us != pb.seated_us) return pa.seated_us > pb.seated_us;
    return pa.key() < pb.key();
  }

  static std::vector<bool> with(std::vector<bool> gone, const std::vector<int>& more) {
    for (const int index : more) gone[static_cast<size_t>(index)] = true;
    return gone;
  }

  [[nodiscard]] bool seats(int waiter, const std::vector<int>& going) {
    planned_ += snapshot_.parties.size();
    return plan(snapshot_, with(gone_, going)).verdict_of(waiter) == Verdict::seat;
  }

  // Who is over quota sets nothing aside: what is given to it by others than those who bring it within its quota
  // they would have back at once. They are asked when it is within.
  [[nodiscard]] bool helps_already(int waiter, int holder) const {
    return !as_it_is_.is_over_quota(waiter) || share_a_quota(snapshot_, at(waiter), at(holder));
  }

  void ask_by_hand() {
    for (const int holder : candidates_)
      if (asked_by_hand(at(holder).way)) out_.push_back({holder, Reclaim::by_hand});
    for (const Reclaim& r : out_) gone_[static_cast<size_t>(r.holder)] = true;
    std::erase_if(candidates_, [&](int holder) { return gone_[static_cast<size_t>(holder)]; });
  }

  // Whom `waiter` may ask, the cheapest first.
  [[nodiscard]] std::vector<int> askable(int waiter) const {
    std::vector<int> out;
    for (const int holder : candidates_)
      if (!gone_[static_cast<size_t>(holder)] && at(holder).priority < at(waiter).priority) out.push_back(holder);
    return out;
  }

  std::vector<int> choose(int waiter, bool hopeful) {
    const std::vector<int> own = askable(waiter);
    if (own.empty()) return {};
    // More room may go to those ahead and then be less for this one; one alone can help it all the same.
    if (!hopeful || !seats(waiter, own)) return fewest(waiter, own, 1);
    std::vector<int> near;  // those that it contends with are nearly always enough
    for (const int holder : own)
      if (contend(snapshot_, waiter, holder)) near.push_back(holder);
    const std::vector<int>& among = near.size() < own.size() && seats(waiter, near) ? near : own;
    const std::vector<int> few = fewest(waiter, among, most_together);
    return few.empty() ? enough(waiter, among) : few;
  }

  std::vector<int> fewest(int waiter, const std::vector<int>& own, int most) {
    const auto count = static_cast<unsigned>(std::min(own.size(), most_exact));
    unsigned yielding = 0;
    for (unsigned i = 0; i < count; ++i)
      if (at(own[i]).way.yielding) yielding |= 1U << i;
    std::vector<unsigned> sets;
    for (unsigned set = 1; set < 1U << count; ++set)
      if (std::popcount(set) <= most) sets.push_back(set);
    // Of as many the one whose dearest is cheapest: that is how numbers compare.
    std::stable_sort(sets.begin(), sets.end(), [&](unsigned a, unsigned b) {
      const int asks_a = std::popcount(a & ~yielding);
      const int asks_b = std::popcount(b & ~yielding);
      return asks_a != asks_b ? asks_a < asks_b : std::popcount(a) < std::popcount(b);
    });
    for (const unsigned set : sets) {
      if (planned_ > most_planned) break;
      std::vector<int> going;
      for (unsigned i = 0; i < count; ++i)
        if ((set >> i & 1U) != 0) going.push_back(own[i]);
      if (seats(waiter, going)) return going;
    }
    return {};
  }

  std::vector<int> enough(int waiter, const std::vector<int>& own) {
    std::vector<int> going;
    for (const int holder : own) {
      going.push_back(holder);
      if (seats(waiter, going)) break;
    }
    for (size_t i = going.size(); i-- > 0;) {
      std::vector<int> fewer = going;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      if (!fewer.empty() && seats(waiter, fewer)) going = std::move(fewer);
    }
    return going;
  }

  // Who was asked for one may have become superfluous by who was asked for another.
  bool let_off(const std::vector<int>& waiters) {
    const size_t before = out_.size();
    for (size_t i = out_.size(); i-- > 0;) {
      const auto holder = static_cast<size_t>(out_[i].holder);
      if (out_[i].waiter == Reclaim::by_hand || at(out_[i].holder).way.yielding) continue;
      gone_[holder] = false;
      const Plan without = plan(snapshot_, gone_);
      const bool all =
          std::all_of(waiters.begin(), waiters.end(), [&](int w) { return without.verdict_of(w) == Verdict::seat; });
      if (all)
        out_.erase(out_.begin() + static_cast<std::ptrdiff_t>(i));
      else
        gone_[holder] = true;
    }
    return out_.size() < before;
  }

  void put_off_those_beside_doubtful_ones() {
    std::vector<int> waiters;
    for (const Reclaim& r : out_)
      if (r.waiter != Reclaim::by_hand && at(r.holder).way.doubtful) waiters.push_back(r.waiter);
    std::erase_if(out_, [&](const Reclaim& r) {
      const Way& way = at(r.holder).way;
      return !way.doubtful && !way.yielding && std::find(waiters.begin(), waiters.end(), r.waiter) != waiters.end();
    });
  }

  const Snapshot& snapshot_;
  Plan as_it_is_;  // where there are quotas
  std::vector<bool> gone_;
  std::vector<int> candidates_;  // the cheapest first
  std::vector<Reclaim> out_;
  size_t planned_ = 0;
};

}  // namespace

std::vector<Reclaim> reclaims(const Snapshot& snapshot, const std::vector<bool>& absent,
                              const std::vector<bool>& deaf) {
  if (!snapshot.any_reclaimable) return {};
  return Search(snapshot, absent, deaf).run();
}

int64_t debt_behind(const Snapshot& snapshot, int self, const std::vector<Reclaim>& asked) {
  const Party& own = snapshot.parties[static_cast<size_t>(self)];
  const int64_t own_us = order_key(own, snapshot.policy).key_us;
  int64_t debt_us = 0;
  const auto stand_behind = [&](const Party& other) {
    debt_us = std::max(debt_us, order_key(other, snapshot.policy).key_us - own_us + 1);
  };
  for (const Reclaim& r : asked) {
    if (r.waiter != Reclaim::by_hand) {
      const Party& waiter = snapshot.parties[static_cast<size_t>(r.waiter)];
      if (waiter.priority > own.priority) stand_behind(waiter);
    } else if (r.holder == self) {
      for (const Party& party : snapshot.parties)
        if (party.state == PartyState::waiting) stand_behind(party);
    }
  }
  return debt_us;
}

}  // namespace berth
