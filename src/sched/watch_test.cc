// What watch sets and ring sets promise, by brute force on small pools.
#include "sched/watch.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "sched/any_pool.h"
#include "sched/pool_sketch.h"
#include "sched/rings.h"
#include "sched/shape.h"

namespace berth {
namespace {

bool contains(const std::vector<int>& all, int one) { return std::find(all.begin(), all.end(), one) != all.end(); }

TEST(Watch, InOneLineOfEqualsTheFirstTwoWatchTheHoldersAndTheOthersTheTwoBeforeThem) {
  PoolSketch pool({{"cpu", 2}});
  pool.holds(cpu(1));
  pool.holds(cpu(1));
  for (int i = 0; i < 4; ++i) pool.waits(cpu(1));
  const Plan now = plan(pool.snapshot);
  const auto sorted = [&](int self) {
    std::vector<int> out = watch(pool.snapshot, now, self).parties;
    std::sort(out.begin(), out.end());
    return out;
  };
  EXPECT_EQ(sorted(2), (std::vector<int>{0, 1}));
  EXPECT_EQ(sorted(3), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(sorted(4), (std::vector<int>{2, 3}));
  EXPECT_EQ(sorted(5), (std::vector<int>{3, 4}));
}

TEST(Watch, NamesThoseAheadWhoCouldSitDownAndHaveNot) {
  PoolSketch pool({{"cpu", 2}});
  pool.waits(cpu(1));
  pool.waits(cpu(2));
  const Watch seen = watch(pool.snapshot, plan(pool.snapshot), 1);
  EXPECT_EQ(seen.entitled, (std::vector<int>{0}));
  EXPECT_EQ(seen.parties, (std::vector<int>{0}));
}

TEST(Contend, ADeviceHeldIsWhatIsHeldAndADeviceWantedIsWhatMayBe) {
  PoolSketch pool({{"cpu", 9}});
  const int on_a = pool.holds(share(8), {0});
  const int wants_b = pool.waits(share(8, {{"B", 16}}));
  const int wants_any = pool.waits(share(8));
  EXPECT_FALSE(contend(pool.snapshot, on_a, wants_b));
  EXPECT_TRUE(contend(pool.snapshot, on_a, wants_any));
  EXPECT_TRUE(contend(pool.snapshot, wants_b, wants_any));
}

// Nobody before the lease ends could have what the first two want: who asks from inside of it passes them, but for
// the one between. When that one is gone, those two wait on, and it is its turn.
TEST(Watch, WhoAsksFromInsideReliesOnNobodyThatItWouldPass) {
  const auto claim = [](std::vector<NamedAmount> counters) { return Claim{std::move(counters), {}, {}}; };
  PoolSketch pool({{"cpu", 3}, {"ram", 3}, {"lic", 2}});
  const int lease = pool.holds(claim({{"cpu", 1}, {"ram", 2}}));
  pool.waits(claim({{"ram", 2}, {"lic", 1}}));
  pool.waits(claim({{"ram", 2}, {"lic", 1}}));
  const int between = pool.waits(claim({{"cpu", 1}, {"ram", 1}}));
  const int self = pool.waits(claim({{"ram", 1}, {"lic", 1}}));
  Party& inside = pool.snapshot.parties[static_cast<size_t>(self)];
  inside.seconds = true;
  inside.with = pool.snapshot.parties[static_cast<size_t>(lease)].id;
  const Plan now = plan(pool.snapshot);
  ASSERT_EQ(now.verdict_of(self), Verdict::wait);
  std::vector<bool> gone(pool.snapshot.parties.size(), false);
  gone[static_cast<size_t>(between)] = true;
  ASSERT_EQ(plan(pool.snapshot, gone).verdict_of(self), Verdict::seat);
  const std::vector<int> watched = watch(pool.snapshot, now, self).parties;
  EXPECT_NE(std::find(watched.begin(), watched.end(), between), watched.end());
  EXPECT_EQ(sure_blockers(pool.snapshot, now)[static_cast<size_t>(self)], (std::array<int, 2>{-1, -1}));
}

TEST(Watch, NobodyReliesOnAnotherUsersWaiterThatIsOverQuota) {
  PoolSketch pool({{"cpu", 2}});
  pool.snapshot.policy.quotas = {{"cpu", 1}};
  pool.holds(cpu(1));
  for (int i = 0; i < 3; ++i) pool.waits(cpu(1));
  pool.as_user("1002");
  const int other = pool.holds(cpu(1));
  pool.as_user("1003");
  const int self = pool.waits(cpu(1));
  const Plan now = plan(pool.snapshot);
  const std::vector<int> watched = watch(pool.snapshot, now, self).parties;
  EXPECT_TRUE(contains(watched, 0) && contains(watched, other)) << "either may let it in";
  EXPECT_EQ(watch(pool.snapshot, now, 3).parties, (std::vector<int>{2, 1})) << "its user's own close the quota to it";
}

TEST(Rings, AReleaseWakesTheOwnOfItsUserThatAreOverQuota) {
  PoolSketch pool({{"cpu", 4}, {"ram", 4}});
  pool.snapshot.policy.quotas = {{"gpus", 1}};
  const int holder = pool.holds(share(8, {{"A", 24}}), {0});
  const int over = pool.waits(share(8, {{"B", 24}}));
  const Plan before = plan(pool.snapshot);
  EXPECT_TRUE(before.is_over_quota(over));
  EXPECT_EQ(watch(pool.snapshot, before, over).parties, (std::vector<int>{holder})) << "on another card";
  EXPECT_EQ(dependents(pool.snapshot, before, sure_blockers(pool.snapshot, before), {holder}),
            (std::vector<int>{over}));
}

TEST(Rings, ANewcomerThatPutsAWaiterOverQuotaWakesWhoCountedOnIt) {
  PoolSketch pool({{"cpu", 1}, {"ram", 1}});
  pool.snapshot.policy.quotas = {{"cpu", 2}};
  pool.as_user("1002");
  pool.holds(counts({{"cpu", 1}, {"ram", 1}}));
  pool.as_user("1001");
  pool.waits(cpu(1));
  const int last_within = pool.waits(cpu(1));
  pool.as_user("1003");
  const int self = pool.waits(cpu(1));
  const Plan before = plan(pool.snapshot);
  const Snapshot was = pool.snapshot;
  pool.as_user("1001");
  pool.waits(counts({{"cpu", 1}, {"ram", 1}}), 1);
  const Plan after = plan(pool.snapshot);
  EXPECT_TRUE(lets_go(before, after, last_within));
  EXPECT_EQ(heirs(was, before, sure_blockers(was, before), after), (std::vector<int>{self}));
}

TEST(Rings, AReleaseWakesTheNextAndItsTwoKeepersAndNotTheWholeLine) {
  PoolSketch pool({{"cpu", 1}});
  pool.holds(cpu(1));
  for (int i = 0; i < 20; ++i) pool.waits(cpu(1));
  const Plan before = plan(pool.snapshot);
  EXPECT_EQ(dependents(pool.snapshot, before, sure_blockers(pool.snapshot, before), {0}), (std::vector<int>{1, 2}));
  std::vector<bool> gone(pool.snapshot.parties.size(), false);
  gone[0] = true;
  EXPECT_EQ(entitled_and_keepers(pool.snapshot, plan(pool.snapshot, gone), {0}), (std::vector<int>{1, 2, 3}));
}

// Then the order of the line changes, and everybody is rung by who finds the lease gone.
bool leaves_somebody_without_its_lease(const Snapshot& s, const std::vector<bool>& gone) {
  for (size_t i = 0; i < s.parties.size(); ++i) {
    const int lease = s.parties[i].seconds && !gone[i] ? s.find(s.parties[i].with_key()) : -1;
    if (lease >= 0 && gone[static_cast<size_t>(lease)]) return true;
  }
  return false;
}

// True if the going of parties that are not in `watched` can make `self` entitled and none of those
// in `watched`, so that nobody it relies on has a reason to look. Those who were entitled before may
// have sat down or not.
bool seated_unseen(const Snapshot& s, int self, const std::vector<int>& watched) {
  const Plan now = plan(s);
  std::vector<int> others;
  std::vector<int> entitled;
  for (size_t i = 0; i < s.parties.size(); ++i) {
    const auto other = static_cast<int>(i);
    if (other == self) continue;
    if (!contains(watched, other)) others.push_back(other);
    if (now.verdict_of(other) == Verdict::seat) entitled.push_back(other);
  }
  for (unsigned sat = 0; sat < 1U << entitled.size(); ++sat) {
    Snapshot after = s;
    for (size_t i = 0; i < entitled.size(); ++i)
      if ((sat >> i & 1U) != 0) seat(after, now, entitled[i]);
    // Who sits down may stand in nobody's way any more: then it rings him.
    if (plan(after).verdict_of(self) == Verdict::seat) continue;
    for (unsigned mask = 0; mask < 1U << others.size(); ++mask) {
      if (leaves_somebody_without_its_lease(after, chosen(after, others, mask))) continue;
      const Plan then = plan(after, chosen(after, others, mask));
      if (then.verdict_of(self) != Verdict::seat) continue;
      const bool told = std::any_of(watched.begin(), watched.end(), [&](int w) {
        return now.verdict_of(w) == Verdict::wait && then.verdict_of(w) == Verdict::seat;
      });
      if (!told) return true;
    }
  }
  return false;
}

// In counters a waiter cannot be seated while all it watches stay and go on waiting.
void check_sound(const Snapshot& s) {
  const Plan now = plan(s);
  for (const int self : now.line)
    if (now.verdict_of(self) == Verdict::wait) {
      RC_LOG() << "of " << self << "\n" << sketch(s);
      RC_ASSERT(!seated_unseen(s, self, watch(s, now, self).parties));
    }
}

RC_GTEST_PROP(WatchAlways, IsSoundInCounters, ()) { check_sound(any_pool(WithCards::no, 7)); }
RC_GTEST_PROP(WatchAlways, IsSoundWithQuotas, ()) { check_sound(any_pool(WithCards::no, 7, WithQuotas::yes)); }

// Where cards are chosen, what one waiter has set aside may move when somebody goes whom another does
// not watch. Then some waiter that stays watched one of those who went: it looks, and rings.
void check_somebody_looks(const Snapshot& s) {
  const Plan now = plan(s);
  std::vector<int> all;
  for (size_t i = 0; i < s.parties.size(); ++i) all.push_back(static_cast<int>(i));
  for (unsigned mask = 1; mask < 1U << all.size(); ++mask) {
    const std::vector<bool> gone = chosen(s, all, mask);
    const Plan after = plan(s, gone);
    const auto is_gone = [&](int p) { return bool{gone[static_cast<size_t>(p)]}; };
    bool turn = false;
    bool looks = false;
    for (const int self : now.line) {
      if (is_gone(self) || now.verdict_of(self) != Verdict::wait) continue;
      turn |= after.verdict_of(self) == Verdict::seat;
      const std::vector<int> watched = watch(s, now, self).parties;
      looks |= std::any_of(watched.begin(), watched.end(), is_gone);
    }
    RC_LOG() << "gone " << mask << "\n" << sketch(s);
    RC_ASSERT(!turn || looks);
  }
}

RC_GTEST_PROP(WatchAlways, SomebodyLooksWheneverATurnComesOnCards, ()) {
  check_somebody_looks(any_pool(WithCards::yes, 6));
}
RC_GTEST_PROP(WatchAlways, SomebodyLooksWheneverATurnComesAndEndsAreExpected, ()) {
  check_somebody_looks(any_timed_pool(WithCards::yes, 6, Saying::some));
}

RC_GTEST_PROP(WatchAlways, SomebodyLooksWheneverATurnComesOnCardsWithQuotas, ()) {
  check_somebody_looks(any_pool(WithCards::yes, 6, WithQuotas::yes));
}
RC_GTEST_PROP(WatchAlways, SomebodyLooksWheneverATurnComesAndEndsAreExpectedWithQuotas, ()) {
  check_somebody_looks(any_timed_pool(WithCards::yes, 6, Saying::some, WithQuotas::yes));
}

// The change: a holder or a waiter leaves, or one who is entitled sits down.
void check_rings_in(const Snapshot& before, WithCards with_cards) {
  const Plan was = plan(before);
  for (int c = 0; c < static_cast<int>(before.parties.size()); ++c) {
    for (const bool sits : {false, true}) {
      if (sits && was.verdict_of(c) != Verdict::seat) continue;
      Snapshot after = before;
      std::vector<bool> gone(before.parties.size(), false);
      if (sits)
        seat(after, was, c);
      else
        gone[static_cast<size_t>(c)] = true;
      const Plan is = plan(after, gone);
      std::vector<int> rung = dependents(before, was, sure_blockers(before, was), {c});
      for (const int r : entitled_and_keepers(after, is, {c})) rung.push_back(r);
      for (const int self : was.line) {
        if (self == c || contains(rung, self)) continue;
        RC_LOG() << c << (sits ? " sits down" : " goes") << "; of " << self << "\n" << sketch(before);
        RC_ASSERT(is.verdict_of(self) != Verdict::seat);
        if (with_cards == WithCards::yes || was.verdict_of(self) != Verdict::wait ||
            is.verdict_of(self) != Verdict::wait)
          continue;
        // Not rung, so it goes on watching what it did: that must still do.
        const std::vector<int> watched = watch(before, was, self).parties;
        if (!sits && contains(watched, c)) continue;  // a life that it watched went: it wakes by itself
        Snapshot left = after;
        remove(left, gone);
        const auto in_left = [&](int p) { return left.find(before.parties[static_cast<size_t>(p)].id); };
        std::vector<int> still;
        for (const int w : watched) still.push_back(in_left(w));
        RC_ASSERT(!seated_unseen(left, in_left(self), still));
      }
    }
  }
}

void check_rings(WithCards with_cards, int at_most) { check_rings_in(any_pool(with_cards, at_most), with_cards); }

RC_GTEST_PROP(RingsAlways, ReachAllWhoseTurnItIsWhereEndsAreExpected, ()) {
  check_rings_in(any_timed_pool(WithCards::yes, 7, Saying::some), WithCards::yes);
}

RC_GTEST_PROP(RingsAlways, ReachAllWhoseTurnItIsAndAllWhoseWatchDoesNotDoAnyMore, ()) { check_rings(WithCards::no, 6); }
RC_GTEST_PROP(RingsAlways, ReachAllWhoseTurnItIsOnCards, ()) { check_rings(WithCards::yes, 7); }
RC_GTEST_PROP(RingsAlways, ReachAllWhoseTurnItIsAndAllWhoseWatchDoesNotDoAnyMoreWithQuotas, ()) {
  check_rings_in(any_pool(WithCards::no, 6, WithQuotas::yes), WithCards::no);
}
RC_GTEST_PROP(RingsAlways, ReachAllWhoseTurnItIsOnCardsWithQuotas, ()) {
  check_rings_in(any_pool(WithCards::yes, 7, WithQuotas::yes), WithCards::yes);
}
RC_GTEST_PROP(RingsAlways, ReachAllWhoseTurnItIsWhereEndsAreExpectedWithQuotas, ()) {
  check_rings_in(any_timed_pool(WithCards::yes, 7, Saying::some, WithQuotas::yes), WithCards::yes);
}

// One comes into the line, perhaps ahead of others. Who is not rung goes on watching what it did.
void check_rings_for_a_newcomer(const Snapshot& after) {
  const int self = *rc::gen::inRange(0, static_cast<int>(after.parties.size()));
  if (after.parties[static_cast<size_t>(self)].state != PartyState::waiting) return;
  std::vector<bool> without(after.parties.size(), false);
  without[static_cast<size_t>(self)] = true;
  const Plan was = plan(after, without);
  const Plan is = plan(after);
  if (is.verdict_of(self) != Verdict::wait) return;
  std::vector<int> rung = newcomer_concerns(after, was, is, self);
  const auto add = [&](const std::vector<int>& more) { rung.insert(rung.end(), more.begin(), more.end()); };
  if (std::any_of(was.line.begin(), was.line.end(), [&](int waiter) { return lets_go(was, is, waiter); })) {
    add(entitled_and_keepers(after, is, {}));
    add(heirs(after, was, sure_blockers(after, was), is));
  }
  add(overtaken(after, is, self));
  for (const int other : was.line) {
    if (other == self || contains(rung, other)) continue;
    RC_LOG() << self << " comes; of " << other << "\n" << sketch(after);
    RC_ASSERT(is.verdict_of(other) != Verdict::seat || was.verdict_of(other) == Verdict::seat);
    if (was.verdict_of(other) != Verdict::wait || is.verdict_of(other) != Verdict::wait) continue;
    RC_ASSERT(!seated_unseen(after, other, watch(after, was, other).parties));
  }
}

RC_GTEST_PROP(RingsAlways, ReachAllWhoseWatchANewcomerUndoes, ()) {
  check_rings_for_a_newcomer(any_pool(WithCards::no, 7));
}
RC_GTEST_PROP(RingsAlways, ReachAllWhoseWatchANewcomerUndoesWithQuotas, ()) {
  check_rings_for_a_newcomer(any_pool(WithCards::no, 7, WithQuotas::yes));
}

}  // namespace
}  // namespace berth
