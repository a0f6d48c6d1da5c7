#include "sched/quota.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <random>

#include "sched/any_pool.h"
#include "sched/plan.h"
#include "sched/pool_sketch.h"

namespace berth {
namespace {

PoolSketch pool_with(const std::vector<Quota>& quotas) {
  PoolSketch pool({{"cpu", 4}, {"ram", 4}});
  pool.snapshot.policy.quotas = quotas;
  return pool;
}

TEST(Quota, WhoseUserHasItAllWaitsAndHoldsUpNobodyElse) {
  PoolSketch pool = pool_with({{"cpu", 2}});
  pool.holds(cpu(1));
  pool.waits(cpu(2));
  pool.as_user("1002");
  pool.waits(cpu(2));
  const Plan now = plan(pool.snapshot);
  EXPECT_EQ(verdicts(now), "- wait seat");
  EXPECT_TRUE(now.is_over_quota(1));
  EXPECT_FALSE(now.is_over_quota(2));
}

TEST(Quota, KeepsTheOrderAmongAUsersOwn) {
  PoolSketch pool = pool_with({{"cpu", 2}});
  pool.holds(cpu(1));
  pool.waits(cpu(2));
  pool.waits(cpu(1));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait wait") << "a small one does not keep the large one out for ever";
}

TEST(Quota, WhoIsSeatedInTheSameWalkCounts) {
  PoolSketch pool = pool_with({{"gpus", 2}});
  pool.waits(cards(1));
  pool.waits(share(4));
  pool.waits(cards(1));
  pool.waits(cpu(4));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "seat seat wait seat") << "a share counts as a device, a slot does not";
}

TEST(Quota, IsOfTheUidWhateverItsDirectoryIsCalled) {
  PoolSketch pool = pool_with({{"cpu", 2}});
  pool.holds(cpu(2));
  pool.as_user("1001.1");
  pool.waits(cpu(1));
  pool.as_user("10011");
  pool.waits(cpu(1));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "- wait seat");
}

TEST(Quota, AClaimAboveItCanNeverBeMet) {
  PoolSketch pool = pool_with({{"gpus", 1}});
  pool.waits(cards(2));
  EXPECT_EQ(verdicts(plan(pool.snapshot)), "impossible");
  const auto lacking = shortfalls(pool.snapshot, 0);
  ASSERT_EQ(lacking.size(), 1U);
  EXPECT_EQ(lacking[0].what, "policy.max.gpus_per_user");
  EXPECT_EQ(lacking[0].there, 1);
}

TEST(Quota, WhatIsInsideALeaseDoesNotCount) {
  PoolSketch pool = pool_with({{"cpu", 2}});
  pool.holds(cpu(2));
  pool.holds(cpu(2));
  pool.snapshot.parties[1].nested = true;
  pool.snapshot.parties[1].parent = pool.snapshot.parties[0].id;
  EXPECT_EQ(Quotas(pool.snapshot).of(0).size(), 1U);
  EXPECT_TRUE(Quotas(pool.snapshot).of(1).empty());
}

TEST(Quota, ATurnTakesNoCardThatALeaseAroundItHas) {
  PoolSketch pool = pool_with({{"gpus", 1}});
  const auto inside_of = [&](int party, int lease) {
    pool.snapshot.parties[static_cast<size_t>(party)].seconds = true;
    pool.snapshot.parties[static_cast<size_t>(party)].with = pool.snapshot.parties[static_cast<size_t>(lease)].id;
  };
  const auto turn_on = [](const char* card) { return Claim{{}, {1, false, 0, 50}, {{card, 24}}}; };
  const int lease = pool.holds(share(8), {0});
  const int trivial = pool.holds(cpu(1));
  const int inner = pool.holds(cpu(1));
  inside_of(inner, lease);
  const int own = pool.waits(turn_on("A"));
  inside_of(own, lease);
  const int deeper = pool.waits(turn_on("A"));
  inside_of(deeper, inner);
  const int other = pool.waits(turn_on("C"));
  inside_of(other, lease);
  const int around_nothing = pool.waits(turn_on("C"));
  inside_of(around_nothing, trivial);
  const Plan now = plan(pool.snapshot);
  EXPECT_EQ(verdicts(now), "- - - seat seat wait wait");
  EXPECT_TRUE(now.is_over_quota(other) && now.is_over_quota(around_nothing));
}

TEST(Quota, ForgedAmountsAddUpToMuchAndNotToNothing) {
  PoolSketch pool = pool_with({{"cpu", 2}});
  for (int i = 0; i < 16; ++i) pool.holds(cpu(int64_t{1} << 60));
  pool.waits(cpu(1));
  EXPECT_TRUE(plan(pool.snapshot).is_over_quota(16));
}

TEST(QuotaWord, IsReadAndWritten) {
  EXPECT_EQ(quota_word("gpus"), "policy.max.gpus_per_user");
  EXPECT_EQ(quota_name("policy.max.lic-2_per_user"), "lic-2");
  for (const char* bad : {"policy.max._per_user", "policy.max.gpu_per_user", "policy.max.a b_per_user",
                          "policy.max_per_user", "policy.max.cpu", "cpu"})
    EXPECT_FALSE(quota_name(bad)) << bad;
}

