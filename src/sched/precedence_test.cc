#include "sched/precedence.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "sched/any_pool.h"
#include "sched/shape.h"

namespace berth {
namespace {

const std::vector<DeviceRef> one_card{{"A", 24}};

Claim turn(std::vector<DeviceRef> on = one_card) { return {{}, {1, false, 0, 100}, std::move(on)}; }

int asks_inside(PoolSketch& pool, int lease, const Claim& claim) {
  const int party = pool.waits(claim);
  Party& p = pool.snapshot.parties[static_cast<size_t>(party)];
  p.seconds = true;
  p.with = pool.snapshot.parties[static_cast<size_t>(lease)].id;
  return party;
}

TEST(Precedence, ATurnPassesWhoWaitsForTheWholeCard) {
  PoolSketch pool({{"cpu", 2}});
  const int resident = pool.holds(share(8, one_card), {0});
  pool.waits(cards(1, one_card));
  asks_inside(pool, resident, turn());
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait seat");
}

TEST(Precedence, AlsoWhereThatOneCouldHaveAnotherCardSooner) {
  const std::vector<DeviceRef> two{{"A", 24}, {"B", 24}};
  PoolSketch pool({{"cpu", 2}});
  const int first = pool.holds(share(8, two), {0});
  pool.holds(share(8, two), {1});
  pool.waits(cards(1, two));
  asks_inside(pool, first, turn({{"A", 24}}));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- - wait seat");
}

TEST(Precedence, TurnsKeepTheirOrder) {
  PoolSketch pool({{"cpu", 2}});
  const int a = pool.holds(share(8, one_card), {0});
  const int b = pool.holds(share(8, one_card), {0});
  asks_inside(pool, b, turn());
  pool.waits(cards(1, one_card));
  asks_inside(pool, a, turn());
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- - seat wait wait");
  EXPECT_EQ(plan(pool.snapshot).line, (std::vector<int>{2, 4, 3}));
}

TEST(Precedence, TakesNothingThatTheOtherCouldHaveBeforeTheLeaseEnds) {
  PoolSketch pool({{"cpu", 4}, {"x", 1}});
  const int lease = pool.holds(counts({{"x", 1}}));
  pool.holds(counts({{"cpu", 2}}));
  pool.waits(counts({{"cpu", 3}}));
  asks_inside(pool, lease, counts({{"cpu", 1}}));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- - wait wait") << "it needs no end of the lease";
}

TEST(Precedence, PassesWhoWaitsForSomethingElseOfTheLease) {
  PoolSketch pool({{"cpu", 1}, {"x", 1}});
  const int lease = pool.holds(counts({{"x", 1}}));
  pool.waits(counts({{"cpu", 1}, {"x", 1}}));
  const int more = asks_inside(pool, lease, counts({{"cpu", 1}}));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait seat");
  pool.snapshot.parties[static_cast<size_t>(more)].seconds = false;
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait wait");
}

// Else the lease, who waits for its end and the turn that it waits for would wait for each other for ever.
TEST(Precedence, WhoIsOverQuotaKeepsNobodyFromPassing) {
  PoolSketch pool({{"cpu", 4}, {"ram", 4}});
  pool.snapshot.policy.quotas = {{"cpu", 1}};
  const int resident = pool.holds(with(share(8, one_card), {{"cpu", 1}}), {0});
  pool.waits(cards(1, one_card));
  const int over = pool.waits(counts({{"cpu", 1}, {"ram", 1}}));
  asks_inside(pool, resident, with(turn(), {{"ram", 1}}));
  EXPECT_TRUE(plan(pool.snapshot).is_over_quota(over));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait wait seat");
}

TEST(Precedence, CountsTheLeasesAroundTheLease) {
  PoolSketch pool({{"cpu", 2}});
  const int resident = pool.holds(share(8, one_card), {0});
  const int inner = pool.holds(counts({{"cpu", 1}}));
  pool.snapshot.parties[static_cast<size_t>(inner)].seconds = true;
  pool.snapshot.parties[static_cast<size_t>(inner)].with = pool.snapshot.parties[static_cast<size_t>(resident)].id;
  pool.waits(cards(1, one_card));
  asks_inside(pool, inner, turn());
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- - wait seat");
}

// Whoever stands before one that asks from inside of a lease is seated no later for it: not before the lease
// has ended, by which time that one is done.
RC_GTEST_PROP(PrecedenceAlways, CostsNobodyAnythingWhileTheLeaseLasts, ()) {
  Snapshot s = any_pool(WithCards::yes, 8);
  const Plan now = plan(s);
  const std::vector<int> holders = holders_of(s);
  for (size_t p = 1; p < now.line.size(); ++p) {
    const Party& self = s.parties[static_cast<size_t>(now.line[p - 1])];
    if (!self.seconds) continue;
    const int lease = s.find(self.with_key());
    for (size_t q = p; q < now.line.size(); ++q) {
      const Party& passed = s.parties[static_cast<size_t>(now.line[q])];
      if (!(order_key(passed, s.policy) < order_key(self, s.policy))) continue;
      if (!contend(s, now.line[p - 1], now.line[q])) continue;
      // With nobody there but the lease and what it asks for, or the lease alone: the same.
      std::vector<bool> alone(s.parties.size(), true);
      alone[static_cast<size_t>(lease)] = false;
      alone[static_cast<size_t>(now.line[q])] = false;
      const Plan without = plan(s, alone);
      alone[static_cast<size_t>(now.line[p - 1])] = false;
      const Plan with = plan(s, alone);
      RC_LOG() << sketch(s) << "passed is " << now.line[q] << " by " << now.line[p - 1];
      RC_ASSERT(with.verdict_of(now.line[q]) == without.verdict_of(now.line[q]));
    }
  }
}

}  // namespace
}  // namespace berth
