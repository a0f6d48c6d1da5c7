#include "sched/neighbours.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace berth {
namespace {

// Devices in order of preference, "L N" each: its link and its node. Returns which of them are taken.
std::string taken(const std::vector<std::pair<int, int>>& groups, size_t count) {
  std::vector<Eligible> all;
  for (const auto& [link, numa] : groups)
    all.push_back({static_cast<uint16_t>(all.size()), static_cast<uint8_t>(all.size()), static_cast<uint8_t>(link),
                   static_cast<uint8_t>(numa), 0});
  std::vector<const Eligible*> fit;
  for (const Eligible& e : all) fit.push_back(&e);
  prefer_neighbours(fit, count);
  std::set<int> chosen;
  for (size_t i = 0; i < count && i < fit.size(); ++i) chosen.insert(fit[i]->device);
  std::string out;
  for (const int device : chosen) out += (out.empty() ? "" : " ") + std::to_string(device);
  return out;
}

TEST(Neighbours, WithoutAnyKnowledgeTheOrderStays) {
  EXPECT_EQ(taken({{0, 0}, {0, 0}, {0, 0}}, 2), "0 1");
  EXPECT_EQ(taken({{3, 1}, {3, 1}}, 1), "0");
}

TEST(Neighbours, AGangGetsAPair) {
  EXPECT_EQ(taken({{1, 0}, {2, 0}, {2, 0}}, 2), "1 2");
  EXPECT_EQ(taken({{1, 0}, {2, 0}, {1, 0}, {2, 0}}, 2), "0 2");
}

TEST(Neighbours, ASingleOneLeavesPairsWhole) {
  EXPECT_EQ(taken({{1, 0}, {1, 0}, {2, 0}}, 1), "2");
  EXPECT_EQ(taken({{1, 0}, {1, 0}, {2, 0}, {2, 0}}, 1), "0");
}

TEST(Neighbours, TheGroupWithTheLeastToSpareIsTaken) {
  EXPECT_EQ(taken({{1, 0}, {1, 0}, {1, 0}, {2, 0}, {2, 0}}, 2), "3 4");
}

TEST(Neighbours, WithoutALinkThatSufficesOneNodeIsNext) {
  EXPECT_EQ(taken({{1, 0}, {2, 1}, {3, 1}, {4, 0}, {5, 1}}, 3), "1 2 4");
  // Four of two nodes, in pairs: three are a pair and one more of the same node.
  EXPECT_EQ(taken({{1, 0}, {2, 1}, {1, 0}, {3, 0}, {2, 1}, {4, 1}}, 3), "0 2 3");
}

TEST(Neighbours, WhoMustStraddleTakesTheLargestPieces) {
  EXPECT_EQ(taken({{1, 0}, {2, 0}, {2, 0}, {3, 1}, {3, 1}, {3, 1}}, 5), "1 2 3 4 5");
}

RC_GTEST_PROP(Neighbours, TheyAreTheSameDevicesInAnotherOrder, ()) {
  const auto groups = *rc::gen::container<std::vector<std::pair<uint8_t, uint8_t>>>(
      rc::gen::pair(rc::gen::inRange<uint8_t>(0, 4), rc::gen::inRange<uint8_t>(0, 3)));
  std::vector<Eligible> all;
  for (const auto& [link, numa] : groups) all.push_back({static_cast<uint16_t>(all.size()), 0, link, numa, 0});
  std::vector<const Eligible*> fit;
  for (const Eligible& e : all) fit.push_back(&e);
  const auto before = fit;
  const auto count = *rc::gen::inRange<size_t>(1, 9);
  prefer_neighbours(fit, count);
  RC_ASSERT(std::is_permutation(before.begin(), before.end(), fit.begin(), fit.end()));
  // If one link has enough, all come from one.
  for (const Eligible* e : before) {
    const auto same = [&](const Eligible* o) { return o->link == e->link; };
    if (static_cast<size_t>(std::count_if(before.begin(), before.end(), same)) < count) continue;
    for (size_t i = 0; i < count; ++i) RC_ASSERT(fit[i]->link == fit[0]->link);
  }
}

}  // namespace
}  // namespace berth