bool has_around(const Snapshot& s, const Party& party, uint16_t card) {
  for (const Party& lease : s.parties) {
    if (!party.seconds || lease.key() != party.with_key()) continue;
    const auto had = s.granted(lease);
    return std::find(had.begin(), had.end(), card) != had.end() || has_around(s, lease, card);
  }
  return false;
}

// Whether a lease went from under somebody whom it kept within its quota.
bool lacks_a_lease(const Snapshot& s) {
  return std::any_of(s.parties.begin(), s.parties.end(), [&](const Party& p) {
    return p.seconds && uses_memory_of_lease(p.gpu) && s.find(p.with_key()) < 0;
  });
}

// Adds up by user; knows nothing of how the plan counts.
bool over_quota(const Snapshot& s) {
  std::map<std::pair<std::string, std::string>, int64_t> taken;
  for (const Party& p : s.parties) {
    if (p.state != PartyState::held) continue;
    const std::string user(p.dir().substr(0, 4));
    for (const Amount& a : s.counters(p)) taken[{user, s.resources[a.resource].name}] += a.amount;
    const bool turn = p.seconds && uses_memory_of_lease(p.gpu);
    for (const uint16_t card : s.granted(p)) taken[{user, "gpus"}] += turn && has_around(s, p, card) ? 0 : 1;
  }
  for (const Quota& q : s.policy.quotas)
    for (const auto& [of, amount] : taken)
      if (of.second == q.name && amount > q.most) return true;
  return false;
}

RC_GTEST_PROP(QuotaAlways, NobodyIsSeatedBeyondIt, ()) {
  Snapshot s = any_timed_pool(WithCards::yes, 9, Saying::some, WithQuotas::yes);
  if (over_quota(s) && lacks_a_lease(s)) return;
  RC_ASSERT(!over_quota(s));
  const Plan now = plan(s);
  seat_all(s, now);
  RC_ASSERT(!over_quota(s));
}

RC_GTEST_PROP(QuotaAlways, IsTheSameWhateverOrderThePartiesAreReadIn, ()) {
  const Snapshot s = any_timed_pool(WithCards::yes, 9, Saying::some, WithQuotas::yes);
  const Snapshot other = shuffled(s);
  const Plan a = plan(s);
  const Plan b = plan(other);
  for (size_t i = 0; i < s.parties.size(); ++i) {
    const int j = other.find(s.parties[i]);
    RC_ASSERT(a.verdicts[i] == b.verdict_of(j));
    RC_ASSERT(a.is_over_quota(static_cast<int>(i)) == b.is_over_quota(j));
    RC_ASSERT(a.seat_of(static_cast<int>(i)) == b.seat_of(j));
  }
}

// As if it were not there: to everybody but its own user's behind it.
RC_GTEST_PROP(QuotaAlways, WhoIsOverItHoldsUpNobodyElse, ()) {
  const Snapshot s = any_timed_pool(WithCards::yes, 9, Saying::some, WithQuotas::yes);
  const Plan now = plan(s, {}, Extent::everybody);
  std::vector<bool> over(s.parties.size(), false);
  for (size_t i = 0; i < over.size(); ++i)
    over[i] = now.is_over_quota(static_cast<int>(i)) || now.verdicts[i] == Verdict::impossible;
  Snapshot unlimited = s;
  unlimited.policy.quotas.clear();
  const Plan without = plan(unlimited, over, Extent::everybody);
  if (now.timed != without.timed) return;  // it was the only one to say how long it takes
  for (size_t i = 0; i < over.size(); ++i) {
    if (over[i]) continue;
    RC_LOG() << i << "\n" << sketch(s);
    RC_ASSERT(now.verdicts[i] == without.verdicts[i]);
    RC_ASSERT(now.starts_us[i] == without.starts_us[i]);
  }
}

RC_GTEST_PROP(QuotaAlways, NobodyComesToBeOverItWhileOthersOnlyGo, ()) {
  const Snapshot s = any_pool(WithCards::yes, 8, WithQuotas::yes);
  const Plan now = plan(s);
  std::vector<bool> gone(s.parties.size(), false);
  for (size_t i = 0; i < gone.size(); ++i) gone[i] = *rc::gen::inRange(0, 2) == 0;
  const Plan then = plan(s, gone);
  for (const int party : then.line) RC_ASSERT(now.is_over_quota(party) || !then.is_over_quota(party));
}

// Whoever is over it gets its turn when its user's others are gone, and as soon as that.
RC_GTEST_PROP(QuotaAlways, EverybodyIsSeatedInTheEnd, ()) {
  Snapshot s = any_pool(WithCards::yes, 9, WithQuotas::yes);
  for (int round = 0; round < 12; ++round) {
    settle(s);
    const Plan now = plan(s);
    const bool waits = std::any_of(now.line.begin(), now.line.end(),
                                   [&](int party) { return now.verdict_of(party) == Verdict::wait; });
    if (!waits) return;
    std::vector<bool> gone(s.parties.size(), false);
    const std::vector<int> holders = holders_of(s);
    RC_ASSERT(!holders.empty());
    gone[static_cast<size_t>(holders[*rc::gen::inRange<size_t>(0, holders.size())])] = true;
    remove(s, gone);
  }
  RC_FAIL("somebody is never seated");
}

}  // namespace
}  // namespace berth
