#include "sched/reduction.h"

#include <algorithm>

#include "sched/quota.h"
#include "sched/shape.h"
#include "sched/timeline.h"
#include "sched/way_rules.h"

namespace berth {

namespace {

// What the going through a party's row of numbers costs, beside planning for a party.
constexpr size_t numbers_a_party = 16;

// Cuts parties out of a snapshot, with just those resources and devices that they speak of.
class Cutter {
 public:
  explicit Cutter(const Snapshot& all)
      : all_(all), resource_to_(all.resources.size(), unknown), device_to_(all.devices.size(), unknown) {}

  void begin(Snapshot& out) {
    for (const uint16_t r : resources_) resource_to_[r] = unknown;
    for (const uint16_t d : devices_) device_to_[d] = unknown;
    resources_.clear();
    devices_.clear();
    out_ = &out;
  }

  void add(const Party& party) {
    Party copy = party;
    copy.counters.first = static_cast<uint32_t>(out_->amounts.size());
    for (const Amount& a : all_.counters(party)) out_->amounts.push_back({resource(a.resource), a.amount});
    copy.eligible.first = static_cast<uint32_t>(out_->eligibles.size());
    copy.vetoed.first = copy.eligible.first + copy.eligible.count;
    for (const auto& devices : {all_.eligible(party), all_.vetoed(party)})
      for (Eligible e : devices) {
        e.device = device(e.device);
        out_->eligibles.push_back(e);
      }
    copy.granted.first = static_cast<uint32_t>(out_->grants.size());
    for (const uint16_t d : all_.granted(party)) out_->grants.push_back(device(d));
    out_->parties.push_back(copy);
  }

  // Of the snapshot begun with, as `party` has them. Nothing of all the others.
  void give_what_it_holds(const Party& party) {
    for (Resource& r : out_->resources) r.capacity = 0;
    for (const Amount& a : all_.counters(party))
      if (resource_to_[a.resource] != unknown)
        out_->resources[static_cast<size_t>(resource_to_[a.resource])].capacity = a.amount;
  }

 private:
  static constexpr int unknown = -1;

  uint16_t resource(uint16_t index) {
    int& to = resource_to_[index];
    if (to == unknown) {
      to = static_cast<int>(out_->resources.size());
      out_->resources.push_back(all_.resources[index]);
      resources_.push_back(index);
    }
    return static_cast<uint16_t>(to);
  }

  uint16_t device(uint16_t index) {
    int& to = device_to_[index];
    if (to == unknown) {
      to = static_cast<int>(out_->devices.size());
      out_->devices.push_back(all_.devices[index]);
      devices_.push_back(index);
    }
    return static_cast<uint16_t>(to);
  }

