#include "sched/precedence.h"

#include <algorithm>

#include "sched/shape.h"

namespace berth {

namespace {

constexpr int most_leases = 16;  // one inside the other

const Party& at(const Snapshot& snapshot, int index) { return snapshot.parties[static_cast<size_t>(index)]; }

// What the leases hold that do not end before `self` is seated.
class Kept {
 public:
  Kept(const Snapshot& snapshot, const std::vector<bool>& absent, const Party& self) : snapshot_(snapshot) {
    const Party* inner = &self;
    for (int step = 0; step < most_leases && inner->seconds; ++step) {
      const int lease = snapshot.find(inner->with_key());
      if (lease < 0 || at(snapshot, lease).state != PartyState::held) return;
      if (!absent.empty() && absent[static_cast<size_t>(lease)]) return;
      inner = &at(snapshot, lease);
      leases_.push_back(inner);
    }
  }

  [[nodiscard]] bool empty() const { return leases_.empty(); }

  // Whether that much of a counter cannot be had beside them.
  [[nodiscard]] bool lacks(const Amount& wanted) const {
    const int64_t capacity = snapshot_.resources[wanted.resource].capacity;
    int64_t left = capacity;
    for (const Party* lease : leases_)
      for (const Amount& a : snapshot_.counters(*lease))
        if (a.resource == wanted.resource) left = std::max<int64_t>(0, left - a.amount);
    return wanted.amount > left && wanted.amount <= capacity;
  }

  // The same of a card.
  [[nodiscard]] bool lacks(const Party& who, const Eligible& card) const {
    int64_t vram_bytes = who.gpu.vram_bytes;
    int compute_pct = who.gpu.compute_pct;
    bool there = false;
    bool whole = who.gpu.whole;
    for (const Party* lease : leases_) {
      const auto granted = snapshot_.granted(*lease);
      if (std::find(granted.begin(), granted.end(), card.device) == granted.end()) continue;
      there = true;
      whole = whole || lease->gpu.whole;
      vram_bytes += who.gpu.vram_bytes > 0 ? lease->gpu.vram_bytes : 0;
      compute_pct += who.gpu.compute_pct > 0 ? lease->gpu.compute_pct : 0;
    }
    return there && (whole || vram_bytes > card.vram_bytes || compute_pct > 100);
  }

  // Whether it cannot be seated beside them at all.
  [[nodiscard]] bool keep_out(const Party& who) const {
    for (const Amount& a : snapshot_.counters(who))
      if (lacks(a)) return true;
    int could_have = 0;
    for (const Eligible& e : snapshot_.eligible(who)) could_have += lacks(who, e) ? 0 : 1;
    return could_have < who.gpu.count;
  }

 private:
  const Snapshot& snapshot_;
  std::vector<const Party*> leases_;
};

// Whether `self` takes nothing that `ahead` could have before those leases end.
bool may_pass(const Snapshot& snapshot, const Kept& kept, const Party& self, const Party& ahead) {
  if (kept.keep_out(ahead)) return true;
  for (const Amount& a : snapshot.counters(self))
    for (const Amount& b : snapshot.counters(ahead))
      if (a.resource == b.resource) return false;
  for (const Eligible& mine : snapshot.eligible(self))
    for (const Eligible& theirs : snapshot.eligible(ahead))
      if (mine.device == theirs.device && !kept.lacks(ahead, theirs)) return false;
  return true;
}

}  // namespace

std::function<bool(int)> passing(const Snapshot& snapshot, int self) {
  if (!at(snapshot, self).seconds) return {};
  Kept kept(snapshot, {}, at(snapshot, self));
  if (kept.empty()) return {};
  return [&snapshot, self, kept = std::move(kept)](int ahead) {
    return may_pass(snapshot, kept, at(snapshot, self), at(snapshot, ahead));
  };
}

void let_pass(const Snapshot& snapshot, const std::vector<bool>& absent, const std::function<bool(int)>& takes_nothing,
              std::vector<int>& line) {
  for (size_t from = 1; from < line.size(); ++from) {
    const int self = line[from];
    if (!at(snapshot, self).seconds || takes_nothing(self)) continue;
    const Kept kept(snapshot, absent, at(snapshot, self));
    if (kept.empty()) continue;
    size_t to = from;
    for (size_t next = from; next-- > 0;) {
      if (takes_nothing(line[next]) || !contend(snapshot, line[next], self)) continue;
      if (!may_pass(snapshot, kept, at(snapshot, self), at(snapshot, line[next]))) break;
      to = next;
    }
    std::rotate(line.begin() + static_cast<std::ptrdiff_t>(to), line.begin() + static_cast<std::ptrdiff_t>(from),
                line.begin() + static_cast<std::ptrdiff_t>(from) + 1);
  }
}

}  // namespace berth
