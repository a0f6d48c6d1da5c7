#include "sched/wait_graph.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/text.h"
#include "sched/quota.h"
#include "sched/shape.h"

namespace berth {

namespace {

// What a waiter is short of, and who is to blame.
class Blame {
 public:
  // `now`: the plan for that group.
  Blame(const Group& group, const Plan& now, int self) : group_(group), pool_(group.pool), now_(now), self_(self) {}

  // Calls visit(blocker, what), both of the group's own numbering, for everybody left.
  template <class Visit>
  void each(const Visit& visit) const {
    bool short_of_something = false;
    const Party& self = pool_.parties[static_cast<size_t>(self_)];
    for (const Amount& a : pool_.counters(self)) {
      int64_t held = 0;
      each_holder([&](int, const Party& p) { held = std::min(max_amount, held + amount_of(p, a.resource)); });
      const Resource& resource = pool_.resources[a.resource];
      if (a.amount <= resource.capacity - held) continue;
      short_of_something = true;
      each_holder([&](int i, const Party& p) {
        if (amount_of(p, a.resource) > 0) visit(i, resource.name);
      });
    }
    std::vector<uint16_t> full;
    for (const Eligible& e : pool_.eligible(self))
      if (!has_room(self, e)) full.push_back(e.device);
    if (static_cast<int>(pool_.eligible(self).size() - full.size()) < self.gpu.count) {
      short_of_something = true;
      each_holder([&](int i, const Party& p) {
        for (const uint16_t d : pool_.granted(p))
          if (std::find(full.begin(), full.end(), d) != full.end()) return visit(i, "gpu");
      });
    }
    if (short_of_something) return;
    if (now_.is_over_quota(self_)) {
      each_holder([&](int i, const Party& p) {
        if (share_a_quota(pool_, self, p)) visit(i, "its quota");
      });
    }
    each_ahead(visit);
  }

 private:
  template <class Visit>
  void each_holder(const Visit& visit) const {
    for (size_t i = 0; i < pool_.parties.size(); ++i)
      if (!group_.gone[i] && pool_.parties[i].state == PartyState::held) visit(static_cast<int>(i), pool_.parties[i]);
  }

  [[nodiscard]] int64_t amount_of(const Party& party, uint16_t resource) const {
    for (const Amount& a : pool_.counters(party))
      if (a.resource == resource) return a.amount;
    return 0;
  }

  [[nodiscard]] bool has_room(const Party& self, const Eligible& e) const {
    int64_t vram_bytes = self.gpu.vram_bytes;
    int compute_pct = self.gpu.compute_pct;
    bool alone = true;
    bool whole = false;
    each_holder([&](int, const Party& p) {
      const auto granted = pool_.granted(p);
      if (std::find(granted.begin(), granted.end(), e.device) == granted.end()) return;
      alone = false;
      whole = whole || p.gpu.whole;
      vram_bytes += p.gpu.vram_bytes;
      compute_pct += p.gpu.compute_pct;
    });
    if (self.gpu.whole) return alone;
    return !whole && vram_bytes <= e.vram_bytes && compute_pct <= 100;
  }

  // Nothing that it wants is held: somebody before it in line has it set aside.
  template <class Visit>
  void each_ahead(const Visit& visit) const {
    for (const int other : now_.line) {
      if (other == self_) return;
      if (!contend(pool_, other, self_)) continue;
      std::string what = "gpu";
      const Party& ahead = pool_.parties[static_cast<size_t>(other)];
      for (const Amount& a : pool_.counters(pool_.parties[static_cast<size_t>(self_)]))
        if (amount_of(ahead, a.resource) > 0) what = pool_.resources[a.resource].name;
      visit(other, what);
    }
  }

  const Group& group_;
  const Snapshot& pool_;
  const Plan& now_;
  int self_;
};

}  // namespace

const std::vector<WaitGraph::Edge>& WaitGraph::from(int party) {
  const auto p = static_cast<size_t>(party);
  if (!edges_[p]) {
    edges_[p].emplace();
    find_edges(party, *edges_[p]);
  }
  return *edges_[p];
}

void WaitGraph::find_edges(int party, std::vector<Edge>& out) {
  const auto add = [&](int to, const std::string& wants) {
    if (in_[static_cast<size_t>(to)] && work_.take(1)) out.push_back({to, wants});
  };
  const Party& self = all_.parties[static_cast<size_t>(party)];
  if (self.state == PartyState::held) {
    for (const int inner : families_.inside(party)) add(inner, "");
    return;
  }
  const Group* group = reduction_.group_of(party);
  if (group == nullptr || !work_.take(group->who.size() * (1 + self.eligible.count) / 4)) return;
  Blame(*group, plan_of(*group), reduction_.place_of(party)).each([&](int blocker, const std::string& what) {
    add(group->who[static_cast<size_t>(blocker)], what);
  });
}

const Plan& WaitGraph::plan_of(const Group& group) {
  auto [at, fresh] = plans_.try_emplace(&group);
  if (fresh && work_.take(group.who.size())) at->second = plan(group.pool, group.gone);
  return at->second;
}

void WaitGraph::drop_whom_nobody_waits_for() {
  std::vector<int> waited_for(in_.size(), 0);
  for (size_t i = 0; i < in_.size(); ++i)
    if (in_[i])
      for (const Edge& e : from(static_cast<int>(i))) ++waited_for[static_cast<size_t>(e.to)];
  std::vector<size_t> todo;
  for (size_t i = 0; i < in_.size(); ++i)
    if (in_[i] && waited_for[i] == 0) todo.push_back(i);
  while (!todo.empty()) {
    const size_t next = todo.back();
    todo.pop_back();
    in_[next] = false;
    for (const Edge& e : from(static_cast<int>(next)))
      if (--waited_for[static_cast<size_t>(e.to)] == 0) todo.push_back(static_cast<size_t>(e.to));
  }
}

std::vector<CycleWait> WaitGraph::cycle_of(int self) {
  std::vector<int> before(in_.size(), -1);
  std::vector<const Edge*> by(in_.size(), nullptr);
  std::deque<int> todo{self};
  int last = -1;  // from whom the way leads back
  while (!todo.empty() && last < 0 && work_.take(1)) {
    const int at = todo.front();
    todo.pop_front();
    for (const Edge& e : from(at)) {
      const auto to = static_cast<size_t>(e.to);
      if (e.to == self) last = at;
      if (last >= 0) break;
      if (!in_[to] || before[to] >= 0) continue;
      before[to] = at;
      by[to] = &e;
      todo.push_back(e.to);
    }
  }
  std::vector<CycleWait> out;
  for (int at = last; at >= 0 && at != self; at = before[static_cast<size_t>(at)])
    if (const std::string& wants = by[static_cast<size_t>(at)]->wants; !wants.empty())
      out.insert(out.begin(), {before[static_cast<size_t>(at)], at, wants});
  return out;
}

}  // namespace berth
