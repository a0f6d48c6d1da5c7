#include "cli/outlook.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "sched/reclaim.h"
#include "sched/shape.h"
#include "sched/timeline.h"

namespace berth {

namespace {

// What one waiter is short of, with the holders alone in their seats.
class Shortage {
 public:
  Shortage(const Snapshot& group, const std::vector<bool>& absent, int self)
      : group_(group), absent_(absent), self_(group.parties[static_cast<size_t>(self)]) {
    for (const Amount& a : group_.counters(self_))
      if (held(a.resource) + a.amount > group_.resources[a.resource].capacity) resources_.push_back(a.resource);
    int with_room = 0;
    for (const Eligible& e : group_.eligible(self_)) {
      const Lack lack = lack_of(e);
      if (lack.any())
        devices_.emplace(e.device, lack);
      else
        ++with_room;
    }
    if (with_room >= self_.gpu.count) devices_.clear();
  }

  [[nodiscard]] bool any() const { return !resources_.empty() || !devices_.empty(); }

  // What of it this holder has.
  [[nodiscard]] std::optional<Obstacle> part_of(int holder) const {
    Obstacle out{holder, {}, 0};
    const Party& party = group_.parties[static_cast<size_t>(holder)];
    for (const uint16_t granted : group_.granted(party)) {
      const auto found = devices_.find(granted);
      if (found != devices_.end() && found->second.is_taken_by(party)) out.devices.push_back(granted);
    }
    if (!out.devices.empty()) return out;
    for (const Amount& a : group_.counters(party))
      if (std::find(resources_.begin(), resources_.end(), a.resource) != resources_.end()) {
        out.resource = a.resource;
        return out;
      }
    return std::nullopt;
  }

  // Where it is short of nothing: whatever it wants that this holder has.
  [[nodiscard]] Obstacle common_with(int holder) const {
    Obstacle out{holder, {}, 0};
    const Party& party = group_.parties[static_cast<size_t>(holder)];
    for (const uint16_t granted : group_.granted(party))
      for (const Eligible& e : group_.eligible(self_))
        if (e.device == granted) out.devices.push_back(granted);
    for (const Amount& a : group_.counters(party))
      for (const Amount& own : group_.counters(self_))
        if (a.resource == own.resource) out.resource = a.resource;
    return out;
  }

 private:
  template <class Visit>
  void each_holder(Visit visit) const {
    for (size_t i = 0; i < group_.parties.size(); ++i)
      if (group_.parties[i].state == PartyState::held && (absent_.empty() || !absent_[i])) visit(group_.parties[i]);
  }

  [[nodiscard]] int64_t held(uint16_t resource) const {
    int64_t sum = 0;
    each_holder([&](const Party& p) {
      for (const Amount& a : group_.counters(p))
        if (a.resource == resource) sum = std::min(max_held, sum + a.amount);
    });
    return sum;
  }

  // What a device has too little of.
  struct Lack {
    bool all = false;  // it is used, and a whole one is wanted; or somebody has the whole of it
    bool vram = false;
    bool compute = false;
    [[nodiscard]] bool any() const { return all || vram || compute; }
    [[nodiscard]] bool is_taken_by(const Party& holder) const {
      return all || (vram && holder.gpu.vram_bytes > 0) || (compute && holder.gpu.compute_pct > 0);
    }
  };

  [[nodiscard]] Lack lack_of(const Eligible& e) const {
    int64_t vram_bytes = 0;
    int compute_pct = 0;
    Lack out;
    each_holder([&](const Party& p) {
      for (const uint16_t granted : group_.granted(p)) {
        if (granted != e.device) continue;
        out.all |= self_.gpu.whole || p.gpu.whole;
        vram_bytes = std::min(max_held, vram_bytes + p.gpu.vram_bytes);
        compute_pct += p.gpu.compute_pct;
      }
    });
    out.vram = self_.gpu.vram_bytes > 0 && vram_bytes + self_.gpu.vram_bytes > e.vram_bytes;
    out.compute = self_.gpu.compute_pct > 0 && compute_pct + self_.gpu.compute_pct > 100;
    return out;
  }

  static constexpr int64_t max_held = int64_t{1} << 61;

