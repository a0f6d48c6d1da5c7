#include "sched/deadlock.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

#include "sched/plan.h"
#include "sched/quota.h"
#include "sched/watch.h"

namespace berth {

namespace {

// Those who compete with each other, and which of all parties they are.
struct Group {
  Snapshot pool;
  std::vector<int> who;    // by index into pool.parties
  std::vector<bool> gone;  // the same
};

// The leases that do not end before this party does.
std::vector<int> leases_kept_by(const std::map<PartyKey, int>& index, const Party& party) {
  std::vector<int> out;
  const auto add = [&](const PartyKey& lease) {
    const auto at = index.find(lease);
    if (at != index.end()) out.push_back(at->second);
  };
  if (party.nested) add(party.parent_key());
  if (party.seconds) add(party.with_key());
  return out;
}

class Reduction {
 public:
  Reduction(const Snapshot& all, const std::vector<bool>& absent, int64_t most_work)
      : all_(all), gone_(all.parties.size(), false), inside_(all.parties.size(), 0), work_left_(most_work) {
    for (size_t i = 0; i < all.parties.size(); ++i) index_.emplace(all.parties[i].key(), static_cast<int>(i));
    for (size_t i = 0; i < all.parties.size(); ++i) gone_[i] = !absent.empty() && absent[i];
    for (size_t i = 0; i < all.parties.size(); ++i) {
      if (gone_[i]) continue;
      for (const int lease : leases_kept_by(index_, all.parties[i])) ++inside_[static_cast<size_t>(lease)];
    }
    add_groups();
  }

  void run() {
    for (size_t i = 0; i < gone_.size(); ++i) end_if_it_can(static_cast<int>(i));
    do {
      while (seat_somebody()) {
      }
    } while (work_left_ > 0 && time_passes());
  }

  [[nodiscard]] bool finished() const { return work_left_ > 0; }
  [[nodiscard]] const std::vector<bool>& gone() const { return gone_; }
  [[nodiscard]] const std::map<PartyKey, int>& index() const { return index_; }
  // Null: it is inside of a lease that is gone.
  [[nodiscard]] const Group* group_of(int party) const {
    const size_t group = group_[static_cast<size_t>(party)];
    return group == none ? nullptr : &groups_[group];
  }

 private:
  static constexpr size_t none = static_cast<size_t>(-1);

  void add_groups() {
    group_.assign(all_.parties.size(), none);
    add_group(top_level(all_));
    std::map<PartyKey, bool> parents;
    for (const Party& p : all_.parties)
      if (p.nested) parents.emplace(p.parent_key(), true);
    for (const auto& [parent, unused] : parents)
      if (auto within = inside(all_, parent)) add_group(std::move(*within));
    // Who is inside of a lease that is gone waits for nothing.
    for (size_t i = 0; i < gone_.size(); ++i)
      if (!gone_[i] && group_[i] == none) end(static_cast<int>(i));
  }

  void add_group(Snapshot pool) {
    Group group{std::move(pool), {}, {}};
    for (const Party& p : group.pool.parties) {
      const int who = index_.at(p.key());
      group_[static_cast<size_t>(who)] = groups_.size();
      group.who.push_back(who);
      group.gone.push_back(gone_[static_cast<size_t>(who)]);
    }
    groups_.push_back(std::move(group));
  }

  void end_if_it_can(int party) {
    const auto i = static_cast<size_t>(party);
    if (!gone_[i] && all_.parties[i].state == PartyState::held && inside_[i] == 0) end(party);
  }

  void end(int party) {
    const auto i = static_cast<size_t>(party);
    gone_[i] = true;
    for (const int lease : leases_kept_by(index_, all_.parties[i])) {
      --inside_[static_cast<size_t>(lease)];
      end_if_it_can(lease);
    }
  }

  bool seat_somebody() {
    bool moved = false;
    for (Group& group : groups_) {
      for (size_t i = 0; i < group.who.size(); ++i) group.gone[i] = gone_[static_cast<size_t>(group.who[i])];
      if (std::find(group.gone.begin(), group.gone.end(), false) == group.gone.end()) continue;
      work_left_ -= static_cast<int64_t>(group.who.size());
      if (work_left_ <= 0) return false;
      const Plan now = plan(group.pool, group.gone);
      for (const int at : now.line) {
        if (now.verdicts[static_cast<size_t>(at)] != Verdict::seat) continue;
        end(group.who[static_cast<size_t>(at)]);
        moved = true;
      }
    }
    return moved;
  }

  // To the next expected end of who is left, and at last to where nobody is expected to end any more.
  bool time_passes() {
    if (untimed_) return false;
    std::optional<int64_t> next_us;
    for (size_t i = 0; i < gone_.size(); ++i) {
      const Party& p = all_.parties[i];
      if (gone_[i] || p.state != PartyState::held || p.expect_s <= 0) continue;
      const int64_t end_us = p.seated_us + p.expect_s * 1'000'000;
      if (end_us > groups_.front().pool.now_us && (!next_us || end_us < *next_us)) next_us = end_us;
    }
    untimed_ = groups_.front().pool.now_us <= 0 || !next_us;
    for (Group& group : groups_) group.pool.now_us = untimed_ ? 0 : *next_us;
    return true;
  }

