#include "cli/outlook.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "sched/any_pool.h"
#include "sched/timeline.h"

namespace berth {
namespace {

constexpr int64_t second_us = 1'000'000;
constexpr int64_t now_us = 1'000 * second_us;

Claim slot(int64_t n) { return counts({{"slot", n}}); }

// A pool at `now_us`, whose holders sat down 100 s ago.
class Scene : public PoolSketch {
 public:
  using PoolSketch::PoolSketch;
  int seated(const Claim& claim, int64_t expect_s, std::vector<uint16_t> grant = {}) {
    const int index = holds(claim, std::move(grant));
    Party& party = at(index);
    party.seated_us = now_us - 100 * second_us;
    party.expect_s = expect_s;
    return index;
  }
  int comes(const Claim& claim, int64_t expect_s = 0) {
    const int index = waits(claim);
    at(index).expect_s = expect_s;
    return index;
  }
  // Seconds until its start, -1 if nobody knows.
  int64_t eta_s(int index) { return seconds(look(index).start_us); }
  Outlook look(int index, const std::vector<bool>& absent = {}) {
    snapshot.now_us = now_us;
    return outlook(snapshot, absent, index);
  }
  Party& at(int index) { return snapshot.parties[static_cast<size_t>(index)]; }

 private:
  static int64_t seconds(int64_t us) { return us < 0 ? -1 : (us - now_us) / second_us; }
};

std::vector<int> holders(const Outlook& out) {
  std::vector<int> found;
  for (const Obstacle& o : out.obstacles) found.push_back(o.holder);
  return found;
}

TEST(Outlook, AddsUpWhatThoseAheadSay) {
  Scene pool({{"slot", 1}});
  pool.seated(slot(1), 160);
  const int first = pool.comes(slot(1), 30);
  const int second = pool.comes(slot(1), 10);
  const int third = pool.comes(slot(1));
  const int fourth = pool.comes(slot(1));
  EXPECT_EQ(pool.eta_s(first), 60);
  EXPECT_EQ(pool.eta_s(second), 90);
  EXPECT_EQ(pool.eta_s(third), 100);
  EXPECT_EQ(pool.eta_s(fourth), -1) << "the third did not say how long";
  EXPECT_EQ(pool.look(fourth).ahead, (std::vector<int>{first, second, third}));
}

TEST(Outlook, AheadOfWhoIsOutAreThoseThatCameBefore) {
  Scene pool({{"slot", 1}});
  pool.seated(slot(1), 160);
  const int before = pool.comes(slot(1));
  const int out_before = pool.comes(slot(1));
  const int self = pool.comes(slot(1));
  const int out_behind = pool.comes(slot(1));
  const int behind = pool.comes(slot(1));
  for (const int i : {out_before, self, out_behind}) pool.at(i).out = true;
  EXPECT_EQ(pool.look(self).ahead, (std::vector<int>{before, out_before}));
  EXPECT_EQ(pool.look(behind).ahead, (std::vector<int>{before})) << "who is out holds up nobody";
}

TEST(Outlook, NamesWhoIsAskedToGiveWayFirstAndThenKnowsNoStart) {
  Scene pool({{"slot", 2}});
  pool.seated(slot(1), 160);
  const int server = pool.seated(slot(1), 0);
  pool.at(server).way.reclaimable = pool.snapshot.any_reclaimable = true;
  const int equal = pool.comes(slot(1));
  EXPECT_EQ(pool.eta_s(equal), 60);
  EXPECT_EQ(holders(pool.look(equal)), (std::vector<int>{0, server}));
  pool.at(equal).priority = 1;
  EXPECT_EQ(pool.look(equal).asked, std::vector<int>{server});
  EXPECT_EQ(holders(pool.look(equal)), (std::vector<int>{server, 0}));
  EXPECT_EQ(pool.eta_s(equal), -1);
}

TEST(Outlook, KnowsNothingOfWhoSaidNothingOrIsOverdue) {
  for (const int64_t said : {0, 50}) {
    Scene pool({{"slot", 1}});
    pool.seated(slot(1), said);
    EXPECT_EQ(pool.eta_s(pool.comes(slot(1))), -1) << said;
  }
}

TEST(Outlook, CountsOnAnEndThatIsKnownBesideOneThatIsNot) {
  Scene pool(std::vector<NamedAmount>{});
  pool.seated(cards(1, {{"A", 24}, {"B", 16}}), 0, {0});
  pool.seated(cards(1, {{"A", 24}, {"B", 16}}), 160, {1});
  const int first = pool.comes(cards(1, {{"A", 24}, {"B", 16}}), 30);
  const int second = pool.comes(cards(1, {{"A", 24}, {"B", 16}}));
  const int third = pool.comes(cards(1, {{"A", 24}, {"B", 16}}));
  EXPECT_EQ(pool.eta_s(first), 60) << "the one that said nothing may stay";
  EXPECT_EQ(pool.eta_s(second), 90);
  EXPECT_EQ(pool.eta_s(third), -1);
}

TEST(Outlook, NamesOnlyThoseWhoHaveWhatIsShort) {
  Scene pool({{"slot", 2}, {"cpu", 8}});
  pool.seated(with(cards(1), {{"cpu", 1}}), 200, {0});            // 0: A
  pool.seated(counts({{"cpu", 1}}), 200);                         // 1
  const int late = pool.seated(slot(1), 900);                     // 2
  const int soon = pool.seated(slot(1), 300);                     // 3
  const int silent = pool.seated(cards(1, {{"B", 16}}), 0, {0});  // 4
  const int wants_slot = pool.comes(counts({{"slot", 1}, {"cpu", 1}}));
  EXPECT_EQ(holders(pool.look(wants_slot)), (std::vector<int>{soon, late})) << "who ends first comes first";
  const int wants_cards = pool.comes(cards(3));
  const Outlook out = pool.look(wants_cards);
  EXPECT_EQ(holders(out), (std::vector<int>{0, silent}));
  ASSERT_EQ(out.obstacles[0].devices.size(), 1U);
  EXPECT_EQ(pool.snapshot.devices[out.obstacles[0].devices[0]], "A");
  EXPECT_TRUE(out.ahead.empty()) << "they want nothing of one another";
}

TEST(Outlook, ACardThatHasRoomIsInNobodysWay) {
  Scene pool(std::vector<NamedAmount>{});
  pool.seated(share(20), 200, {0});               // A: 4 left
  pool.seated(share(10, {{"B", 16}}), 200, {0});  // B: 6 left
  const int wants = pool.comes(share(8, {{"A", 24}, {"B", 16}}));
  EXPECT_EQ(holders(pool.look(wants)), (std::vector<int>{0, 1}));
  const int fits = pool.comes(share(5, {{"A", 24}, {"B", 16}}));
  EXPECT_EQ(holders(pool.look(fits, {false, false, true, false})), (std::vector<int>{0, 1})) << "nothing is short";
  EXPECT_EQ(pool.look(fits, {false, false, true, false}).verdict, Verdict::seat);
}

TEST(Outlook, OnlyWhoHasTheMemoryIsInTheWayOfMemory) {
  Scene pool(std::vector<NamedAmount>{});
  const auto on_a = [](int64_t vram_bytes, int compute_pct) {
    Claim claim = share(vram_bytes, {{"A", 24}});
    claim.gpu.compute_pct = compute_pct;
    return claim;
  };
  const int resident = pool.seated(on_a(20, 0), 200, {0});
  const int computes = pool.seated(on_a(0, 80), 200, {0});
  EXPECT_EQ(holders(pool.look(pool.comes(on_a(8, 0)))), std::vector<int>{resident});
  EXPECT_EQ(holders(pool.look(pool.comes(on_a(0, 50)))), std::vector<int>{computes});
  EXPECT_EQ(holders(pool.look(pool.comes(cards(1, {{"A", 24}})))), (std::vector<int>{resident, computes}));
}

TEST(Outlook, BehindOneWhoIsKeptAPlaceTheHoldersOfItAreNamed) {
  Scene pool({{"slot", 2}});
  pool.seated(slot(1), 160);
  const int large = pool.comes(slot(2), 40);
  const int small = pool.comes(slot(1));
  const Outlook out = pool.look(small);
  EXPECT_EQ(out.ahead, std::vector<int>{large});
  EXPECT_EQ(holders(out), std::vector<int>{0});
  EXPECT_EQ(pool.eta_s(small), 100);
}

TEST(Outlook, TheAbsentAreInNobodysWay) {
  Scene pool({{"slot", 1}});
  pool.seated(slot(1), 0);
  const int wants = pool.comes(slot(1));
  const Outlook out = pool.look(wants, {true, false});
  EXPECT_EQ(out.verdict, Verdict::seat);
  EXPECT_TRUE(out.obstacles.empty());
  EXPECT_EQ(out.start_us, now_us);
}

// When each sits down if those who said how long they take keep to it, and the others stay; -1: never.
std::vector<int64_t> played(Snapshot s) {
  constexpr int64_t longest_us = 100 * second_us;
  std::vector<int64_t> starts(s.parties.size(), -1);
  std::vector<bool> gone(s.parties.size(), false);
  const int64_t until_us = s.now_us + longest_us;
  for (; s.now_us <= until_us; s.now_us += second_us) {
    for (size_t i = 0; i < s.parties.size(); ++i) {
      const Party& p = s.parties[i];
      // Who was overdue at the beginning has no end that anybody knows.
      const bool overdue = starts[i] < 0 && p.seated_us + p.expect_s * second_us <= until_us - longest_us;
      if (p.state == PartyState::held && !overdue && expected_end_us(p, p.seated_us) <= s.now_us) gone[i] = true;
    }
    for (bool again = true; again;) {
      again = false;
      const Plan now = plan(s, gone);
      for (const int party : now.line) {
        if (now.verdict_of(party) != Verdict::seat) continue;
        seat(s, now, party);
        starts[static_cast<size_t>(party)] = s.now_us;
        again = true;
        break;
      }
    }
  }
  return starts;
}

// On cards the plan's own starts hold only as far as the choice of cards does (docs/adr/0006).
enum class PlansOwn { check, leave };

void nobody_starts_later_than_told(const Snapshot& s, PlansOwn plans_own) {
  const Plan told = plan_with_starts(s, {});
  const Plan known = plan(s, {}, Extent::everybody);
  const std::vector<int64_t> starts = played(s);
  for (const int i : told.line) {
    const auto index = static_cast<size_t>(i);
    if (known.starts_us[index] >= 0) RC_ASSERT(told.starts_us[index] == known.starts_us[index]);
    if (told.starts_us[index] < 0) continue;
    RC_ASSERT(told.starts_us[index] >= s.now_us);
    if (plans_own == PlansOwn::leave && known.starts_us[index] >= 0) continue;
    RC_ASSERT(starts[index] >= 0);
    RC_ASSERT(starts[index] <= told.starts_us[index]);
  }
}

// Nobody asks from inside of a lease: then one that ends before its own question is answered keeps no word.
Snapshot any_plain_pool(WithCards with_cards) {
  Snapshot s = any_timed_pool(with_cards, 8, Saying::some);
  for (Party& p : s.parties) p.seconds = false;
  return s;
}

RC_GTEST_PROP(OutlookProperty, NobodyStartsLaterThanTold, ()) {
  const Snapshot s = any_plain_pool(WithCards::no);
  RC_LOG() << sketch(s);
  nobody_starts_later_than_told(s, PlansOwn::check);
}

RC_GTEST_PROP(OutlookProperty, NobodyStartsLaterThanToldOnCards, ()) {
  const Snapshot s = any_plain_pool(WithCards::yes);
  RC_LOG() << sketch(s);
  nobody_starts_later_than_told(s, PlansOwn::leave);
}

RC_GTEST_PROP(OutlookProperty, NamesHoldersAndThoseAheadAlone, ()) {
  const Snapshot s = any_timed_pool(WithCards::yes, 8, Saying::some, WithQuotas::yes);
  RC_LOG() << sketch(s);
  const Plan now = plan(s);
  for (const int self : now.line) {
    const Outlook out = outlook(s, {}, self);
    for (const Obstacle& o : out.obstacles)
      RC_ASSERT(s.parties[static_cast<size_t>(o.holder)].state == PartyState::held);
    const auto place = [&](int party) { return std::find(now.line.begin(), now.line.end(), party) - now.line.begin(); };
    for (const int other : out.ahead) RC_ASSERT(place(other) < place(self));
    RC_ASSERT(out.verdict == now.verdict_of(self));
    if (out.verdict == Verdict::seat) RC_ASSERT(out.start_us == s.now_us);
  }
}

}  // namespace
}  // namespace berth
