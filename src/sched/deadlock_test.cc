#include "sched/deadlock.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <ctime>
#include <functional>
#include <set>

#include "sched/any_pool.h"

namespace berth {
namespace {

// parties[party] was asked for from inside of parties[lease], which lacked it.
void ask_inside(Snapshot& s, int party, int lease) {
  Party& p = s.parties[static_cast<size_t>(party)];
  p.seconds = true;
  p.with = s.parties[static_cast<size_t>(lease)].id;
}

void serve_inside(Snapshot& s, int party, int lease) {
  Party& p = s.parties[static_cast<size_t>(party)];
  p.nested = true;
  p.parent = s.parties[static_cast<size_t>(lease)].id;
}

// "1 waits for lic of 2; ...", or "" for none.
std::string cycle(const Snapshot& s, int self, const std::vector<bool>& absent = {}) {
  std::string out;
  for (const CycleWait& w : closed_cycle(s, absent, self, work_at_leisure))
    out += (out.empty() ? "" : "; ") + std::to_string(w.waiter) + " waits for " + w.wants + " of " +
           std::to_string(w.blocker);
  return out;
}

TEST(Deadlock, TwoWhoHoldWhatTheOtherWants) {
  PoolSketch pool({{"x", 1}, {"y", 1}});
  const int a = pool.holds(counts({{"x", 1}}));
  const int b = pool.holds(counts({{"y", 1}}));
  const int a2 = pool.waits(counts({{"y", 1}}));
  ask_inside(pool.snapshot, a2, a);
  EXPECT_EQ(cycle(pool.snapshot, a2), "") << "b can end";
  const int b2 = pool.waits(counts({{"x", 1}}));
  ask_inside(pool.snapshot, b2, b);
  EXPECT_EQ(cycle(pool.snapshot, b2), "3 waits for x of 0; 2 waits for y of 1");
}

TEST(Deadlock, WhoWaitsForItsOwnLease) {
  PoolSketch pool({{"x", 2}});
  const int a = pool.holds(counts({{"x", 1}}));
  const int more = pool.waits(counts({{"x", 2}}));
  ask_inside(pool.snapshot, more, a);
  EXPECT_EQ(cycle(pool.snapshot, more), "1 waits for x of 0");
  pool.snapshot.resources[0].capacity = 3;
  EXPECT_EQ(cycle(pool.snapshot, more), "");
}

TEST(Deadlock, CardsCloseACycleAsCountersDo) {
  const std::vector<DeviceRef> only{{"A", 24}};
  PoolSketch pool({{"x", 1}});
  const int a = pool.holds(share(16, only), {0});
  const int b = pool.holds(counts({{"x", 1}}));
  ask_inside(pool.snapshot, pool.waits(counts({{"x", 1}})), a);
  const int more = pool.waits(share(12, only));
  ask_inside(pool.snapshot, more, b);
  EXPECT_EQ(cycle(pool.snapshot, more), "3 waits for gpu of 0; 2 waits for x of 1");
  pool.snapshot.parties[static_cast<size_t>(more)].gpu.vram_bytes = 8;
  EXPECT_EQ(cycle(pool.snapshot, more), "") << "there is room beside it";
}

TEST(Deadlock, GoesThroughALeaseInsideALease) {
  PoolSketch pool({{"x", 1}, {"y", 1}});
  const int a = pool.holds(counts({{"x", 1}}));
  const int inner = pool.holds(counts({{"x", 1}}));
  serve_inside(pool.snapshot, inner, a);
  const int b = pool.holds(counts({{"y", 1}}));
  ask_inside(pool.snapshot, pool.waits(counts({{"y", 1}})), inner);
  const int more = pool.waits(counts({{"x", 1}}));
  ask_inside(pool.snapshot, more, b);
  EXPECT_EQ(cycle(pool.snapshot, more), "4 waits for x of 0; 3 waits for y of 2");
}

TEST(Deadlock, GoesThroughSiblingsInsideOneLease) {
  PoolSketch pool({{"x", 1}, {"y", 1}});
  const int a = pool.holds(counts({{"x", 1}}));
  const int first = pool.holds(counts({{"x", 1}}));
  serve_inside(pool.snapshot, first, a);
  const int second = pool.holds(counts({{"y", 1}}));  // has what it wants at the top ...
  ask_inside(pool.snapshot, second, a);
  const int rest = pool.waits(counts({{"x", 1}}));  // ... and waits for the rest inside
  serve_inside(pool.snapshot, rest, a);
  ask_inside(pool.snapshot, rest, second);
  const int more = pool.waits(counts({{"y", 1}}));
  ask_inside(pool.snapshot, more, first);
  EXPECT_EQ(cycle(pool.snapshot, more), "4 waits for y of 2; 3 waits for x of 1");
}

TEST(Deadlock, WhoWaitsBehindACycleClosesNone) {
  PoolSketch pool({{"x", 1}, {"y", 1}, {"z", 1}});
  const int a = pool.holds(counts({{"x", 1}}));
  const int b = pool.holds(counts({{"y", 1}}));
  ask_inside(pool.snapshot, pool.waits(counts({{"y", 1}})), a);
  ask_inside(pool.snapshot, pool.waits(counts({{"x", 1}})), b);
  const int c = pool.holds(counts({{"z", 1}}));
  const int more = pool.waits(counts({{"x", 1}}));
  ask_inside(pool.snapshot, more, c);
  EXPECT_EQ(cycle(pool.snapshot, more), "");
  const std::vector<bool> left = stuck(pool.snapshot, {}, work_at_leisure);
  EXPECT_EQ(left, (std::vector<bool>{true, true, true, true, true, true}));
}

TEST(Deadlock, TheStoppedAndTheRefusedMayComeBack) {
  PoolSketch pool({{"x", 1}, {"y", 1}});
  const int a = pool.holds(counts({{"x", 1}}));
  const int b = pool.holds(counts({{"y", 1}}));
  const int stopped = pool.waits(counts({{"z", 1}}));
  pool.snapshot.resources.push_back({"z", 1});
  ask_inside(pool.snapshot, stopped, a);
  pool.snapshot.parties[static_cast<size_t>(stopped)].state = PartyState::aside;
  const int more = pool.waits(counts({{"x", 1}}));
  ask_inside(pool.snapshot, more, b);
  EXPECT_EQ(cycle(pool.snapshot, more), "");
}

// n leases, each of which holds one thing and wants the next one's inside; the last one's closes the ring.
RC_GTEST_PROP(Deadlock, EveryRingOfTwoOrThreeIsFound, ()) {
  const int n = *rc::gen::inRange(2, 4);
  const int spare = *rc::gen::inRange(0, 3);
  PoolSketch pool({{"r0", 1}, {"r1", 1}, {"r2", 1}, {"s", 5}});
  const auto thing = [](int i) { return counts({{"r" + std::to_string(i), 1}}); };
  std::vector<int> leases;
  for (int i = 0; i < n; ++i) leases.push_back(pool.holds(thing(i)));
  for (int i = 0; i < spare; ++i) pool.holds(counts({{"s", 1}}));
  for (int i = 0; i < spare; ++i) pool.waits(counts({{"r" + std::to_string(*rc::gen::inRange(0, n)), 1}}));
  std::vector<int> order(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i;
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[*rc::gen::inRange<size_t>(0, i)]);
  for (size_t k = 0; k < order.size(); ++k) {
    const int i = order[k];
    const int more = pool.waits(thing((i + 1) % n));
    ask_inside(pool.snapshot, more, leases[static_cast<size_t>(i)]);
    const auto found = closed_cycle(pool.snapshot, {}, more, work_under_lock);
    RC_ASSERT(found.empty() == (k + 1 < order.size()));
    if (!found.empty()) RC_ASSERT(found.front().waiter == more);
    if (!found.empty()) RC_ASSERT(static_cast<int>(found.size()) <= n);
  }
}

// ---- against every order of endings ----

enum class Fate : uint8_t { as_it_was, seated, gone };

class EveryOrder {
 public:
  EveryOrder(const Snapshot& all, int self) : all_(all), self_(self) {}

