#include "sched/watch.h"

#include <algorithm>
#include <numeric>

#include "core/index_set.h"
#include "sched/precedence.h"
#include "sched/quota.h"

namespace berth {

namespace {

// What a claim can be short of, without the amounts. Waiters of one shape block each other alike,
// so chains are found per shape and not per pair.
struct Shape {
  IndexSet counters;
  bool gpu = false;
  bool one_or_whole = false;
  bool whole = false;
  bool vram = false;  // of a share: which of a card's two quantities it wants
  bool compute = false;
  IndexSet devices;
  std::vector<uint32_t> quotas;  // items, sorted
  bool over_quota = false;
  friend bool operator==(const Shape&, const Shape&) = default;
};

// The devices that a party has, or that it may come to have.
template <class Visit>
void each_device(const Snapshot& snapshot, const Party& party, const Visit& visit) {
  if (party.state == PartyState::held) {
    for (const uint16_t d : snapshot.granted(party)) visit(d);
    return;
  }
  for (const Eligible& e : snapshot.eligible(party))
    if (could_ever_hold(party, e)) visit(e.device);
}

// Party `index` of the snapshot that `quotas` is of.
Shape shape_of(const Snapshot& snapshot, const Quotas& quotas, int index) {
  const Party& party = snapshot.parties[static_cast<size_t>(index)];
  Shape shape;
  for (const Quotas::Use& use : quotas.of(index)) shape.quotas.push_back(use.item);
  std::sort(shape.quotas.begin(), shape.quotas.end());
  for (const Amount& a : snapshot.counters(party)) shape.counters.add(a.resource);
  shape.gpu = party.gpu.count > 0;
  shape.one_or_whole = party.gpu.count == 1 || party.gpu.whole;
  shape.whole = party.gpu.whole && shape.gpu;
  shape.vram = party.gpu.vram_bytes > 0;
  shape.compute = party.gpu.compute_pct > 0;
  each_device(snapshot, party, [&](uint16_t d) { shape.devices.add(d); });
  return shape;
}

// Who is over quota closes nothing but that; when it is so no more, what it is short of then.
bool surely_blocks(const Shape& ahead, const Shape& behind) {
  if (ahead.over_quota &&
      !std::includes(behind.quotas.begin(), behind.quotas.end(), ahead.quotas.begin(), ahead.quotas.end()))
    return false;
  if (!ahead.counters.within(behind.counters)) return false;
  if (!ahead.gpu) return !ahead.counters.empty();
  if (!behind.gpu || !ahead.one_or_whole || !behind.devices.within(ahead.devices)) return false;
  // Whichever of the two it is short of, the other one must want it as well.
  return ahead.whole || behind.whole || ((behind.vram || !ahead.vram) && (behind.compute || !ahead.compute));
}

bool shapes_contend(const Shape& a, const Shape& b) {
  const auto among_b = [&](uint32_t item) { return std::binary_search(b.quotas.begin(), b.quotas.end(), item); };
  return a.counters.meets(b.counters) || a.devices.meets(b.devices) ||
         std::any_of(a.quotas.begin(), a.quotas.end(), among_b);
}

const Party& at(const Snapshot& snapshot, int index) { return snapshot.parties[static_cast<size_t>(index)]; }

Verdict verdict_of(const Plan& plan, int index) { return plan.verdicts[static_cast<size_t>(index)]; }

// The order in which indices are handed out to be rung: as they stand in the line.
class RingList {
 public:
  RingList(const Plan& plan, const std::vector<int>& changed) : plan_(plan), wanted_(plan.verdicts.size(), false) {
    changed_.assign(plan.verdicts.size(), false);
    for (const int c : changed) changed_[static_cast<size_t>(c)] = true;
  }
  void add(int index) {
    if (!changed_[static_cast<size_t>(index)]) wanted_[static_cast<size_t>(index)] = true;
  }
  [[nodiscard]] std::vector<int> in_line_order() const {
    std::vector<int> out;
    for (const int index : plan_.line)
      if (wanted_[static_cast<size_t>(index)]) out.push_back(index);
    return out;
  }

 private:
  const Plan& plan_;
  std::vector<bool> wanted_;
  std::vector<bool> changed_;
};

// ---- with estimates: see "Who watches whom when jobs say how long they take" in watch.h ----

// Counters, devices and quotas, numbered in this order.
class Items {
 public:
  explicit Items(const Snapshot& snapshot) : snapshot_(snapshot), quotas_(snapshot) {}
  [[nodiscard]] size_t size() const { return snapshot_.resources.size() + snapshot_.devices.size() + quotas_.items(); }
  // Calls visit(item) for each that the party has or wants some of.
  template <class Visit>
  void each(int index, const Visit& visit) const {
    const Party& party = snapshot_.parties[static_cast<size_t>(index)];
    for (const Amount& a : snapshot_.counters(party)) visit(size_t{a.resource});
    const size_t devices = snapshot_.resources.size();
    each_device(snapshot_, party, [&](uint16_t d) { visit(devices + d); });
    for (const Quotas::Use& use : quotas_.of(index)) visit(devices + snapshot_.devices.size() + use.item);
  }

