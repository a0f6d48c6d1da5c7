// Who is asked to give way: single cases by hand, and what must hold of every small pool.
#include "sched/reclaim.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "sched/any_pool.h"
#include "sched/pool_sketch.h"
#include "sched/way_rules.h"

namespace berth {
namespace {

class Reclaims : public testing::Test {
 protected:
  int yields(const Claim& claim, int priority = 0, std::vector<uint16_t> grant = {}) {
    const int index = pool.holds(claim, std::move(grant));
    Party& party = pool.snapshot.parties[static_cast<size_t>(index)];
    party.way.reclaimable = true;
    party.priority = priority;
    party.seated_us = 1'000'000 + index;
    pool.snapshot.any_reclaimable = true;
    return index;
  }
  Way& way(int index) { return pool.snapshot.parties[static_cast<size_t>(index)].way; }
  [[nodiscard]] std::string asked(const std::vector<bool>& absent = {}, const std::vector<bool>& deaf = {}) const {
    std::string out;
    for (const Reclaim& r : reclaims(pool.snapshot, absent, deaf))
      out += (out.empty() ? "" : " ") + std::to_string(r.holder) + ">" + std::to_string(r.waiter);
    return out;
  }

  PoolSketch pool{{{"cpu", 4}, {"lic", 1}}};
};

TEST_F(Reclaims, AskNobodyWhereNobodySaidThatItMayBeAsked) {
  pool.holds(cpu(4));
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "");
}

TEST_F(Reclaims, AskForAWaiterOfHigherPriorityAlone) {
  yields(cpu(4), 5);
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "");
  const int higher = pool.waits(cpu(1), 6);
  EXPECT_EQ(asked(), "0>" + std::to_string(higher));
}

TEST_F(Reclaims, NeverTurnOutAnEqualHoweverLongItWaited) {
  yields(cpu(4));
  const int old = pool.waits(cpu(1));
  pool.snapshot.parties[static_cast<size_t>(old)].arrival_us = 1;
  EXPECT_EQ(asked(), "");
}

TEST_F(Reclaims, AskNobodyInVain) {
  yields(cpu(1));
  pool.holds(cpu(3));
  pool.waits(cpu(2), 5);
  EXPECT_EQ(asked(), "");
}

// Over its quota it sets nothing aside: the other one would have its place back at once, and be asked for ever.
TEST_F(Reclaims, AskOneAfterTheOtherForAWaiterThatIsOverItsQuota) {
  pool.snapshot.policy.quotas = {{"lic", 1}};
  yields(counts({{"lic", 1}}));
  pool.as_user("1002");
  yields(cpu(4));
  pool.as_user("1001");
  pool.snapshot.resources[1].capacity = 2;
  pool.waits(counts({{"lic", 1}, {"cpu", 1}}), 5);
  EXPECT_EQ(asked(), "0>2");
  EXPECT_EQ(asked({true, false, false}), "1>2");
}

TEST_F(Reclaims, AskOneWhereOneIsEnoughThoughTwoSmallOnesWereCheaper) {
  yields(cpu(1), -2);
  yields(cpu(1), -2);
  yields(cpu(2), 0);
  pool.waits(cpu(2), 5);
  EXPECT_EQ(asked(), "2>3");
}

TEST_F(Reclaims, AskTheLowestPriorityAndThenWhoSatDownLast) {
  yields(cpu(1), 1);
  yields(cpu(1), 0);
  yields(cpu(1), 0);
  yields(cpu(1), 1);
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "2>4");
}

TEST_F(Reclaims, AskWhoHeededTheLastTimeFirst) {
  yields(cpu(1), -1);
  yields(cpu(1), 0);
  pool.holds(cpu(2));
  pool.waits(cpu(1), 5);
  way(0).doubtful = true;
  EXPECT_EQ(asked(), "1>3");
}

TEST_F(Reclaims, AskADoubtfulOneAloneAndTheOthersWhenItIsGone) {
  yields(cpu(2));
  yields(cpu(2));
  pool.waits(cpu(4), 5);
  way(0).doubtful = true;
  EXPECT_EQ(asked(), "0>2");
  EXPECT_EQ(asked({true}), "1>2");
}