  const Snapshot& group_;
  const std::vector<bool>& absent_;
  const Party& self_;
  std::vector<uint16_t> resources_;
  std::map<uint16_t, Lack> devices_;
};

}  // namespace

Plan plan_with_starts(const Snapshot& group, const std::vector<bool>& absent) {
  constexpr int most_moments = 32;
  Plan out = plan(group, absent, Extent::everybody);
  const auto unknown = [&](int i) {
    return out.verdict_of(i) == Verdict::wait && out.starts_us[static_cast<size_t>(i)] < 0;
  };
  if (!out.timed || std::none_of(out.line.begin(), out.line.end(), unknown)) return out;
  // From one known end to the next: who may sit down then does, and goes when it said.
  Snapshot then = group;
  std::vector<bool> gone(absent);
  gone.resize(group.parties.size(), false);
  std::set<std::pair<int64_t, size_t>> ends;
  const auto note_end = [&](size_t i) {
    const int64_t end_us = expected_end_us(then.parties[i], then.parties[i].seated_us);
    if (end_us > then.now_us && end_us != never_us) ends.emplace(end_us, i);
  };
  for (size_t i = 0; i < then.parties.size(); ++i)
    if (then.parties[i].state == PartyState::held && !gone[i]) note_end(i);
  for (int moment = 0; moment < most_moments; ++moment) {
    const Plan later = plan(then, gone);
    for (const int i : later.line) {
      const auto index = static_cast<size_t>(i);
      if (later.verdicts[index] != Verdict::seat) continue;
      if (unknown(i)) out.starts_us[index] = then.now_us;
      then.parties[index].state = PartyState::held;
      then.parties[index].seated_us = then.now_us;
      then.grant(index, later.seat_of(i));
      note_end(index);
    }
    if (ends.empty()) break;
    then.now_us = ends.begin()->first;
    for (; !ends.empty() && ends.begin()->first == then.now_us; ends.erase(ends.begin()))
      gone[ends.begin()->second] = true;
  }
  return out;
}

Outlook outlook(const Snapshot& group, const std::vector<bool>& absent, int self) {
  Outlook out;
  const Plan planned = plan_with_starts(group, absent);
  out.verdict = planned.verdict_of(self);
  out.start_us = planned.starts_us[static_cast<size_t>(self)];
  const Party& own = group.parties[static_cast<size_t>(self)];
  const OrderKey own_key = order_key(own, group.policy);
  for (const int other : planned.line) {
    if (other == self) break;
    if (own.out && !(order_key(group.parties[static_cast<size_t>(other)], group.policy) < own_key)) continue;
    // Who is over a quota holds up nobody but its user's own.
    const bool aside = planned.is_over_quota(other) && group.parties[static_cast<size_t>(other)].user() != own.user();
    const bool blocks = planned.verdict_of(other) != Verdict::impossible && !aside;
    if (blocks && contend(group, other, self)) out.ahead.push_back(other);
  }
  // Who is out stands in no plan, and is ahead of those that are out as well.
  for (size_t i = 0; own.out && i < group.parties.size(); ++i) {
    const Party& p = group.parties[i];
    const bool there = p.out && p.state == PartyState::waiting && (absent.empty() || !absent[i]);
    if (there && order_key(p, group.policy) < own_key && contend(group, static_cast<int>(i), self))
      out.ahead.push_back(static_cast<int>(i));
  }
  if (planned.is_over_quota(self)) {
    out.over_quota = planned.over_quota[static_cast<size_t>(self)];
    return out;
  }
  if (out.verdict == Verdict::wait)
    for (const Reclaim& r : reclaims(group, absent))
      if (r.waiter == self) out.asked.push_back(r.holder);
  if (!out.asked.empty()) out.start_us = -1;
  const Shortage shortage(group, absent, self);
  for (size_t i = 0; i < group.parties.size(); ++i) {
    const int holder = static_cast<int>(i);
    if (group.parties[i].state != PartyState::held || (!absent.empty() && absent[i])) continue;
    if (!contend(group, holder, self)) continue;
    if (!shortage.any())
      out.obstacles.push_back(shortage.common_with(holder));
    else if (auto part = shortage.part_of(holder))
      out.obstacles.push_back(std::move(*part));
  }
  const auto rank = [&](const Obstacle& o) {
    const Party& p = group.parties[static_cast<size_t>(o.holder)];
    const int64_t end_us = expected_end_us(p, p.seated_us);
    const bool asked = std::find(out.asked.begin(), out.asked.end(), o.holder) != out.asked.end();
    return std::tuple(!asked, end_us <= group.now_us ? never_us : end_us, p.seated_us, p.id);
  };
  std::sort(out.obstacles.begin(), out.obstacles.end(),
            [&](const Obstacle& a, const Obstacle& b) { return rank(a) < rank(b); });
  return out;
}

}  // namespace berth