 private:
  const Snapshot& snapshot_;
  Quotas quotas_;
};

constexpr uint8_t lookouts_each = 2;

// For each item of parties[of] the two nearest waiters that want it: behind it if it stands in line, else
// from the front.
void add_watchers(const Snapshot& snapshot, const Items& items, const Plan& plan, int of, std::vector<int>& out) {
  std::vector<uint8_t> left(items.size(), 0);
  size_t open = 0;
  items.each(of, [&](size_t item) {
    if (left[item] == 0) ++open;
    left[item] = lookouts_each;
  });
  const bool in_line = at(snapshot, of).state != PartyState::held && verdict_of(plan, of) != Verdict::none;
  auto from = plan.line.begin();
  if (in_line) from = std::find(plan.line.begin(), plan.line.end(), of) + 1;
  for (; from != plan.line.end() && open > 0; ++from) {
    if (*from == of || verdict_of(plan, *from) != Verdict::wait) continue;
    bool one = false;
    items.each(*from, [&](size_t item) {
      if (left[item] == 0) return;
      one = true;
      if (--left[item] == 0) --open;
    });
    if (one) out.push_back(*from);
  }
}

// The two that stand first for each item.
std::vector<int> lookouts(const Snapshot& snapshot, const Plan& plan) {
  const Items items(snapshot);
  std::vector<uint8_t> left(items.size(), lookouts_each);
  std::vector<int> out;
  for (const int waiter : plan.line) {
    if (verdict_of(plan, waiter) != Verdict::wait) continue;
    bool one = false;
    items.each(waiter, [&](size_t item) {
      if (left[item] == 0) return;
      one = true;
      --left[item];
    });
    if (one) out.push_back(waiter);
  }
  return out;
}

// What `self` watches of those ahead and of the holders.
std::vector<int> timed_watch(const Snapshot& snapshot, const Plan& plan, int self, const std::vector<int>& entitled,
                             bool& first_of_some) {
  const Items items(snapshot);
  std::vector<uint8_t> left(items.size(), 0);
  items.each(self, [&](size_t item) { left[item] = lookouts_each; });
  std::vector<int> out = entitled;
  auto from = std::find(plan.line.rbegin(), plan.line.rend(), self);
  if (from != plan.line.rend()) ++from;
  for (; from != plan.line.rend(); ++from) {
    if (verdict_of(plan, *from) != Verdict::wait) continue;
    bool one = false;
    items.each(*from, [&](size_t item) {
      if (left[item] == 0) return;
      one = true;
      --left[item];
    });
    if (one) out.push_back(*from);
  }
  first_of_some = false;
  items.each(self, [&](size_t item) { first_of_some = first_of_some || left[item] > 0; });
  return out;
}

}  // namespace

bool contend(const Snapshot& snapshot, int a, int b) {
  const Quotas none;
  return shapes_contend(shape_of(snapshot, none, a), shape_of(snapshot, none, b));
}

namespace {

// The two nearest sure blockers of one who would pass some of those ahead (precedence.h), by position in the line;
// `shapes` of those before it.
std::array<int, 2> blockers_of_passer(const Plan& plan, const std::vector<Shape>& shapes, const Shape& own,
                                      const std::function<bool(int)>& passes) {
  std::array<int, 2> nearest{-1, -1};
  size_t found = 0;
  for (size_t position = shapes.size(); position-- > 0 && found < nearest.size();) {
    const int ahead = plan.line[position];
    if (verdict_of(plan, ahead) == Verdict::wait && surely_blocks(shapes[position], own) && !passes(ahead))
      nearest[found++] = static_cast<int>(position);
  }
  return nearest;
}

}  // namespace

Chains sure_blockers(const Snapshot& snapshot, const Plan& plan) {
  struct Kind {
    Shape shape;
    std::array<int, 2> last{-1, -1};  // positions in the line, nearest first
  };
  std::vector<Kind> kinds;
  Chains chains(snapshot.parties.size(), {-1, -1});
  if (plan.timed) return chains;
  const Quotas quotas(snapshot);
  const bool any_passes =
      std::any_of(plan.line.begin(), plan.line.end(), [&](int index) { return at(snapshot, index).seconds; });
  std::vector<Shape> shapes;  // of those before, where somebody may pass them
  for (size_t position = 0; position < plan.line.size(); ++position) {
    const int self = plan.line[position];
    Shape shape = shape_of(snapshot, quotas, self);
    shape.over_quota = plan.is_over_quota(self);
    std::array<int, 2> nearest{-1, -1};
    Kind* own = nullptr;
    for (Kind& kind : kinds) {
      if (kind.shape == shape) own = &kind;
      if (kind.last[0] < nearest[1] || !surely_blocks(kind.shape, shape)) continue;
      for (const int p : kind.last) {
        if (p > nearest[0])
          nearest = {p, nearest[0]};
        else if (p > nearest[1])
          nearest[1] = p;
      }
    }
    if (any_passes) {
      if (const auto passes = passing(snapshot, self)) nearest = blockers_of_passer(plan, shapes, shape, passes);
      shapes.push_back(shape);
    }
    for (size_t i = 0; i < 2; ++i)
      if (nearest[i] >= 0) chains[static_cast<size_t>(self)][i] = plan.line[static_cast<size_t>(nearest[i])];
    if (verdict_of(plan, self) != Verdict::wait) continue;
    if (own == nullptr) own = &kinds.emplace_back(Kind{shape, {-1, -1}});
    own->last = {static_cast<int>(position), own->last[0]};
  }
  return chains;
}

namespace {

// Everything that may keep self from its seat: what it wants itself, what those ahead want that
// contend with it, and so on. Counters and devices that one claim ahead names belong together, so the
// groups they fall into are found in one walk (union-find), however many parties and names there are.
class Reach {
 public:
  Reach(const Snapshot& snapshot, const Plan& plan, int self) : items_(snapshot), up_(items_.size()) {
    std::iota(up_.begin(), up_.end(), 0U);
    for (const int other : plan.line) {
      if (other != self && verdict_of(plan, other) == Verdict::impossible) continue;
      const std::optional<uint32_t> group = join(other);
      if (other != self) continue;
      own_ = group;
      break;
    }
  }
  [[nodiscard]] bool touches(int party) {
    bool found = false;
    if (own_)
      items_.each(party, [&](size_t item) { found = found || root(static_cast<uint32_t>(item)) == root(*own_); });
    return found;
  }

