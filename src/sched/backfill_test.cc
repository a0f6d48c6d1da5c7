// The plan where jobs say how long they take.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "sched/any_pool.h"
#include "sched/plan.h"
#include "sched/pool_sketch.h"
#include "sched/timeline.h"

namespace berth {
namespace {

constexpr int64_t second = 1'000'000;

// At 1000 s: parties 0, 1, ... said that they take so many seconds; those who hold sat down at 1000 s.
Snapshot timed(PoolSketch& pool, const std::vector<int64_t>& expect_s) {
  Snapshot s = pool.snapshot;
  s.now_us = 1000 * second;
  for (size_t i = 0; i < s.parties.size(); ++i) {
    s.parties[i].expect_s = expect_s[i];
    if (s.parties[i].state == PartyState::held) s.parties[i].seated_us = s.now_us;
  }
  return s;
}

TEST(Backfill, AShortOnePassesALargeOneThatHasToWaitLongerThanThat) {
  PoolSketch pool({{"cpu", 3}});
  pool.holds(cpu(2));
  pool.waits(cpu(3));
  pool.waits(cpu(1));
  pool.waits(cpu(1));
  const Snapshot s = timed(pool, {10, 10, 11, 10});
  EXPECT_EQ(verdicts(plan(s)), "- wait wait seat") << "the third would not be done in time";
  EXPECT_EQ(plan(s, {}, Extent::everybody).starts_us[1], 1010 * second);
}

TEST(Backfill, OneThatDoesNotSayHowLongItTakesPassesOnlyWhereThereIsRoomBesideThoseAhead) {
  PoolSketch pool({{"cpu", 4}});
  pool.holds(cpu(3));
  pool.waits(cpu(3));
  pool.waits(cpu(1));
  EXPECT_EQ(verdicts(plan(timed(pool, {10, 10, 0}))), "- wait seat") << "beside three of four there is room for it";
  PoolSketch full({{"cpu", 3}});
  full.holds(cpu(2));
  full.waits(cpu(3));
  full.waits(cpu(1));
  EXPECT_EQ(verdicts(plan(timed(full, {10, 10, 0}))), "- wait wait");
}

TEST(Backfill, NothingIsBuiltOnAnOverdueEnd) {
  PoolSketch pool({{"cpu", 3}});
  pool.holds(cpu(2));
  pool.waits(cpu(3));
  pool.waits(cpu(1));
  Snapshot s = timed(pool, {10, 10, 1});
  EXPECT_EQ(verdicts(plan(s)), "- wait seat");
  s.now_us += 10 * second;
  EXPECT_EQ(verdicts(plan(s)), "- wait wait") << "the first may go at any moment, and then it is the large one's turn";
}

TEST(Backfill, SaysWhenTimeAloneCanChangeSomething) {
  PoolSketch pool({{"cpu", 3}});
  pool.holds(cpu(2));
  pool.waits(cpu(3));
  pool.waits(cpu(1));
  pool.waits(cpu(2));
  const Plan now = plan(timed(pool, {10, 10, 11, 1}));
  EXPECT_EQ(now.held_back, std::vector<int>{2});
  EXPECT_EQ(now.look_again_us, 1010 * second);
  EXPECT_EQ(plan(timed(pool, {0, 0, 0, 0})).look_again_us, -1);
}

TEST(Backfill, FourCardsAreCollectedAsTheyFallFreeAndUsedMeanwhile) {
  const std::vector<DeviceRef> on{{"A", 24}, {"B", 24}, {"C", 24}};
  PoolSketch pool({});
  pool.holds(cards(1, on), {0});
  pool.holds(cards(1, on), {1});
  pool.waits(cards(3, on));
  pool.waits(cards(1, on));
  EXPECT_EQ(verdicts(plan(timed(pool, {5, 20, 10, 20}))), "- - wait seat");
  EXPECT_EQ(verdicts(plan(timed(pool, {5, 20, 10, 21}))), "- - wait wait");
}

RC_GTEST_PROP(BackfillAlways, GrantsNoMoreThanThereIsWhateverTheClockSays, ()) {
  Snapshot s = any_timed_pool(WithCards::yes, 9, Saying::some);
  s.now_us += *rc::gen::inRange(-20, 20) * second;
  const Plan now = plan(s);
  seat_all(s, now);
  RC_ASSERT(!over_granted(s));
}

RC_GTEST_PROP(BackfillAlways, IsTheSameWhateverOrderThePartiesAreReadIn, ()) {
  const Snapshot s = any_timed_pool(WithCards::yes, 9, Saying::some);
  const Snapshot other = shuffled(s);
  const Plan a = plan(s, {}, Extent::everybody);
  const Plan b = plan(other, {}, Extent::everybody);
  RC_ASSERT(a.look_again_us == b.look_again_us);
  for (size_t i = 0; i < s.parties.size(); ++i) {
    const int j = other.find(s.parties[i].id);
    RC_ASSERT(a.verdicts[i] == b.verdict_of(j));
    RC_ASSERT(a.starts_us[i] == b.starts_us[static_cast<size_t>(j)]);
    RC_ASSERT(a.seat_of(static_cast<int>(i)) == b.seat_of(j));
  }
}

RC_GTEST_PROP(BackfillAlways, ThePlanOfAllStartsSeatsTheSame, ()) {
  const Snapshot s = any_timed_pool(WithCards::yes, 9, Saying::some);
  const Plan some = plan(s);
  const Plan all = plan(s, {}, Extent::everybody);
  RC_ASSERT(some.verdicts == all.verdicts);
  RC_ASSERT(some.seats == all.seats);
}

RC_GTEST_PROP(BackfillAlways, TimeAloneSeatsNobodyBeforeTheTimeToLookAgain, ()) {
  Snapshot s = any_timed_pool(WithCards::yes, 9, Saying::some);
  settle(s);
  const Plan now = plan(s);
  const int64_t until = now.look_again_us < 0 ? 30 * second : now.look_again_us - s.now_us;
  Snapshot later = s;
  later.now_us += *rc::gen::inRange<int64_t>(0, until);
  const Plan then = plan(later);
  RC_LOG() << sketch(s);
  for (const int party : then.line) RC_ASSERT(then.verdict_of(party) != Verdict::seat);
}

// Lets time pass from end to end, everybody sitting down as soon as it may; `surprise` befalls the
// pool now and then. What was planned for somebody never moves to a later time, and so everybody is
// seated in the end.
template <class Surprise>
void check_reservations(WithCards with_cards, const Surprise& surprise) {
  Snapshot s = any_timed_pool(with_cards, 9, Saying::all);
  // A lease that has somebody inside who waits does not end as it said.
  for (Party& p : s.parties) p.seconds = false;
  std::map<PartyKey, int64_t> promised;
  for (int round = 0; round < 40; ++round) {
    settle(s);
    const Plan now = plan(s, {}, Extent::everybody);
    bool anybody = false;
    for (const int party : now.line) {
      if (now.verdict_of(party) == Verdict::impossible) continue;
      anybody = true;
      const int64_t start = now.starts_us[static_cast<size_t>(party)];
      const auto [known, first] = promised.emplace(s.parties[static_cast<size_t>(party)], start);
      RC_LOG() << "of " << party << " at " << s.now_us / second << "\n" << sketch(s);
      RC_ASSERT(start >= s.now_us);
      RC_ASSERT(start <= known->second);
      known->second = start;
    }
    if (!anybody) return;
    int64_t next = never_us;
    for (const Party& p : s.parties)
      if (p.state == PartyState::held) next = std::min(next, p.seated_us + p.expect_s * second);
    RC_ASSERT(next < never_us);
    std::vector<bool> gone(s.parties.size(), false);
    surprise(s, gone, next);
    s.now_us = next;
    for (size_t i = 0; i < gone.size(); ++i)
      if (s.parties[i].state == PartyState::held && s.parties[i].seated_us + s.parties[i].expect_s * second <= next)
        gone[i] = true;
    remove(s, gone);
  }
  RC_FAIL("somebody is never seated");
}

RC_GTEST_PROP(BackfillAlways, NobodyStartsLaterThanItsReservationWhileEndsComeAsExpected, ()) {
  check_reservations(WithCards::yes, [](const Snapshot&, std::vector<bool>&, int64_t&) {});
}

// Where there are no cards to choose, not even those who end early, give up or are killed move
// anybody's reservation to a later time.
RC_GTEST_PROP(BackfillAlways, NobodyStartsLaterThoughOthersGoEarlier, ()) {
  check_reservations(WithCards::no, [](const Snapshot& s, std::vector<bool>& gone, int64_t& next) {
    next = *rc::gen::inRange(s.now_us, next + 1);
    if (!gone.empty() && *rc::gen::inRange(0, 2) == 0) gone[*rc::gen::inRange<size_t>(0, gone.size())] = true;
  });
}

}  // namespace
}  // namespace berth
