#include "sched/lookouts.h"

#include <algorithm>
#include <cstdint>

namespace berth {

namespace {

// How many of its two lookouts each item still lacks; none at first.
class Posts {
 public:
  explicit Posts(const Items& items) : items_(items), left_(items.size(), 0) {}

  void open_all() {
    std::fill(left_.begin(), left_.end(), lookouts_each);
    open_ = left_.size();
  }
  void open_for(int party) {
    items_.each(party, [&](size_t item) {
      if (left_[item] == 0) ++open_;
      left_[item] = lookouts_each;
    });
  }
  // Gives the party one post of each item that it wants. Whether there was any.
  bool give(int party) {
    bool any = false;
    items_.each(party, [&](size_t item) {
      if (left_[item] == 0) return;
      any = true;
      if (--left_[item] == 0) --open_;
    });
    return any;
  }
  [[nodiscard]] bool all_given() const { return open_ == 0; }

 private:
  static constexpr uint8_t lookouts_each = 2;
  const Items& items_;
  std::vector<uint8_t> left_;
  size_t open_ = 0;  // items that lack some
};

// Gives posts to those who wait, from `from` until `end` of the line or until there are no more.
template <class Place>
void give_posts(Posts& posts, const Plan& plan, Place from, Place end, std::vector<int>& out) {
  for (; from != end && !posts.all_given(); ++from)
    if (plan.verdict_of(*from) == Verdict::wait && posts.give(*from)) out.push_back(*from);
}

}  // namespace

void add_watchers(const Snapshot& snapshot, const Items& items, const Plan& plan, int of, std::vector<int>& out) {
  Posts posts(items);
  posts.open_for(of);
  const bool in_line = snapshot.at(of).state != PartyState::held && plan.verdict_of(of) != Verdict::none;
  auto from = plan.line.begin();
  if (in_line) from = std::find(plan.line.begin(), plan.line.end(), of) + 1;
  give_posts(posts, plan, from, plan.line.end(), out);
}

std::vector<int> lookouts(const Snapshot& snapshot, const Plan& plan) {
  const Items items(snapshot);
  Posts posts(items);
  posts.open_all();
  std::vector<int> out;
  give_posts(posts, plan, plan.line.begin(), plan.line.end(), out);
  return out;
}

TimedWatch timed_watch(const Snapshot& snapshot, const Plan& plan, int self) {
  const Items items(snapshot);
  Posts posts(items);
  posts.open_for(self);
  TimedWatch out;
  auto from = std::find(plan.line.rbegin(), plan.line.rend(), self);
  if (from != plan.line.rend()) ++from;
  give_posts(posts, plan, from, plan.line.rend(), out.nearest);
  out.first_of_some = !posts.all_given();
  return out;
}

}  // namespace berth