 private:
  uint32_t root(uint32_t item) {
    while (up_[item] != item) item = up_[item] = up_[up_[item]];
    return item;
  }
  std::optional<uint32_t> join(int party) {
    std::optional<uint32_t> first;
    items_.each(party, [&](size_t number) {
      const auto item = static_cast<uint32_t>(number);
      if (!first)
        first = item;
      else
        up_[root(item)] = root(*first);
    });
    return first;
  }

  const Items items_;
  std::vector<uint32_t> up_;  // by item: towards the one that stands for its group
  std::optional<uint32_t> own_;
};

}  // namespace

Watch watch(const Snapshot& snapshot, const Plan& plan, int self) {
  Watch out;
  Reach reach(snapshot, plan, self);
  for (const int other : plan.line) {
    if (other == self) break;
    if (verdict_of(plan, other) == Verdict::impossible) continue;
    if (!reach.touches(other)) continue;
    out.ahead.push_back(other);
    if (verdict_of(plan, other) == Verdict::seat) out.entitled.push_back(other);
  }
  for (size_t i = 0; i < snapshot.parties.size(); ++i) {
    if (snapshot.parties[i].state != PartyState::held) continue;
    if (reach.touches(static_cast<int>(i))) out.holders.push_back(static_cast<int>(i));
  }

  if (plan.timed) {
    bool first_of_some = false;
    out.parties = timed_watch(snapshot, plan, self, out.entitled, first_of_some);
    // Fewer than two before it: it is one of the two that watch those who have some of this, and of what
    // those before it wait for: they may be stopped, and not see that their turn has come.
    if (first_of_some) out.parties.insert(out.parties.end(), out.holders.begin(), out.holders.end());
    const auto& held = plan.held_back;
    if (first_of_some || std::find(held.begin(), held.end(), self) != held.end())
      out.look_again_us = plan.look_again_us;
    return out;
  }
  const Quotas quotas(snapshot);
  const Shape mine = shape_of(snapshot, quotas, self);
  const auto passes = passing(snapshot, self);
  for (auto it = out.ahead.rbegin(); it != out.ahead.rend() && out.parties.size() < 2; ++it) {
    if (verdict_of(plan, *it) != Verdict::wait) continue;
    Shape other = shape_of(snapshot, quotas, *it);
    other.over_quota = plan.is_over_quota(*it);
    if (surely_blocks(other, mine) && !(passes && passes(*it))) out.parties.push_back(*it);
  }
  if (out.parties.size() == 2) return out;
  out.parties = out.holders;
  out.parties.insert(out.parties.end(), out.ahead.begin(), out.ahead.end());
  return out;
}

bool lets_go(const Plan& plan_before, const Plan& plan_after, int waiter) {
  if (verdict_of(plan_before, waiter) != Verdict::wait) return false;
  return verdict_of(plan_after, waiter) == Verdict::seat ||
         (plan_after.is_over_quota(waiter) && !plan_before.is_over_quota(waiter));
}

std::vector<int> heirs(const Snapshot& before, const Plan& plan_before, const Chains& chains_before,
                       const Plan& plan_after) {
  std::vector<int> out;
  const auto turned = [&](int index) { return index >= 0 && lets_go(plan_before, plan_after, index); };
  const Items items(before);
  for (const int waiter : plan_before.line) {
    if (plan_before.timed) {
      if (turned(waiter)) add_watchers(before, items, plan_before, waiter, out);
      continue;
    }
    const std::array<int, 2>& chain = chains_before[static_cast<size_t>(waiter)];
    if (turned(chain[0]) || turned(chain[1])) out.push_back(waiter);
  }
  return out;
}

std::vector<int> newcomer_concerns(const Snapshot& after, const Plan& plan_before, const Plan& plan_after, int self) {
  std::vector<int> out;
  if (!plan_after.timed) return out;
  if (!plan_before.timed) out = lookouts(after, plan_after);
  if (at(after, self).state == PartyState::held) add_watchers(after, Items(after), plan_after, self, out);
  return out;
}

std::vector<int> overtaken(const Snapshot& after, const Plan& plan_after, int self) {
  std::vector<int> out;
  if (plan_after.line.empty() || plan_after.line.back() == self) return out;
  if (plan_after.timed) {
    add_watchers(after, Items(after), plan_after, self, out);
    return out;
  }
  const Chains chains = sure_blockers(after, plan_after);
  for (const int waiter : plan_after.line) {
    const std::array<int, 2>& chain = chains[static_cast<size_t>(waiter)];
    if (chain[0] == self || chain[1] == self) out.push_back(waiter);
  }
  return out;
}

namespace {

// Whether one of these is a lease that somebody inside of it stands where he stands for (precedence.h).
bool order_hangs_on(const Snapshot& snapshot, const std::vector<int>& changed) {
  for (const Party& p : snapshot.parties) {
    if (!p.seconds) continue;
    for (const int c : changed)
      if (at(snapshot, c).state == PartyState::held && at(snapshot, c) == p.with_key()) return true;
  }
  return false;
}

}  // namespace

std::vector<int> dependents(const Snapshot& before, const Plan& plan_before, const Chains& chains,
                            const std::vector<int>& changed) {
  RingList rings(plan_before, changed);
  if (changed.empty() || plan_before.line.empty()) return {};
  if (order_hangs_on(before, changed)) {
    for (const int waiter : plan_before.line) rings.add(waiter);
    return rings.in_line_order();
  }
  if (plan_before.timed) {
    const Items items(before);
    std::vector<int> watchers;
    for (const int c : changed) add_watchers(before, items, plan_before, c, watchers);
    for (const int w : watchers) rings.add(w);
    return rings.in_line_order();
  }
  const Quotas quotas(before);
  for (const int c : changed) {
    const bool was_holder = at(before, c).state == PartyState::held;
    const Shape shape = shape_of(before, quotas, c);
    for (const int waiter : plan_before.line) {
      const std::array<int, 2>& chain = chains[static_cast<size_t>(waiter)];
      if (was_holder) {
        if (chain[1] < 0 && shapes_contend(shape, shape_of(before, quotas, waiter))) rings.add(waiter);
      } else if (chain[0] == c || chain[1] == c) {
        rings.add(waiter);
      }
    }
  }
  return rings.in_line_order();
}

std::vector<int> entitled_and_keepers(const Snapshot& after, const Plan& plan_after, const std::vector<int>& changed,
                                      int keepers_each) {
  RingList rings(plan_after, changed);
  for (size_t position = 0; position < plan_after.line.size(); ++position) {
    const int entitled = plan_after.line[position];
    if (verdict_of(plan_after, entitled) != Verdict::seat) continue;
    rings.add(entitled);
    int keepers = keepers_each;
    for (size_t next = position + 1; next < plan_after.line.size() && keepers > 0; ++next) {
      const int behind = plan_after.line[next];
      if (verdict_of(plan_after, behind) == Verdict::impossible ||
          !(contend(after, entitled, behind) || share_a_quota(after, at(after, entitled), at(after, behind))))
        continue;
      rings.add(behind);
      --keepers;
    }
  }
  return rings.in_line_order();
}

}  // namespace berth
