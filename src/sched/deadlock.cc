#include "sched/deadlock.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "sched/reduction.h"
#include "sched/wait_graph.h"

namespace berth {

namespace {

// Whoever may come back has come back, and no driver says no. nullopt: it is so already.
std::optional<Snapshot> at_best(const Snapshot& all) {
  const auto hindered = [](const Party& p) { return p.state == PartyState::aside || p.out || p.vetoed.count > 0; };
  if (std::none_of(all.parties.begin(), all.parties.end(), hindered)) return std::nullopt;
  Snapshot best = all;
  for (size_t i = 0; i < best.parties.size(); ++i) {
    Party& p = best.parties[i];
    if (p.state == PartyState::aside) p.state = PartyState::waiting;
    p.out = false;
    if (p.vetoed.count > 0) best.set_veto(i, 0);
  }
  return best;
}

// One look at a pool, and whatever is asked of it, with one measure of work.
class Search {
 public:
  Search(const Snapshot& all, int64_t most_work) : all_(all), work_(most_work) {
    const auto keeps_a_lease = [](const Party& p) { return p.seconds || p.nested; };
    if (std::none_of(all.parties.begin(), all.parties.end(), keeps_a_lease)) return;
    families_.emplace(all);
    hoped_for_ = at_best(all);
  }

  struct Left {
    Reduction at_best;
    std::vector<bool> who;  // by index
  };

  // nullopt: nobody is, or it takes too much work to know.
  std::optional<Left> left(const std::vector<bool>& absent) {
    if (!families_) return std::nullopt;
    Left out{Reduction(hoped_for_ ? *hoped_for_ : all_, *families_, absent, work_), {}};
    out.who = left_of(out.at_best);
    if (!out.who.empty() && hoped_for_) {
      Reduction as_it_is(all_, *families_, absent, work_);
      const std::vector<bool> also = left_of(as_it_is);
      if (also.empty()) return std::nullopt;
      for (size_t i = 0; i < also.size(); ++i) out.who[i] = out.who[i] && also[i];
    }
    if (out.who.empty()) return std::nullopt;
    return out;
  }

  // Of those in `in`: who waits for whom.
  WaitGraph graph(const Left& left, std::vector<bool> in) {
    return {hoped_for_ ? *hoped_for_ : all_, *families_, left.at_best, std::move(in), work_};
  }

 private:
  // Empty: see left().
  std::vector<bool> left_of(Reduction& reduction) {
    reduction.run();
    if (!work_.is_left()) return {};
    std::vector<bool> out;
    for (size_t i = 0; i < all_.parties.size(); ++i) out.push_back(reduction.left(static_cast<int>(i)));
    if (std::find(out.begin(), out.end(), true) == out.end()) return {};
    return out;
  }

  const Snapshot& all_;
  Work work_;
  std::optional<Families> families_;
  std::optional<Snapshot> hoped_for_;
};

}  // namespace

std::vector<bool> stuck(const Snapshot& all, const std::vector<bool>& absent, int64_t most_work) {
  const auto left = Search(all, most_work).left(absent);
  return left ? left->who : std::vector<bool>(all.parties.size(), false);
}

std::vector<CycleWait> closed_cycle(const Snapshot& all, const std::vector<bool>& absent, int self, int64_t most_work) {
  Search search(all, most_work);
  const auto with = search.left(absent);
  if (!with || !with->who[static_cast<size_t>(self)]) return {};
  std::vector<bool> without_self = absent;
  without_self.resize(all.parties.size(), false);
  without_self[static_cast<size_t>(self)] = true;
  const auto without = search.left(without_self);
  std::vector<bool> in = with->who;
  for (size_t i = 0; without && i < in.size(); ++i) in[i] = in[i] && !without->who[i];
  return search.graph(*with, std::move(in)).cycle_of(self);
}

std::vector<std::vector<CycleWait>> cycles(const Snapshot& all, int64_t most_work) {
  Search search(all, most_work);
  const auto left = search.left({});
  if (!left) return {};
  WaitGraph graph = search.graph(*left, left->who);
  graph.drop_whom_nobody_waits_for();
  std::vector<std::vector<CycleWait>> out;
  std::vector<bool> told(all.parties.size(), false);
  for (size_t i = 0; i < all.parties.size(); ++i) {
    const Party& party = all.parties[i];
    if (told[i] || party.state == PartyState::held || !(party.seconds || party.nested)) continue;
    if (!graph.has(static_cast<int>(i))) continue;
    std::vector<CycleWait> cycle = graph.cycle_of(static_cast<int>(i));
    bool is_new = !cycle.empty();
    for (const CycleWait& wait : cycle) {
      is_new = is_new && !told[static_cast<size_t>(wait.waiter)];
      told[static_cast<size_t>(wait.waiter)] = true;
    }
    if (is_new) out.push_back(std::move(cycle));
  }
  return out;
}

}  // namespace berth
