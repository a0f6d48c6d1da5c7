// Small random pools, such as can come about: whoever holds something was seated there by the plan.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "sched/pool_sketch.h"

namespace berth {

enum class WithCards { no, yes };
enum class WithQuotas { no, yes };

inline Claim any_claim(WithCards with_cards) {
  Claim claim;
  for (const char* name : {"cpu", "ram", "lic"})
    if (*rc::gen::inRange(0, 3) == 0) claim.counters.push_back({name, *rc::gen::inRange(1, 4)});
  if (with_cards == WithCards::yes && *rc::gen::inRange(0, 3) != 0) {
    const std::vector<DeviceRef> all{{"A", 24}, {"B", 16}, {"C", 24}};
    const int which = *rc::gen::inRange(1, 8);
    for (size_t i = 0; i < all.size(); ++i)
      if ((which >> i & 1) != 0) claim.eligible.push_back(all[i]);
    claim.gpu.count = *rc::gen::inRange(1, 3);
    claim.gpu.whole = *rc::gen::inRange(0, 3) == 0;
    if (!claim.gpu.whole) claim.gpu.vram_bytes = *rc::gen::element(4, 8, 12, 16, 20, 24);
    if (!claim.gpu.whole && *rc::gen::inRange(0, 3) == 0) claim.gpu.compute_pct = 50;
    if (!claim.gpu.whole && *rc::gen::inRange(0, 4) == 0) {  // a turn
      claim.gpu.vram_bytes = 0;
      claim.gpu.compute_pct = *rc::gen::element(50, 100);
    }
  }
  if (claim.counters.empty() && claim.gpu.count == 0) claim.counters.push_back({"cpu", 1});
  return claim;
}

// Was asked for from inside of a lease that is there, perhaps.
inline void perhaps_inside(Snapshot& snapshot, int party) {
  std::vector<PartyId> leases;
  for (const Party& p : snapshot.parties)
    if (p.state == PartyState::held) leases.push_back(p.id);
  if (leases.empty() || *rc::gen::inRange(0, 3) != 0) return;
  snapshot.parties[static_cast<size_t>(party)].seconds = true;
  snapshot.parties[static_cast<size_t>(party)].with = *rc::gen::elementOf(leases);
}

// Makes parties[index] a holder of what the plan gives it.
inline void seat(Snapshot& snapshot, const Plan& by, int index) {
  snapshot.grant(static_cast<size_t>(index), by.seat_of(index));
  snapshot.parties[static_cast<size_t>(index)].state = PartyState::held;
  snapshot.parties[static_cast<size_t>(index)].seated_us = snapshot.now_us;
}

inline void remove(Snapshot& snapshot, const std::vector<bool>& gone) {
  std::vector<Party> left;
  for (size_t i = 0; i < snapshot.parties.size(); ++i)
    if (!gone[i]) left.push_back(snapshot.parties[i]);
  snapshot.parties = std::move(left);
}

inline Snapshot any_pool(WithCards with_cards, int at_most, WithQuotas with_quotas = WithQuotas::no) {
  PoolSketch pool({{"cpu", 3}, {"ram", 3}, {"lic", 2}});
  if (with_quotas == WithQuotas::yes) {
    pool.snapshot.policy.quotas.push_back({"cpu", *rc::gen::inRange(1, 3)});
    for (const char* name : {"gpus", "lic"})
      if (*rc::gen::inRange(0, 2) == 0) pool.snapshot.policy.quotas.push_back({name, *rc::gen::inRange(1, 3)});
  }
  const int count = *rc::gen::inRange(2, at_most + 1);
  for (int i = 0; i < count; ++i) {
    if (with_quotas == WithQuotas::yes) pool.as_user(*rc::gen::element<std::string>("1001", "1001.1", "1002"));
    perhaps_inside(pool.snapshot, pool.waits(any_claim(with_cards), *rc::gen::inRange(0, 3) / 2));
    // Some sit down as soon as they may, some are slow.
    const Plan now = plan(pool.snapshot);
    for (const int party : now.line)
      if (now.verdict_of(party) == Verdict::seat && *rc::gen::inRange(0, 2) == 0) seat(pool.snapshot, now, party);
  }
  std::vector<bool> gone(pool.snapshot.parties.size());
  for (size_t i = 0; i < gone.size(); ++i)
    gone[i] = pool.snapshot.parties[i].state == PartyState::held && *rc::gen::inRange(0, 4) == 0;
  remove(pool.snapshot, gone);
  return pool.snapshot;
}

// The same at a certain time, where jobs say how long they take: `all` of them, or some, and of those
// who hold some are past it.
enum class Saying : uint8_t { some, all };

inline Snapshot any_timed_pool(WithCards with_cards, int at_most, Saying saying,
                               WithQuotas with_quotas = WithQuotas::no) {
  constexpr int64_t second = 1'000'000;
  Snapshot s = any_pool(with_cards, at_most, with_quotas);
  s.now_us = 1'000 * second;
  for (Party& p : s.parties) {
    p.expect_s = saying == Saying::all || *rc::gen::inRange(0, 3) != 0 ? *rc::gen::inRange(1, 9) : 0;
    if (p.state != PartyState::held) continue;
    const int64_t ago_s = saying == Saying::all ? *rc::gen::inRange<int64_t>(0, p.expect_s) : *rc::gen::inRange(0, 9);
    p.seated_us = s.now_us - ago_s * second;
  }
  return s;
}

// Everybody who may sit down does.
inline void settle(Snapshot& s) {
  for (bool again = true; again;) {
    again = false;
    const Plan now = plan(s);
    for (const int party : now.line)
      if (now.verdict_of(party) == Verdict::seat) {
        seat(s, now, party);
        again = true;
        break;
      }
  }
}

// Adds up by name; knows nothing of how the plan counts.
inline bool over_granted(const Snapshot& s) {
  std::map<std::string, int64_t> taken;
  std::map<uint16_t, int> users;
  std::map<uint16_t, bool> whole;
  std::map<uint16_t, int64_t> vram;
  std::map<uint16_t, int64_t> size;
  std::map<uint16_t, int> compute;
  for (const Party& p : s.parties) {
    if (p.state != PartyState::held) continue;
    for (const Amount& a : s.counters(p)) taken[s.resources[a.resource].name] += a.amount;
    for (const Eligible& e : s.eligible(p)) size[e.device] = e.vram_bytes;
    if (s.granted(p).size() != static_cast<size_t>(p.gpu.count)) return true;
    for (const uint16_t d : s.granted(p)) {
      ++users[d];
      whole[d] = whole[d] || p.gpu.whole;
      vram[d] += p.gpu.vram_bytes;
      compute[d] += p.gpu.compute_pct;
    }
  }
  for (const Resource& r : s.resources)
    if (taken[r.name] > r.capacity) return true;
  return std::any_of(users.begin(), users.end(), [&](const auto& u) {
    const uint16_t d = u.first;
    return (whole[d] && u.second > 1) || vram[d] > size[d] || compute[d] > 100;
  });
}

// Everybody sits down whom this plan seats.
inline void seat_all(Snapshot& s, const Plan& now) {
  for (const int party : now.line)
    if (now.verdict_of(party) == Verdict::seat) seat(s, now, party);
}

// The same parties, read in another order.
inline Snapshot shuffled(Snapshot s) {
  std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
  std::shuffle(s.parties.begin(), s.parties.end(), random);
  return s;
}

// Indices of the holders; every subset of them is `1 << size()` masks.
inline std::vector<int> holders_of(const Snapshot& snapshot) {
  std::vector<int> out;
  for (size_t i = 0; i < snapshot.parties.size(); ++i)
    if (snapshot.parties[i].state == PartyState::held) out.push_back(static_cast<int>(i));
  return out;
}

inline std::vector<bool> chosen(const Snapshot& snapshot, const std::vector<int>& among, unsigned mask) {
  std::vector<bool> out(snapshot.parties.size(), false);
  for (size_t i = 0; i < among.size(); ++i) out[static_cast<size_t>(among[i])] = (mask >> i & 1U) != 0;
  return out;
}

// One line a party, for a counterexample.
inline std::string sketch(const Snapshot& s) {
  std::string out;
  for (const Quota& q : s.policy.quotas) out += q.name + " a user " + std::to_string(q.most) + "\n";
  for (size_t i = 0; i < s.parties.size(); ++i) {
    const Party& p = s.parties[i];
    out += std::to_string(i) + " of " + std::string(p.dir()) + (p.state == PartyState::held ? " holds" : " waits");
    if (p.seconds) out += " with " + std::to_string(s.find(p.with_key()));
    if (p.priority != 0) out += " at priority " + std::to_string(p.priority);
    for (const Amount& a : s.counters(p)) out += " " + s.resources[a.resource].name + "=" + std::to_string(a.amount);
    if (p.gpu.count > 0) {
      out += " gpu=" + std::to_string(p.gpu.count);
      if (!p.gpu.whole)
        out += " vram=" + std::to_string(p.gpu.vram_bytes) + " compute=" + std::to_string(p.gpu.compute_pct);
      for (const Eligible& e : s.eligible(p)) out += " on " + s.devices[e.device];
      for (const uint16_t d : s.granted(p)) out += " has " + s.devices[d];
    }
    out += "\n";
  }
  return out;
}

}  // namespace berth
