// The ladder as a table: what happens, at which second, and what is done about it.
#include "run/giving_way.h"

#include <gtest/gtest.h>

#include <string>

namespace berth {
namespace {

constexpr int64_t second = 1'000'000;
using Event = GivingWay::Event;
using Stage = GivingWay::Stage;

std::string words(const GivingWay::Deeds& deeds) {
  static const char* const names[] = {"start_hook", "stop_hook", "prove",   "signal",
                                      "end",        "give",      "give_up", "come_back"};
  std::string out;
  for (const auto deed : deeds) out += (out.empty() ? "" : " ") + std::string(names[static_cast<size_t>(deed)]);
  return out;
}

GivingWayRules hooked(bool proves = true) {
  GivingWayRules rules;
  rules.hook = true;
  rules.proves = proves;
  return rules;
}

GivingWayRules signalled() {
  GivingWayRules rules;
  rules.signal = true;
  return rules;
}

TEST(GivingWay, AHookThatTellsTheTruthGivesThePlaceAndHasItBack) {
  GivingWay way(hooked());
  EXPECT_EQ(words(way.on(Event::asked, 0)), "start_hook");
  EXPECT_TRUE(way.yielding());
  EXPECT_EQ(words(way.on(Event::hook_succeeded, second)), "prove");
  EXPECT_EQ(words(way.on(Event::memory_free, 2 * second)), "give");
  EXPECT_EQ(words(way.on(Event::gave, 2 * second)), "");
  EXPECT_EQ(way.stage(), Stage::away);
  EXPECT_FALSE(way.yielding());
  EXPECT_LT(way.due_us(), 0) << "it may take as long as it takes";
  EXPECT_EQ(words(way.on(Event::back, 90 * second)), "come_back");
  EXPECT_EQ(way.stage(), Stage::settled);
}

// What the hook put to sleep is woken, also where a signal was tried after it.
TEST(GivingWay, WhoIsLetOffAfterItsSignalComesBackFromItsHook) {
  GivingWayRules rules = hooked();
  rules.signal = true;
  GivingWay way(rules);
  (void)way.on(Event::asked, 0);
  (void)way.on(Event::hook_succeeded, second);
  EXPECT_EQ(words(way.at(30 * second)), "signal");
  EXPECT_EQ(words(way.on(Event::let_off, 31 * second)), "come_back");
  EXPECT_EQ(way.stage(), Stage::settled);
}

TEST(GivingWay, AHookThatLiesGivesNothingUntilTheDriverSaysSo) {
  GivingWay way(hooked());
  (void)way.on(Event::asked, 0);
  (void)way.on(Event::hook_succeeded, second);
  EXPECT_EQ(words(way.at(29 * second)), "");
  EXPECT_EQ(words(way.at(30 * second)), "give_up come_back");
  EXPECT_EQ(way.stage(), Stage::unheeded);
}

TEST(GivingWay, WithDevicesAHookThatFailedIsLookedAfterAllTheSame) {
  GivingWay way(hooked());
  (void)way.on(Event::asked, 0);
  EXPECT_EQ(words(way.on(Event::hook_failed, second)), "prove");
  EXPECT_EQ(words(way.on(Event::memory_free, second)), "give");
}

TEST(GivingWay, WithoutDevicesTheHooksWordCounts) {
  GivingWay good(hooked(false));
  (void)good.on(Event::asked, 0);
  EXPECT_EQ(words(good.on(Event::hook_succeeded, second)), "give");
  GivingWay bad(hooked(false));
  (void)bad.on(Event::asked, 0);
  EXPECT_EQ(words(bad.on(Event::hook_failed, second)), "give_up");
}

TEST(GivingWay, AHookThatHangsIsStoppedWhenTheGraceIsOver) {
  GivingWay way(hooked());
  (void)way.on(Event::asked, 0);
  EXPECT_EQ(way.due_us(), 30 * second);
  EXPECT_EQ(words(way.at(30 * second)), "stop_hook give_up");
  GivingWayRules harsh = hooked();
  harsh.preemptible = true;
  GivingWay other(harsh);
  (void)other.on(Event::asked, 0);
  EXPECT_EQ(words(other.at(30 * second)), "stop_hook end");
  EXPECT_TRUE(other.would_end_by_it());
}

TEST(GivingWay, IsTakenBackWhenNobodyAsksAnyMore) {
  GivingWay way(hooked());
  (void)way.on(Event::asked, 0);
  EXPECT_EQ(words(way.on(Event::let_off, second)), "") << "the hook is let finish";
  EXPECT_EQ(words(way.on(Event::hook_succeeded, 2 * second)), "come_back");
  EXPECT_EQ(way.stage(), Stage::settled);
  (void)way.on(Event::asked, 3 * second);
  (void)way.on(Event::hook_succeeded, 4 * second);
  EXPECT_EQ(words(way.on(Event::let_off, 5 * second)), "come_back");
  (void)way.on(Event::asked, 6 * second);
  (void)way.on(Event::hook_succeeded, 7 * second);
  (void)way.on(Event::memory_free, 8 * second);
  EXPECT_EQ(words(way.on(Event::nobody_asks, 8 * second)), "come_back");
}

TEST(GivingWay, AskedAgainWhileTheHookRunsItGoesOn) {
  GivingWay way(hooked(false));
  (void)way.on(Event::asked, 0);
  (void)way.on(Event::let_off, second);
  EXPECT_EQ(words(way.on(Event::asked, 2 * second)), "");
  EXPECT_EQ(words(way.on(Event::hook_succeeded, 3 * second)), "give");
}

TEST(GivingWay, AHookThatDidNotHelpIsFollowedByTheSignalThatWasAskedFor) {
  GivingWayRules rules = hooked();
  rules.signal = rules.preemptible = true;
  GivingWay way(rules);
  (void)way.on(Event::asked, 0);
  EXPECT_EQ(words(way.at(30 * second)), "stop_hook signal");
  EXPECT_EQ(way.due_us(), 60 * second);
  EXPECT_EQ(words(way.at(60 * second)), "end");
}

TEST(GivingWay, ASignalIsSentOnceAndThenItIsUnheeded) {
  GivingWay way(signalled());
  EXPECT_EQ(words(way.on(Event::asked, 0)), "signal");
  EXPECT_EQ(words(way.on(Event::asked, second)), "");
  EXPECT_TRUE(way.would_end_by_it());
  EXPECT_EQ(words(way.at(30 * second)), "give_up");
  EXPECT_FALSE(way.would_end_by_it());
  EXPECT_EQ(words(way.on(Event::asked, 31 * second)), "");
  (void)way.on(Event::let_off, 32 * second);
  EXPECT_EQ(words(way.on(Event::asked, 33 * second)), "signal");
}

TEST(GivingWay, WhatMayBeEndedIsEndedAfterTheSignalHadItsTime) {
  GivingWayRules rules = signalled();
  rules.preemptible = true;
  GivingWay way(rules);
  (void)way.on(Event::asked, 0);
  EXPECT_EQ(words(way.at(30 * second)), "end");
  EXPECT_EQ(words(way.on(Event::let_off, 31 * second)), "") << "too late";
  EXPECT_EQ(way.stage(), Stage::ending);
}

TEST(GivingWay, WithNothingToDoItIsSaidAndThenUnheeded) {
  GivingWay way(GivingWayRules{});
  EXPECT_EQ(words(way.on(Event::asked, 0)), "");
  EXPECT_TRUE(way.yielding());
  EXPECT_FALSE(way.would_end_by_it());
  EXPECT_EQ(words(way.at(30 * second)), "give_up");
}

}  // namespace
}  // namespace berth
