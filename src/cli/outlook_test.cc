#include "cli/outlook.h"

#include <gtest/gtest.h>

#include "sched/pool_sketch.h"

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

}  // namespace
}  // namespace berth