  bool seats_self() { return from(std::vector<Fate>(all_.parties.size(), Fate::as_it_was), all_); }

 private:
  bool from(const std::vector<Fate>& fates, const Snapshot& now) {
    if (!seen_.insert(fates).second) return false;
    std::vector<bool> gone;
    for (const Fate f : fates) gone.push_back(f == Fate::gone);
    const Plan p = plan(now, gone);
    if (p.verdict_of(self_) == Verdict::seat) return true;
    for (size_t i = 0; i < fates.size(); ++i) {
      if (gone[i]) continue;
      std::vector<Fate> next = fates;
      if (now.parties[i].state == PartyState::held) {
        if (has_company_inside(now, gone, i)) continue;
        next[i] = Fate::gone;
        if (from(next, now)) return true;
      } else if (p.verdicts[i] == Verdict::seat) {
        Snapshot after = now;
        seat(after, p, static_cast<int>(i));
        next[i] = Fate::seated;
        if (from(next, after)) return true;
      }
    }
    return false;
  }

  static bool has_company_inside(const Snapshot& s, const std::vector<bool>& gone, size_t lease) {
    for (size_t i = 0; i < s.parties.size(); ++i)
      if (!gone[i] && s.parties[i].seconds && s.parties[i].with_key() == s.parties[lease].key()) return true;
    return false;
  }