  const Snapshot& all_;
  std::map<PartyKey, int> index_;
  std::vector<bool> gone_;   // by index into all
  std::vector<int> inside_;  // the same: how many keep it from ending
  std::vector<size_t> group_;
  std::vector<Group> groups_;
  bool untimed_ = false;
  int64_t work_left_;
};

// Whoever may come back has come back, and no driver says no.
Snapshot at_best(Snapshot all) {
  for (size_t i = 0; i < all.parties.size(); ++i) {
    Party& p = all.parties[i];
    if (p.state == PartyState::aside) p.state = PartyState::waiting;
    p.out = false;
    if (p.vetoed.count > 0) all.set_veto(i, 0);
  }
  return all;
}

std::vector<bool> left_of(const Reduction& reduction) {
  std::vector<bool> left = reduction.gone();
  left.flip();
  return left;
}

// What a waiter is short of, and who is to blame.
class Blame {
 public:
  Blame(const Group& group, int self) : group_(group), pool_(group.pool), self_(self) {}

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
    const Plan now = plan(pool_, group_.gone);
    if (now.is_over_quota(self_)) {
      each_holder([&](int i, const Party& p) {
        if (share_a_quota(pool_, self, p)) visit(i, "its quota");
      });
    }
    each_ahead(now, visit);
  }

 private:
  static constexpr int64_t max_amount = int64_t{1} << 60;

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
  void each_ahead(const Plan& now, const Visit& visit) const {
    for (const int other : now.line) {
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
  int self_;
};

// The shortest way from self, along who waits for whom and who ends after whom, back to self. `in` are those
// of whom the cycle can be.
class CycleSearch {
 public:
  CycleSearch(const Snapshot& all, const Reduction& reduction, const std::vector<bool>& in, int self)
      : all_(all),
        reduction_(reduction),
        in_(in),
        self_(self),
        from_(all.parties.size(), -1),
        wants_(all.parties.size()) {}

  std::vector<CycleWait> run() {
    std::deque<int> todo{self_};
    while (!todo.empty() && last_ < 0) {
      const int at = todo.front();
      todo.pop_front();
      const auto reach = [&](int next, const std::string& wants) {
        const auto n = static_cast<size_t>(next);
        if (next == self_ && last_ < 0) last_ = at;
        if (next == self_ || !in_[n] || from_[n] >= 0) return;
        from_[n] = at;
        wants_[n] = wants;
        todo.push_back(next);
      };
      if (all_.parties[static_cast<size_t>(at)].state == PartyState::held)
        each_inside(at, reach);
      else
        each_blocker(at, reach);
    }
    std::vector<CycleWait> out;
    for (int at = last_; at >= 0 && at != self_; at = from_[static_cast<size_t>(at)])
      if (const std::string& wants = wants_[static_cast<size_t>(at)]; !wants.empty())
        out.insert(out.begin(), {from_[static_cast<size_t>(at)], at, wants});
    return out;
  }

 private:
  template <class Reach>
  void each_inside(int lease, const Reach& reach) const {
    for (size_t i = 0; i < all_.parties.size(); ++i) {
      if (!in_[i]) continue;
      const std::vector<int> kept = leases_kept_by(reduction_.index(), all_.parties[i]);
      if (std::find(kept.begin(), kept.end(), lease) != kept.end()) reach(static_cast<int>(i), "");
    }
  }

  template <class Reach>
  void each_blocker(int waiter, const Reach& reach) const {
    const Group* group = reduction_.group_of(waiter);
    if (group == nullptr) return;
    const auto at = std::find(group->who.begin(), group->who.end(), waiter);
    Blame(*group, static_cast<int>(at - group->who.begin())).each([&](int blocker, const std::string& what) {
      reach(group->who[static_cast<size_t>(blocker)], what);
    });
  }

  const Snapshot& all_;
  const Reduction& reduction_;
  const std::vector<bool>& in_;
  int self_;
  int last_ = -1;                   // from whom the way leads back
  std::vector<int> from_;           // by party
  std::vector<std::string> wants_;  // the same: what the one it was reached from wants of it
};

}  // namespace

std::vector<bool> stuck(const Snapshot& all, const std::vector<bool>& absent, int64_t most_work) {
  std::vector<bool> nobody(all.parties.size(), false);
  if (std::none_of(all.parties.begin(), all.parties.end(), [](const Party& p) { return p.seconds || p.nested; }))
    return nobody;
  Reduction as_it_is(all, absent, most_work);
  as_it_is.run();
  if (!as_it_is.finished()) return nobody;
  std::vector<bool> left = left_of(as_it_is);
  if (left == nobody) return left;
  const Snapshot best = at_best(all);
  Reduction hoped(best, absent, most_work);
  hoped.run();
  if (!hoped.finished()) return nobody;
  const std::vector<bool> left_at_best = left_of(hoped);
  for (size_t i = 0; i < left.size(); ++i) left[i] = left[i] && left_at_best[i];
  return left;
}

std::vector<CycleWait> closed_cycle(const Snapshot& all, const std::vector<bool>& absent, int self, int64_t most_work) {
  std::vector<bool> with = stuck(all, absent, most_work);
  if (!with[static_cast<size_t>(self)]) return {};
  std::vector<bool> without_self = absent;
  without_self.resize(all.parties.size(), false);
  without_self[static_cast<size_t>(self)] = true;
  const std::vector<bool> without = stuck(all, without_self, most_work);
  for (size_t i = 0; i < with.size(); ++i) with[i] = with[i] && !without[i];
  const Snapshot best = at_best(all);
  Reduction reduction(best, absent, most_work);
  reduction.run();
  return CycleSearch(best, reduction, with, self).run();
}

}  // namespace berth
