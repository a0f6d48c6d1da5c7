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

RC_GTEST_PROP(PlanAlways, GrantsNoMoreThanThereIs, ()) {
  Snapshot s = any_pool(WithCards::yes, 9);
  RC_ASSERT(!over_granted(s));
  const Plan now = plan(s);
  seat_all(s, now);
  RC_ASSERT(!over_granted(s));
}

RC_GTEST_PROP(PlanAlways, IsTheSameWhateverOrderThePartiesAreReadIn, ()) {
  const Snapshot s = any_pool(WithCards::yes, 9);
  const Snapshot other = shuffled(s);
  const Plan a = plan(s);
  const Plan b = plan(other);
  for (size_t i = 0; i < s.parties.size(); ++i) {
    const int j = other.find(s.parties[i].id);
    RC_ASSERT(a.verdicts[i] == b.verdict_of(j));
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
    if (now.verdict_of(passer) != Verdict::seat) continue;
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
        if (now.verdict_of(earlier) != Verdict::wait || without.verdict_of(earlier) != Verdict::seat) continue;
        RC_LOG() << "passer " << passer << ", earlier " << earlier << ", holders gone " << mask << "\n" << sketch(s);
        RC_ASSERT(with_it.verdict_of(earlier) == Verdict::seat);
      }
    }
    seat(s, now, passer);
  }
}

RC_GTEST_PROP(PlanAlways, WhoPassesDelaysNobodyAheadInCounters, ()) { check_passing(WithCards::no); }
RC_GTEST_PROP(PlanAlways, WhoPassesDelaysNobodyAheadOnCards, ()) { check_passing(WithCards::yes); }

}  // namespace
}  // namespace berth