  const Snapshot& all_;
  int self_;
  std::set<std::vector<Fate>> seen_;
};

// Some of those who wait do so inside of a lease; one of them is the newcomer.
void put_some_inside(Snapshot& s) {
  const std::vector<int> holders = holders_of(s);
  if (holders.empty()) return;
  for (Party& p : s.parties) {
    if (*rc::gen::inRange(0, 3) == 0) continue;
    const Party& lease = s.parties[static_cast<size_t>(*rc::gen::elementOf(holders))];
    if (p.state == PartyState::held && lease.arrival_us >= p.arrival_us) continue;
    p.seconds = true;
    p.with = lease.id;
  }
}

RC_GTEST_PROP(Deadlock, NobodyIsRefusedWhomSomeOrderOfEndingsSeats, ()) {
  Snapshot s = any_pool(WithCards::yes, 6);
  put_some_inside(s);
  int closed = 0;
  for (size_t i = 0; i < s.parties.size(); ++i) {
    if (s.parties[i].state != PartyState::waiting || !s.parties[i].seconds) continue;
    const int self = static_cast<int>(i);
    if (closed_cycle(s, {}, self, work_at_leisure).empty()) continue;
    ++closed;
    if (EveryOrder(s, self).seats_self()) RC_FAIL(sketch(s) + "refuses " + std::to_string(self));
  }
  RC_CLASSIFY(closed > 0, "closes a cycle");
}

// Who is not stuck ends in some order: what is let in does not wait for ever.
RC_GTEST_PROP(Deadlock, WhoIsNotStuckIsSeatedByTheOrderFound, ()) {
  Snapshot s = any_pool(WithCards::yes, 6);
  put_some_inside(s);
  const std::vector<bool> left = stuck(s, {}, work_at_leisure);
  for (size_t i = 0; i < s.parties.size(); ++i) {
    if (s.parties[i].state != PartyState::waiting || !shortfalls(s, static_cast<int>(i)).empty()) continue;
    const bool can = EveryOrder(s, static_cast<int>(i)).seats_self();
    if (!left[i] && !can) RC_FAIL(sketch(s) + "takes it that this is seated: " + std::to_string(i));
    if (left[i] && can) RC_FAIL(sketch(s) + "takes it that this is stuck: " + std::to_string(i));
  }
}

// a holds x and b holds y; `a2` waits inside of a for y.
struct HalfACycle {
  HalfACycle() : pool({{"x", 1}, {"y", 1}}) {
    a = pool.holds(counts({{"x", 1}}));
    b = pool.holds(counts({{"y", 1}}));
    a2 = pool.waits(counts({{"y", 1}}));
    ask_inside(pool.snapshot, a2, a);
  }
  // The other half; whether it is refused.
  bool closes(int priority = 0) {
    const int b2 = pool.waits(counts({{"x", 1}}), priority);
    ask_inside(pool.snapshot, b2, b);
    return !closed_cycle(pool.snapshot, {}, b2, work_under_lock).empty();
  }
  Party& at(int party) { return pool.snapshot.parties[static_cast<size_t>(party)]; }
  PoolSketch pool;
  int a, b, a2;
};

TEST(Deadlock, WhoHasADeadlineIsWaitedFor) {
  HalfACycle half;
  half.at(half.a2).way.gives_up = true;
  EXPECT_FALSE(half.closes());
  EXPECT_TRUE(HalfACycle().closes());
}

TEST(Deadlock, AHolderThatGivesWayToAHigherPriorityEnds) {
  struct Case {
    Way way;
    int priority;
    bool closes;
  };
  const Case cases[] = {
      {{.reclaimable = true}, 1, false},
      {{.reclaimable = true}, 0, true},
      {{.reclaimable = false}, 1, true},
      {{.reclaimable = true, .busy = true}, 1, false},
      {{.reclaimable = true, .unheeded = true}, 1, true},
      {{.reclaimable = true, .asked = true}, 0, false},
  };
  for (const Case& c : cases) {
    HalfACycle half;
    half.at(half.a).way = c.way;
    EXPECT_EQ(half.closes(c.priority), c.closes) << "case " << &c - cases;
  }
}

TEST(Deadlock, NobodyGivesWayInVain) {
  HalfACycle half;
  half.at(half.a).way.reclaimable = true;
  const int b2 = half.pool.waits(counts({{"x", 1}, {"y", 1}}), 1);  // its own lease has y
  ask_inside(half.pool.snapshot, b2, half.b);
  EXPECT_FALSE(closed_cycle(half.pool.snapshot, {}, b2, work_under_lock).empty());
}

TEST(Deadlock, EachCycleIsTold) {
  PoolSketch pool({{"x", 1}, {"y", 1}, {"z", 1}, {"u", 1}, {"cpu", 9}});
  const auto lease_that_wants = [&](const char* has, const char* wants) {
    const int lease = pool.holds(counts({{has, 1}}));
    ask_inside(pool.snapshot, pool.waits(counts({{wants, 1}})), lease);
  };
  lease_that_wants("cpu", "x");  // behind the first
  lease_that_wants("x", "y");
  lease_that_wants("z", "u");
  lease_that_wants("y", "x");
  lease_that_wants("u", "z");
  const auto found = cycles(pool.snapshot, work_at_leisure);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].size() + found[1].size(), 4U);
  EXPECT_EQ(found[0].front().waiter, 3);
  EXPECT_EQ(found[1].front().waiter, 5);
}