TEST_F(Reclaims, StayWithWhoIsAboutItAlready) {
  yields(cpu(1), 1);
  yields(cpu(1), 0);
  pool.holds(cpu(2));
  pool.waits(cpu(1), 5);
  way(0).yielding = true;
  EXPECT_EQ(asked(), "0>3");
}

TEST_F(Reclaims, LeaveAloneWhoIsBusyOrDidNotHeedOrCannotHear) {
  yields(cpu(1));
  yields(cpu(1));
  yields(cpu(1));
  yields(cpu(1), 1);
  pool.waits(cpu(1), 5);
  way(2).busy = true;
  way(1).unheeded = true;
  EXPECT_EQ(asked({}, {true}), "3>4");
}

TEST_F(Reclaims, AreOfOneThatDidNotHeedAHandButForNobodyOnItsOwn) {
  yields(cpu(2));
  way(0).unheeded = way(0).asked = true;
  EXPECT_EQ(asked(), "");
  pool.holds(cpu(2));
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "0>2");
}

TEST_F(Reclaims, AreWithdrawnWhenTheWaiterIsGoneOrThereIsRoom) {
  yields(cpu(2));
  pool.holds(cpu(2));
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "0>2");
  EXPECT_EQ(asked({false, false, true}), "");
  EXPECT_EQ(asked({false, true, false}), "");
}

TEST_F(Reclaims, OfTwoWaitersAskForEachWhatItTakesAndNoMore) {
  yields(cpu(2));
  yields(cpu(2));
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "1>2");
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "1>2") << "one going makes room for both";
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "1>2 0>4");
}

// For the first one the cheap one is enough; for the second it must be the other, which is enough for both.
TEST_F(Reclaims, LetOffWhoIsSuperfluousByWhoWasAskedForTheNext) {
  yields(cpu(1), -1);
  yields(cpu(3), 0);
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "0>2");
  pool.waits(cpu(2), 5);
  EXPECT_EQ(asked(), "1>3");
}

TEST_F(Reclaims, AskByHandWhoeverWaits) {
  yields(cpu(4));
  way(0).asked = true;
  EXPECT_EQ(asked(), "0>-1");
  pool.waits(cpu(1), 5);
  EXPECT_EQ(asked(), "0>-1");
  way(0).busy = true;
  EXPECT_EQ(asked(), "");
}

TEST_F(Reclaims, AskForTheDeviceThatTheWaiterMayUse) {
  yields(cards(1), 0, {0});
  yields(cards(1), 0, {1});
  yields(cards(1), 0, {2});
  pool.waits(cards(1, {{"B", 16}}), 5);
  EXPECT_EQ(asked(), "1>3");
}

TEST_F(Reclaims, FindEnoughWhereManyMustGo) {
  PoolSketch many({{"cpu", 30}});
  pool = many;
  for (int i = 0; i < 30; ++i) yields(cpu(1));
  pool.waits(cpu(20), 5);
  EXPECT_EQ(reclaims(pool.snapshot).size(), 20U);
}

TEST_F(Reclaims, StandBehindThoseForWhomTheyGaveWay) {
  yields(cpu(4));
  pool.snapshot.parties[0].arrival_us = 1;
  const int waiter = pool.waits(cpu(4), 1);
  const int64_t now_us = int64_t{10} * 3600 * 1'000'000;
  pool.snapshot.parties[static_cast<size_t>(waiter)].arrival_us = now_us;
  Party& own = pool.snapshot.parties[0];
  own.debt_us = debt_behind(pool.snapshot, 0, reclaims(pool.snapshot));
  EXPECT_EQ(order_key(own, {}).key_us, order_key(pool.snapshot.parties[1], {}).key_us + 1);
  pool.snapshot.parties[1].arrival_us = 2;
  own.debt_us = 0;
  EXPECT_EQ(debt_behind(pool.snapshot, 0, reclaims(pool.snapshot)), 0) << "its priority alone puts the waiter first";
}

// ---- of every small pool ----

enum class Doubts { none, some };

