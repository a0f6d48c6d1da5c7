#include "sched/plan.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <random>

#include "sched/any_pool.h"
#include "sched/pool_sketch.h"
#include "sched/timeline.h"

namespace berth {
namespace {

Claim cpu(int64_t n) { return counts({{"cpu", n}}); }

std::string devices_of(const Snapshot& snapshot, const Plan& plan, int party) {
  std::string out;
  for (const uint16_t d : plan.seat_of(party)) out += snapshot.devices[d];
  return out;
}

TEST(Plan, SeatsInOrderWhileThereIsRoom) {
  PoolSketch pool({{"cpu", 2}});
  for (int i = 0; i < 3; ++i) pool.waits(cpu(1));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "seat seat wait");
}

TEST(Plan, ASmallOneDoesNotPassALargeOneThatWaitsForTheSame) {
  PoolSketch pool({{"cpu", 2}});
  pool.holds(cpu(1));
  pool.waits(cpu(2));
  pool.waits(cpu(1));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait wait");
}

TEST(Plan, OnePassesThatNeedsNothingOfIt) {
  PoolSketch pool({{"cpu", 1}, {"ram", 4}});
  pool.holds(cpu(1));
  pool.waits(counts({{"cpu", 1}, {"ram", 2}}));
  pool.waits(counts({{"ram", 2}}));
  pool.waits(counts({{"ram", 1}}));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait seat wait") << "what the first has in hand is kept for it";
}

TEST(Plan, PriorityGoesFirst) {
  PoolSketch pool({{"cpu", 1}});
  pool.waits(cpu(1));
  pool.waits(cpu(1), 1);
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "wait seat");
  EXPECT_EQ(plan(pool.snapshot).line, (std::vector<int>{1, 0}));
}

TEST(Plan, AnImpossibleOneBlocksNobodyAndIsToldWhy) {
  PoolSketch pool({{"cpu", 2}});
  pool.waits(cpu(3));
  pool.waits(counts({{"unheard-of", 1}}));
  pool.waits(cards(4));
  pool.waits(share(25));
  pool.waits(cpu(2));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "impossible impossible impossible impossible seat");
  const std::vector<std::vector<Shortfall>> all{shortfalls(pool.snapshot, 0), shortfalls(pool.snapshot, 1),
                                                shortfalls(pool.snapshot, 2), shortfalls(pool.snapshot, 3)};
  EXPECT_EQ(all[0].at(0).there, 2);
  EXPECT_EQ(all[1].at(0).what, "unheard-of");
  EXPECT_EQ(all[2].at(0).what, "gpu");
  EXPECT_EQ(all[3].at(0).what, "vram");
  EXPECT_TRUE(shortfalls(pool.snapshot, 4).empty());
}

TEST(Plan, OneThatSteppedAsideIsPassedOver) {
  PoolSketch pool({{"cpu", 1}});
  pool.waits(cpu(1));
  pool.waits(cpu(1));
  pool.snapshot.parties[0].state = PartyState::aside;
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- seat");
  pool.snapshot.parties[0].state = PartyState::waiting;
  EXPECT_EQ(verdicts(plan(pool.snapshot, {true, false})), "- seat");
}

TEST(PlanCards, ASharePrefersTheCardWhereTheLeastIsLeftSoThatWholeCardsStayWhole) {
  PoolSketch pool({});
  pool.holds(share(4), {0});
  const int beside = pool.waits(share(8));
  const int small = pool.waits(share(16));
  const int whole = pool.waits(cards(1));
  const Plan now = plan(pool.snapshot);
  EXPECT_EQ(devices_of(pool.snapshot, now, beside), "A") << "in use already";
  EXPECT_EQ(devices_of(pool.snapshot, now, small), "B") << "the smaller one of two that are empty";
  EXPECT_EQ(devices_of(pool.snapshot, now, whole), "C");
}

TEST(PlanCards, NobodySitsBesideAWholeClaim) {
  PoolSketch pool({});
  const std::vector<DeviceRef> only{{"A", 24}};
  pool.holds(cards(1, only), {0});
  pool.waits(share(1, only));
  PoolSketch other({});
  other.holds(share(1, only), {0});
  other.waits(cards(1, only));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait");
  EXPECT_EQ(verdicts(plan(other.snapshot)), "- wait");
}

TEST(PlanCards, ComputeIsAQuantityToo) {
  PoolSketch pool({});
  Claim half = share(1, {{"A", 24}});
  half.gpu.compute_pct = 60;
  pool.waits(half);
  pool.waits(half);
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "seat wait");
}

TEST(PlanCards, ACardThatIsTooSmallForWhoWaitsIsNotKeptFromOthers) {
  PoolSketch pool({});
  const std::vector<DeviceRef> on{{"A", 24}, {"B", 16}};
  pool.holds(cards(1, on), {0});
  pool.waits(share(20, on));  // can only ever go to A
  pool.waits(share(4, on));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait seat");
}

// A and B have a fast link between them, and so have C and D.
const std::vector<DeviceRef> two_pairs{{"A", 24, 1, 0}, {"B", 24, 1, 0}, {"C", 24, 2, 0}, {"D", 24, 2, 0}};

TEST(PlanCards, SeveralComeFromOneGroupWithAFastLink) {
  PoolSketch pool({});
  pool.holds(cards(1, two_pairs), {0});
  const int pair = pool.waits(cards(2, two_pairs));
  EXPECT_EQ(devices_of(pool.snapshot, plan(pool.snapshot), pair), "CD") << "not B, though it stands before them";
}

