#include "sched/fair_share.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "base/text.h"
#include "sched/plan.h"
#include "sched/pool_sketch.h"

namespace berth {
namespace {

constexpr int64_t second = 1'000'000;
constexpr int64_t now_us = 1'000'000 * second;
constexpr int64_t day = 86'400 * second;

PoolSketch fair_pool() {
  PoolSketch pool({{"cpu", 4}, {"ram", 4}});
  pool.snapshot.policy.fair_share = true;
  pool.snapshot.now_us = now_us;
  return pool;
}

UseAccount had(const std::string& name, int64_t us) { return {now_us, {{name, us}}}; }

TEST(UseAccount, SurvivesBeingWrittenAndRead) {
  const UseAccount account{17, {{"cpu", 5}, {"gpus", 1'000'000}, {"lic-2", 0}}};
  EXPECT_EQ(encode_use_account(account), "berth-use=1 at=17 cpu=5 gpus=1000000 lic-2=0");
  EXPECT_EQ(decode_use_account(encode_use_account(account)), account);
}

TEST(UseAccount, IsEmptyWhereItCannotBeRead) {
  for (const char* bad :
       {"", "berth-use=2 at=1 cpu=1", "berth-use=1", "berth-use=1 at=x", "berth-use=1 at=1 cpu",
        "berth-use=1 at=1 cpu=-1", "berth-use=1 at=1 cpu=1 cpu=2", "berth-use=1 at=1 gpu=1", "berth-use=1 cpu=1 at=1"})
    EXPECT_EQ(decode_use_account(bad), UseAccount{}) << bad;
  EXPECT_EQ(decode_use_account(std::string(5000, 'x')), UseAccount{});
}

RC_GTEST_PROP(UseAccountAlways, TakesAnyBytes, (const std::string& tail)) {
  const UseAccount read = decode_use_account("berth-use=1 at=" + tail);
  RC_ASSERT(encode_use_account(read).size() <= max_use_account);
}

TEST(UseAccount, IsHalvedEveryHalfLife) {
  PoolSketch pool = fair_pool();
  pool.holds(cpu(1));
  const Party& lease = pool.snapshot.parties[0];
  const auto after = [&](int64_t us) {
    return charged(had("ram", 1'000'000), pool.snapshot, lease, 0, now_us + us).uses.at(0).us;
  };
  EXPECT_EQ(after(0), 1'000'000);
  EXPECT_EQ(after(day / 2), 750'000);
  EXPECT_EQ(after(day), 500'000);
  EXPECT_EQ(after(3 * day), 125'000);
  EXPECT_EQ(after(-day), 1'000'000) << "a clock that was set back";
}

TEST(UseAccount, CountsThePartOfAllThereIsAndWholeCards) {
  PoolSketch pool = fair_pool();
  pool.holds(with(cards(2), {{"cpu", 1}}), {0, 1});
  pool.holds(share(6, {{"A", 24}}), {0});
  const UseAccount first = charged({}, pool.snapshot, pool.snapshot.parties[0], 8 * second, now_us);
  EXPECT_EQ(first, (UseAccount{now_us, {{"cpu", 2 * second}, {"gpus", 16 * second}}}));
  const UseAccount both = charged(first, pool.snapshot, pool.snapshot.parties[1], 8 * second, now_us);
  EXPECT_EQ(both.uses.at(1).us, 18 * second) << "a quarter of a card";
}

TEST(Debt, IsNothingWithoutThePolicyOrWithoutAnyUse) {
  PoolSketch pool = fair_pool();
  const int self = pool.waits(cpu(1));
  EXPECT_EQ(debt_us(pool.snapshot, self, {}), 0);
  pool.snapshot.policy.fair_share = false;
  EXPECT_EQ(debt_us(pool.snapshot, self, had("cpu", 3600 * second)), 0);
}

TEST(Debt, GrowsWithEveryDoublingAndNeverPastTheMost) {
  PoolSketch pool = fair_pool();
  const int self = pool.waits(cpu(1));
  const int64_t most = most_debt_us(pool.snapshot.policy);
  EXPECT_EQ(most, 3600 * second) << "as a point of priority";
  int64_t last = 0;
  for (int64_t us = second / 4; us < 4 * day; us *= 2) {
    const int64_t debt = debt_us(pool.snapshot, self, had("cpu", us));
    EXPECT_GT(debt, last);
    EXPECT_LE(debt, most);
    last = us < day ? debt : 0;
  }
  EXPECT_EQ(debt_us(pool.snapshot, self, had("cpu", max_amount)), most);
  pool.snapshot.policy.max_debt_s = 60;
  EXPECT_EQ(debt_us(pool.snapshot, self, had("cpu", max_amount)), 60 * second);
}

TEST(Debt, IsOfWhatTheNewcomerWants) {
  PoolSketch pool = fair_pool();
  const int wants_ram = pool.waits(counts({{"ram", 1}}));
  const int wants_both = pool.waits(counts({{"cpu", 1}, {"ram", 1}}));
  pool.snapshot.parties[static_cast<size_t>(wants_both)].priority = 1;  // the other does not stand before it
  EXPECT_EQ(debt_us(pool.snapshot, wants_both, had("cpu", day)),
            debt_us(pool.snapshot, wants_both, {now_us, {{"cpu", day}, {"ram", second}}}));
  pool.snapshot.parties.pop_back();
  EXPECT_EQ(debt_us(pool.snapshot, wants_ram, had("cpu", day)), 0);
}

TEST(Debt, CountsOnesOwnThatHoldOrWaitAndNobodyElses) {
  PoolSketch pool = fair_pool();
  pool.as_user("1002");
  pool.holds(cpu(1));
  pool.waits(cpu(1));
  pool.as_user("1001");
  const int first = pool.waits(cpu(1));
  EXPECT_EQ(debt_us(pool.snapshot, first, {}), 0);
  pool.as_user("1001.1");
  const int second_one = pool.waits(cpu(1));
  const int64_t after_one = debt_us(pool.snapshot, second_one, {});
  EXPECT_GT(after_one, 0) << "one uid, whatever its directory is called";
  const int third = pool.waits(cpu(1));
  EXPECT_GT(debt_us(pool.snapshot, third, {}), after_one);
}

// Two users, one with many jobs and one with few that come right after, and one slot: they take turns.
TEST(FairShare, WhoQueuesManyTakesTurnsWithWhoQueuesFew) {
  PoolSketch pool({{"cpu", 1}});
  pool.snapshot.policy.fair_share = true;
  pool.snapshot.now_us = now_us;
  const auto enter = [&](const std::string& user, int jobs) {
    pool.as_user(user);
    for (int i = 0; i < jobs; ++i) {
      const int self = pool.waits(cpu(1));
      pool.snapshot.parties[static_cast<size_t>(self)].debt_us = debt_us(pool.snapshot, self, {});
    }
  };
  enter("1001", 20);
  enter("1002", 3);
  std::string turns;
  for (const int party : plan(pool.snapshot).line)
    turns += pool.snapshot.parties[static_cast<size_t>(party)].user() == "1001" ? "a" : "b";
  EXPECT_EQ(turns, "abababaaaaaaaaaaaaaaaaa");
}

// The bound of the wait: nobody who comes later than the most debt can pass one of the same priority.
RC_GTEST_PROP(FairShareAlways, NobodyPassesWhoCameSoMuchEarlier, ()) {
  Policy policy;
  policy.fair_share = true;
  policy.age_s = *rc::gen::inRange<int64_t>(1, 10'000);
  policy.max_debt_s = *rc::gen::inRange<int64_t>(0, 10'000);
  policy.half_life_s = *rc::gen::inRange<int64_t>(1, 1'000'000);
  PoolSketch pool({{"cpu", 4}});
  pool.snapshot.policy = policy;
  pool.snapshot.now_us = now_us;
  const int early = pool.waits(cpu(1), *rc::gen::inRange(-3, 4));
  const int late = pool.waits(cpu(1), *rc::gen::inRange(-3, 4));
  Party& a = pool.snapshot.parties[static_cast<size_t>(early)];
  Party& b = pool.snapshot.parties[static_cast<size_t>(late)];
  a.debt_us = debt_us(pool.snapshot, early,
                      {*rc::gen::inRange<int64_t>(0, now_us), {{"cpu", *rc::gen::inRange<int64_t>(0, max_amount)}}});
  RC_ASSERT(a.debt_us >= 0 && a.debt_us <= most_debt_us(policy));
  const int64_t points = std::max(0, b.priority - a.priority);
  b.arrival_us = a.arrival_us + most_debt_us(policy) + points * policy.age_s * second + 1;
  RC_ASSERT(order_key(a, policy) < order_key(b, policy));
}

RC_GTEST_PROP(FairShareAlways, WhoHadMoreOwesNoLess, ()) {
  PoolSketch pool = fair_pool();
  const int self = pool.waits(cpu(1));
  const auto less = *rc::gen::inRange<int64_t>(0, 10 * day);
  const auto more = less + *rc::gen::inRange<int64_t>(0, 10 * day);
  RC_ASSERT(debt_us(pool.snapshot, self, had("cpu", less)) <= debt_us(pool.snapshot, self, had("cpu", more)));
}

}  // namespace
}  // namespace berth