Snapshot any_yielding_pool(Doubts doubts = Doubts::none) {
  const WithCards with_cards = *rc::gen::arbitrary<bool>() ? WithCards::yes : WithCards::no;
  PoolSketch pool({{"cpu", 4}, {"ram", 4}, {"lic", 3}});
  const int holders = *rc::gen::inRange(4, 9);
  for (int i = 0; i < holders; ++i) pool.waits(any_claim(with_cards), *rc::gen::inRange(0, 2));
  settle(pool.snapshot);
  const int waiters = *rc::gen::inRange(1, 5);
  for (int i = 0; i < waiters; ++i) pool.waits(any_claim(with_cards), *rc::gen::inRange(1, 6));
  Snapshot& s = pool.snapshot;
  for (Party& p : s.parties) {
    if (p.state != PartyState::held) continue;
    p.way.reclaimable = *rc::gen::inRange(0, 6) != 0;
    p.way.busy = p.way.reclaimable && *rc::gen::inRange(0, 9) == 0;
    p.way.yielding = p.way.reclaimable && *rc::gen::inRange(0, 5) == 0;
    p.way.unheeded = p.way.reclaimable && *rc::gen::inRange(0, 9) == 0;
    p.way.asked = p.way.unheeded && *rc::gen::inRange(0, 2) == 0;
    p.way.doubtful = doubts == Doubts::some && p.way.reclaimable && *rc::gen::inRange(0, 2) == 0;
    p.seated_us = 1'000 + *rc::gen::inRange(0, 5);
    s.any_reclaimable |= p.way.reclaimable;
  }
  return s;
}

std::vector<bool> going(const Snapshot& s, const std::vector<Reclaim>& asked, int but = -1) {
  std::vector<bool> gone(s.parties.size(), false);
  for (const Reclaim& r : asked)
    if (r.holder != but) gone[static_cast<size_t>(r.holder)] = true;
  return gone;
}

RC_GTEST_PROP(ReclaimProperties, WhoIsAskedMayBeAskedAndNobodyIsAskedTwice, ()) {
  const Snapshot s = any_yielding_pool();
  std::vector<bool> seen(s.parties.size(), false);
  for (const Reclaim& r : reclaims(s)) {
    const Party& holder = s.parties[static_cast<size_t>(r.holder)];
    RC_ASSERT(!seen[static_cast<size_t>(r.holder)]);
    seen[static_cast<size_t>(r.holder)] = true;
    RC_ASSERT(holder.state == PartyState::held && holder.way.reclaimable && !holder.way.busy && !refuses(holder.way));
    RC_ASSERT(holder.priority < s.parties[static_cast<size_t>(r.waiter)].priority);
  }
}

RC_GTEST_PROP(ReclaimProperties, ItHelpsAndNobodyIsOneTooMany, ()) {
  const Snapshot s = any_yielding_pool();
  const auto asked = reclaims(s);
  RC_CLASSIFY(!asked.empty());
  RC_CLASSIFY(asked.size() > 1);
  const Plan after = plan(s, going(s, asked));
  for (const Reclaim& r : asked) RC_ASSERT(after.verdict_of(r.waiter) == Verdict::seat);
  for (const Reclaim& r : asked) {
    if (s.parties[static_cast<size_t>(r.holder)].way.yielding) continue;
    const Plan without = plan(s, going(s, asked, r.holder));
    const bool all_the_same = std::all_of(asked.begin(), asked.end(), [&](const Reclaim& other) {
      return without.verdict_of(other.waiter) == Verdict::seat;
    });
    if (all_the_same) RC_FAIL("one too many: " + std::to_string(r.holder) + "\n" + sketch(s));
  }
}

// For the first waiter of whom somebody is asked, no smaller set of those it may ask would do.
RC_GTEST_PROP(ReclaimProperties, TheFirstWaiterAsksTheFewest, ()) {
  Snapshot s = any_yielding_pool();
  for (Party& p : s.parties) p.way.yielding = false;
  const auto asked = reclaims(s);
  RC_CLASSIFY(asked.empty());
  if (asked.empty()) return;
  const int waiter = asked.front().waiter;
  const auto for_it = std::count_if(asked.begin(), asked.end(), [&](const Reclaim& r) { return r.waiter == waiter; });
  std::vector<int> own;
  for (size_t i = 0; i < s.parties.size(); ++i) {
    const Party& p = s.parties[i];
    const bool may = p.state == PartyState::held && p.way.reclaimable && !p.way.busy && !refuses(p.way);
    if (may && p.priority < s.parties[static_cast<size_t>(waiter)].priority) own.push_back(static_cast<int>(i));
  }
  for (unsigned mask = 0; mask < 1U << own.size(); ++mask) {
    if (std::popcount(mask) >= for_it) continue;
    RC_ASSERT(plan(s, chosen(s, own, mask)).verdict_of(waiter) == Verdict::wait);
  }
}

