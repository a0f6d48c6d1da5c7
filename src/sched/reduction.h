// The search behind deadlock.h: everybody ends who can, until nothing moves. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "core/snapshot.h"
#include "sched/families.h"
#include "sched/plan.h"

namespace berth {

// What may still be looked at, in parties planned for. See work_under_lock.
class Work {
 public:
  explicit Work(int64_t most) : left_(most) {}
  bool take(size_t parties) {
    left_ -= static_cast<int64_t>(parties);
    return is_left();
  }
  [[nodiscard]] bool is_left() const { return left_ > 0; }

 private:
  int64_t left_;
};

// Those who compete with each other, in a snapshot that has nothing else, and which of all parties they are.
struct Group {
  Snapshot pool;
  std::vector<int> who;    // by index into pool.parties
  std::vector<bool> gone;  // the same
  size_t waiting = 0;      // so many of them wait and are not gone
  bool changed = true;     // since it was last planned
};

class Reduction {
 public:
  // All of them have to outlive it.
  Reduction(const Snapshot& all, const Families& families, const std::vector<bool>& absent, Work& work);

  void run();

  [[nodiscard]] bool left(int party) const { return !gone_[static_cast<size_t>(party)]; }
  // Null: it is inside of a lease that is not there.
  [[nodiscard]] const Group* group_of(int party) const;
  // Where it stands in that group.
  [[nodiscard]] int place_of(int party) const { return places_[static_cast<size_t>(party)].second; }

 private:
  void add_groups();
  void end(int party);
  [[nodiscard]] bool can_end(int party) const;
  void note_change(int party);
  void seat_all();
  void seat_some(Group& group);
  bool some_give_way();
  bool some_give_way(Group& group);
  bool time_passes();

  const Snapshot& all_;
  const Families& families_;
  Work& work_;
  std::vector<bool> gone_;                   // by index into all
  std::vector<int> inside_;                  // the same: how many keep it from ending
  std::vector<std::pair<int, int>> places_;  // the same: group and place in it; -1 for none
  std::vector<Group> groups_;                // the top level is the first
  std::vector<size_t> changed_;              // of groups
  int64_t now_us_;
  bool untimed_ = false;
};

}  // namespace berth