  const Snapshot& all_;
  std::vector<int> resource_to_;
  std::vector<int> device_to_;
  std::vector<uint16_t> resources_;  // that resource_to_ knows
  std::vector<uint16_t> devices_;
  Snapshot* out_ = nullptr;
};

// Who asks from inside of a lease is compared with everybody before it (precedence.h).
size_t cost_of_planning(const Group& group) {
  size_t seconds = 0;
  for (const Party& p : group.pool.parties) seconds += p.seconds && p.state != PartyState::held ? 1 : 0;
  return group.who.size() + group.pool.eligibles.size() / numbers_a_party +
         seconds * (group.who.size() / numbers_a_party);
}

bool may_be_asked(const Party& party) {
  return party.state == PartyState::held && party.way.reclaimable && !refuses(party.way);
}

}  // namespace

Reduction::Reduction(const Snapshot& all, const Families& families, const std::vector<bool>& absent, Work& work)
    : all_(all),
      families_(families),
      work_(work),
      gone_(all.parties.size(), false),
      inside_(all.parties.size(), 0),
      places_(all.parties.size(), {-1, -1}),
      now_us_(all.now_us) {
  work_.take(all.parties.size() + (all.eligibles.size() + all.resources.size() + all.devices.size()) / numbers_a_party);
  for (size_t i = 0; i < gone_.size(); ++i) gone_[i] = !absent.empty() && absent[i];
  for (size_t i = 0; i < gone_.size(); ++i)
    if (!gone_[i])
      families_.each_kept_by(static_cast<int>(i), [&](int lease) { ++inside_[static_cast<size_t>(lease)]; });
  add_groups();
}

const Group* Reduction::group_of(int party) const {
  const int group = places_[static_cast<size_t>(party)].first;
  return group < 0 ? nullptr : &groups_[static_cast<size_t>(group)];
}

void Reduction::add_groups() {
  std::vector<std::vector<int>> members(1);
  std::vector<int> parents{-1};
  std::vector<int> group_inside(all_.parties.size(), -1);
  for (size_t i = 0; i < all_.parties.size(); ++i) {
    size_t group = 0;
    if (all_.parties[i].nested) {
      const int parent = families_.parent(static_cast<int>(i));
      if (parent < 0 || all_.parties[static_cast<size_t>(parent)].state != PartyState::held) continue;
      int& known = group_inside[static_cast<size_t>(parent)];
      if (known < 0) {
        known = static_cast<int>(members.size());
        members.emplace_back();
        parents.push_back(parent);
      }
      group = static_cast<size_t>(known);
    }
    places_[i] = {static_cast<int>(group), static_cast<int>(members[group].size())};
    members[group].push_back(static_cast<int>(i));
  }
  groups_.resize(members.size());
  Cutter cutter(all_);
  for (size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    group.pool.now_us = now_us_;
    group.pool.policy = all_.policy;
    if (g > 0) group.pool.policy.quotas.clear();  // they are of the top alone
    cutter.begin(group.pool);
    for (const int party : members[g]) {
      cutter.add(all_.parties[static_cast<size_t>(party)]);
      group.gone.push_back(gone_[static_cast<size_t>(party)]);
      group.waiting += !group.gone.back() && group.pool.parties.back().state == PartyState::waiting ? 1 : 0;
      group.pool.any_reclaimable |= may_be_asked(group.pool.parties.back());
    }
    if (g > 0) cutter.give_what_it_holds(all_.parties[static_cast<size_t>(parents[g])]);
    group.who = std::move(members[g]);
    changed_.push_back(g);
  }
  // At the top whoever asks from inside of a lease asks for the outermost one around it.
  for (size_t i = 0; i < groups_[0].who.size(); ++i) {
    Party& party = groups_[0].pool.parties[i];
    for (int lease = families_.with(groups_[0].who[i]); lease >= 0 && work_.take(1);) {
      party.with = all_.parties[static_cast<size_t>(lease)].id;
      lease = families_.parent(lease);
    }
  }
}

void Reduction::run() {
  for (size_t i = 0; i < gone_.size(); ++i)
    // Who is inside of a lease that is not there waits for nothing.
    if (!gone_[i] && (places_[i].first < 0 || can_end(static_cast<int>(i)))) end(static_cast<int>(i));
  do {
    do seat_all();
    while (work_.is_left() && some_give_way());
  } while (work_.is_left() && time_passes());
}

bool Reduction::can_end(int party) const {
  const Party& p = all_.parties[static_cast<size_t>(party)];
  if (p.state != PartyState::held) return p.way.gives_up;
  return inside_[static_cast<size_t>(party)] == 0 || (may_be_asked(p) && (asked_by_hand(p.way) || p.way.yielding));
}

void Reduction::end(int party) {
  std::vector<int> todo{party};
  while (!todo.empty()) {
    const int next = todo.back();
    todo.pop_back();
    if (!left(next)) continue;
    gone_[static_cast<size_t>(next)] = true;
    note_change(next);
    families_.each_kept_by(next, [&](int lease) {
      --inside_[static_cast<size_t>(lease)];
      if (left(lease) && can_end(lease)) todo.push_back(lease);
    });
  }
}

void Reduction::note_change(int party) {
  const auto [at, place] = places_[static_cast<size_t>(party)];
  if (at < 0) return;
  Group& group = groups_[static_cast<size_t>(at)];
  group.gone[static_cast<size_t>(place)] = true;
  if (group.pool.parties[static_cast<size_t>(place)].state == PartyState::waiting) --group.waiting;
  if (!std::exchange(group.changed, true)) changed_.push_back(static_cast<size_t>(at));
}

void Reduction::seat_all() {
  while (!changed_.empty() && work_.is_left()) {
    Group& group = groups_[changed_.back()];
    changed_.pop_back();
    group.changed = false;
    if (group.waiting > 0) seat_some(group);
  }
}

void Reduction::seat_some(Group& group) {
  if (!work_.take(cost_of_planning(group))) return;
  const Plan now = plan(group.pool, group.gone);
  for (const int at : now.line)
    if (now.verdict_of(at) == Verdict::seat) end(group.who[static_cast<size_t>(at)]);
}

// A holder may be asked to give way for a waiter of higher priority (reclaim.h), whoever waits inside of it.
bool Reduction::some_give_way() {
  return std::any_of(groups_.begin(), groups_.end(), [&](Group& group) {
    return group.pool.any_reclaimable && group.waiting > 0 && work_.is_left() && some_give_way(group);
  });
}

bool Reduction::some_give_way(Group& group) {
  const std::vector<Party>& parties = group.pool.parties;
  std::vector<int> holders;
  for (size_t i = 0; i < parties.size(); ++i)
    if (!group.gone[i] && may_be_asked(parties[i])) holders.push_back(static_cast<int>(i));
  if (holders.empty()) return false;
  for (size_t w = 0; w < parties.size(); ++w) {
    if (group.gone[w] || parties[w].state != PartyState::waiting) continue;
    if (!work_.take(1 + holders.size() / 4)) return false;
    std::vector<int> asked;
    std::vector<bool> without = group.gone;
    for (const int h : holders) {
      const Party& holder = parties[static_cast<size_t>(h)];
      if (holder.priority >= parties[w].priority) continue;
      if (!contend(group.pool, static_cast<int>(w), h) && !share_a_quota(group.pool, parties[w], holder)) continue;
      asked.push_back(h);
      without[static_cast<size_t>(h)] = true;
    }
    if (asked.empty()) continue;
    if (!work_.take(cost_of_planning(group))) return false;
    if (plan(group.pool, without).verdicts[w] != Verdict::seat) continue;
    for (const int h : asked) end(group.who[static_cast<size_t>(h)]);
    return true;
  }
  return false;
}

// To the next expected end of who is left, and at last to where nobody is expected to end any more.
bool Reduction::time_passes() {
  if (untimed_ || !work_.take(1 + gone_.size() / numbers_a_party)) return false;
  std::optional<int64_t> next_us;
  for (size_t i = 0; i < gone_.size(); ++i) {
    const Party& p = all_.parties[i];
    if (gone_[i] || p.state != PartyState::held) continue;
    const int64_t end_us = expected_end_us(p, p.seated_us);
    if (end_us > now_us_ && end_us != never_us && (!next_us || end_us < *next_us)) next_us = end_us;
  }
  untimed_ = now_us_ <= 0 || !next_us;
  now_us_ = untimed_ ? 0 : *next_us;
  for (size_t g = 0; g < groups_.size(); ++g) {
    groups_[g].pool.now_us = now_us_;
    if (!std::exchange(groups_[g].changed, true)) changed_.push_back(g);
  }
  return true;
}

}  // namespace berth