RC_GTEST_PROP(ReclaimProperties, WhereSomebodyCouldBeHelpedSomebodyIsAsked, ()) {
  const Snapshot s = any_yielding_pool();
  const auto asked = reclaims(s);
  const Plan after = plan(s, going(s, asked));
  for (const int waiter : after.line) {
    if (after.verdict_of(waiter) != Verdict::wait) continue;
    for (size_t i = 0; i < s.parties.size(); ++i) {
      const Party& p = s.parties[i];
      const bool may = p.state == PartyState::held && p.way.reclaimable && !p.way.busy && !refuses(p.way);
      if (!may || p.priority >= s.parties[static_cast<size_t>(waiter)].priority) continue;
      std::vector<bool> gone = going(s, asked);
      if (gone[i]) continue;
      gone[i] = true;
      const bool helps = plan(s, gone).verdict_of(waiter) == Verdict::seat;
      if (helps) RC_FAIL(std::to_string(waiter) + " could have asked " + std::to_string(i) + "\n" + sketch(s));
    }
  }
}

RC_GTEST_PROP(ReclaimProperties, TheOrderOfThePartiesPlaysNoPart, ()) {
  const Snapshot s = any_yielding_pool();
  Snapshot turned = s;
  std::reverse(turned.parties.begin(), turned.parties.end());
  const auto names = [](const Snapshot& of) {
    std::vector<std::pair<std::string, std::string>> out;
    for (const Reclaim& r : reclaims(of))
      out.emplace_back(of.parties[static_cast<size_t>(r.holder)].id.view(),
                       of.parties[static_cast<size_t>(r.waiter)].id.view());
    return out;
  };
  RC_ASSERT(names(s) == names(turned));
}

// They are asked one after the other where one of them may stay; but in the end for each it is enough.
RC_GTEST_PROP(ReclaimProperties, NobodyGivesWayBesideADoubtfulOneThatHasNot, ()) {
  Snapshot s = any_yielding_pool(Doubts::some);
  std::vector<bool> gone(s.parties.size(), false);
  std::vector<int> waiters;
  int rounds = 0;
  for (auto asked = reclaims(s, gone); !asked.empty() && rounds < 12; asked = reclaims(s, gone), ++rounds) {
    std::vector<int> doubted;
    for (const Reclaim& r : asked)
      if (s.parties[static_cast<size_t>(r.holder)].way.doubtful) doubted.push_back(r.waiter);
    for (const Reclaim& r : asked) {
      const Way& way = s.parties[static_cast<size_t>(r.holder)].way;
      const bool waits_for_one = std::find(doubted.begin(), doubted.end(), r.waiter) != doubted.end();
      RC_ASSERT(way.doubtful || way.yielding || !waits_for_one);
      gone[static_cast<size_t>(r.holder)] = true;
      waiters.push_back(r.waiter);
    }
  }
  RC_CLASSIFY(rounds > 1);
  RC_ASSERT(rounds < 12);
  const Plan after = plan(s, gone);
  for (const int waiter : waiters)
    if (waiter >= 0) RC_ASSERT(after.verdict_of(waiter) == Verdict::seat);
}

// They go one after the other, in any order, and stand in line again, behind those for whom they went: nobody
// gets back at once what he has just given away, so it comes to an end.
RC_GTEST_PROP(ReclaimProperties, ItComesToAnEndInWhateverOrderTheyGo, ()) {
  Snapshot s = any_yielding_pool(Doubts::some);
  int gone = 0;
  for (auto asked = reclaims(s); !asked.empty() && gone < 20; asked = reclaims(s), ++gone) {
    const int who = asked[static_cast<size_t>(*rc::gen::inRange<int>(0, static_cast<int>(asked.size())))].holder;
    Party& party = s.parties[static_cast<size_t>(who)];
    party.debt_us += debt_behind(s, who, asked);
    party.state = PartyState::waiting;
    party.granted = {};
    settle(s);
  }
  RC_CLASSIFY(gone > 1);
  RC_ASSERT(gone < 20);
}

}  // namespace
}  // namespace berth