TEST(PlanCards, ASingleOneComesFromThePairThatIsBrokenUp) {
  PoolSketch pool({});
  pool.holds(cards(1, two_pairs), {2});
  const int single = pool.waits(cards(1, two_pairs));
  const int pair = pool.waits(cards(2, two_pairs));
  const Plan now = plan(pool.snapshot);
  EXPECT_EQ(devices_of(pool.snapshot, now, single), "D");
  EXPECT_EQ(devices_of(pool.snapshot, now, pair), "AB");
}

TEST(PlanCards, NeighboursAreKeptForWhoHasToWaitForThem) {
  PoolSketch pool({});
  pool.holds(cards(1, two_pairs), {0});
  pool.holds(cards(1, two_pairs), {1});
  const int pair = pool.waits(cards(2, two_pairs));
  Snapshot s = pool.snapshot;
  s.now_us = 1'000'000'000;
  for (Party& p : s.parties) {
    p.expect_s = 10;
    if (p.state == PartyState::held) p.seated_us = s.now_us;
  }
  EXPECT_EQ(devices_of(s, plan(s), pair), "CD") << "with expected ends it is chosen alike";
}

// ---- properties ----

// Adds up by name; knows nothing of how the plan counts.
bool over_granted(const Snapshot& s) {
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

RC_GTEST_PROP(PlanAlways, GrantsNoMoreThanThereIs, ()) {
  Snapshot s = any_pool(WithCards::yes, 9);
  RC_ASSERT(!over_granted(s));
  const Plan now = plan(s);
  for (const int party : now.line)
    if (verdict(now, party) == Verdict::seat) seat(s, now, party);
  RC_ASSERT(!over_granted(s));
}

RC_GTEST_PROP(PlanAlways, IsTheSameWhateverOrderThePartiesAreReadIn, ()) {
  const Snapshot s = any_pool(WithCards::yes, 9);
  Snapshot other = s;
  std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
  std::shuffle(other.parties.begin(), other.parties.end(), random);
  const Plan a = plan(s);
  const Plan b = plan(other);
  for (size_t i = 0; i < s.parties.size(); ++i) {
    const int j = other.find(s.parties[i].id);
    RC_ASSERT(a.verdicts[i] == verdict(b, j));
    RC_ASSERT(a.seat_of(static_cast<int>(i)) == b.seat_of(j));
  }
}

RC_GTEST_PROP(PlanAlways, ImpossibleOnesBlockNobody, ()) {
  const Snapshot s = any_pool(WithCards::yes, 9);
  const Plan with_them = plan(s);
  std::vector<bool> impossible(s.parties.size());
  for (size_t i = 0; i < impossible.size(); ++i) impossible[i] = with_them.verdicts[i] == Verdict::impossible;
  const Plan without = plan(s, impossible);
  for (size_t i = 0; i < impossible.size(); ++i)
    RC_ASSERT(impossible[i] || with_them.verdicts[i] == without.verdicts[i]);
}

// One who passes takes nothing that an earlier one waits for: whichever holders leave, who may sit
// down then may do so too with the passer in its seat. Those entitled are taken to sit down in their
// order, as the plan has it: who is slow may find another card than the one it was first given.
void check_passing(WithCards with_cards) {
  Snapshot s = any_pool(with_cards, 7);
  const Plan now = plan(s);
  const std::vector<int> holders = holders_of(s);
  for (size_t at = 0; at < now.line.size(); ++at) {
    const int passer = now.line[at];
    if (verdict(now, passer) != Verdict::seat) continue;
    Snapshot seated = s;
    seat(seated, now, passer);
    for (unsigned mask = 0; mask < 1U << holders.size(); ++mask) {
      const std::vector<bool> gone = chosen(s, holders, mask);
      std::vector<bool> gone_and_passer = gone;
      gone_and_passer[static_cast<size_t>(passer)] = true;
      const Plan without = plan(s, gone_and_passer);
      const Plan with_it = plan(seated, gone);
      for (size_t ahead = 0; ahead < at; ++ahead) {
        const int earlier = now.line[ahead];
        if (verdict(now, earlier) != Verdict::wait || verdict(without, earlier) != Verdict::seat) continue;
        RC_LOG() << "passer " << passer << ", earlier " << earlier << ", holders gone " << mask << "\n" << sketch(s);
        RC_ASSERT(verdict(with_it, earlier) == Verdict::seat);
      }
    }
    seat(s, now, passer);
  }
}

RC_GTEST_PROP(PlanAlways, WhoPassesDelaysNobodyAheadInCounters, ()) { check_passing(WithCards::no); }
RC_GTEST_PROP(PlanAlways, WhoPassesDelaysNobodyAheadOnCards, ()) { check_passing(WithCards::yes); }

// ---- with expected ends ----

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
  for (const int party : now.line)
    if (verdict(now, party) == Verdict::seat) seat(s, now, party);
  RC_ASSERT(!over_granted(s));
}

RC_GTEST_PROP(BackfillAlways, IsTheSameWhateverOrderThePartiesAreReadIn, ()) {
  const Snapshot s = any_timed_pool(WithCards::yes, 9, Saying::some);
  Snapshot other = s;
  std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
  std::shuffle(other.parties.begin(), other.parties.end(), random);
  const Plan a = plan(s, {}, Extent::everybody);
  const Plan b = plan(other, {}, Extent::everybody);
  RC_ASSERT(a.look_again_us == b.look_again_us);
  for (size_t i = 0; i < s.parties.size(); ++i) {
    const int j = other.find(s.parties[i].id);
    RC_ASSERT(a.verdicts[i] == verdict(b, j));
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
  for (const int party : then.line) RC_ASSERT(verdict(then, party) != Verdict::seat);
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
      if (verdict(now, party) == Verdict::impossible) continue;
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