// ---- how long it takes: CPU time, so that a busy machine does not count, and several times what it is ----

double cpu_ms(const std::function<void()>& run) {
  const std::clock_t from = std::clock();
  run();
  return 1000.0 * static_cast<double>(std::clock() - from) / CLOCKS_PER_SEC;
}

TEST(DeadlockTakes, AMomentForHundredsOfWaitersBehindACycle) {
  PoolSketch pool({{"x", 1}, {"y", 1}, {"cpu", 1000}});
  const auto lease_that_wants = [&](const char* has, const char* wants) {
    const int lease = pool.holds(counts({{has, 1}}));
    ask_inside(pool.snapshot, pool.waits(counts({{wants, 1}})), lease);
  };
  lease_that_wants("x", "y");
  lease_that_wants("y", "x");
  for (int i = 0; i < 400; ++i) lease_that_wants("cpu", "x");
  std::vector<std::vector<CycleWait>> found;
  const double ms = cpu_ms([&] { found = cycles(pool.snapshot, work_at_leisure); });
  EXPECT_EQ(found.size(), 1U);
  RecordProperty("ms", std::to_string(ms));
  EXPECT_LT(ms, 400);
}

TEST(DeadlockTakes, AMomentForAThousandLeasesWithOneInsideEach) {
  PoolSketch pool({{"cpu", 1000}, {"x", 1}});
  constexpr int leases = 1000;
  for (int i = 0; i < leases; ++i) pool.holds(counts({{"cpu", 1}}));
  for (int i = 0; i < leases; ++i) pool.holds(counts({{"cpu", 1}}));
  const int other = pool.holds(counts({{"x", 1}}));
  const int more = pool.waits(counts({{"x", 1}}));
  for (int i = 0; i < leases; ++i) serve_inside(pool.snapshot, leases + i, i);
  ask_inside(pool.snapshot, more, other);
  bool closes = false;
  const double ms = cpu_ms([&] { closes = !closed_cycle(pool.snapshot, {}, more, work_under_lock).empty(); });
  EXPECT_TRUE(closes);
  RecordProperty("ms", std::to_string(ms));
  EXPECT_LT(ms, 100);
}

TEST(Deadlock, SaysNothingWhenTheWorkIsTooMuch) {
  PoolSketch pool({{"x", 1}});
  const int a = pool.holds(counts({{"x", 1}}));
  const int more = pool.waits(counts({{"x", 1}}));
  ask_inside(pool.snapshot, more, a);
  EXPECT_TRUE(closed_cycle(pool.snapshot, {}, more, 1).empty());
}

}  // namespace
}  // namespace berth
