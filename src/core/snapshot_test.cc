#include "core/snapshot.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <limits>

#include "base/text.h"

namespace berth {
namespace {

PartyId id_of(const char* text) { return *PartyId::parse(text); }

TEST(PartyIdParse, TakesTenOfItsLettersOnly) {
  EXPECT_TRUE(PartyId::parse("abcdefgh27").has_value());
  for (const char* bad : {"", "abcdefgh2", "abcdefgh277", "ABCDEFGH27", "abcdefgh18", "abcdefgh/7", "abcdefgh 7"})
    EXPECT_FALSE(PartyId::parse(bad).has_value()) << bad;
}

TEST(ResourceName, IsShortPlainAndNotAWordOfTheFormat) {
  for (const char* good : {"cpu", "ram", "license", "a.b-c_D9", "gpu0", "policy"})
    EXPECT_TRUE(valid_resource_name(good)) << good;
  for (const char* bad : {"", "gpu", "vram", "compute", "on", "policy.age", "a b", "a=b", "a+b", "a,b", "ä"})
    EXPECT_FALSE(valid_resource_name(bad)) << bad;
  EXPECT_TRUE(valid_resource_name(std::string(max_resource_name, 'x')));
  EXPECT_FALSE(valid_resource_name(std::string(max_resource_name + 1, 'x')));
}

TEST(Interning, GivesOneIndexANameAndStopsAtTheBound) {
  Snapshot snapshot;
  EXPECT_EQ(snapshot.intern_resource("cpu"), 0);
  EXPECT_EQ(snapshot.intern_resource("ram"), 1);
  EXPECT_EQ(snapshot.intern_resource("cpu"), 0);
  for (size_t i = 2; i < max_snapshot_names; ++i) EXPECT_TRUE(snapshot.intern_resource("r" + std::to_string(i)));
  EXPECT_FALSE(snapshot.intern_resource("one more").has_value());
  EXPECT_EQ(snapshot.intern_resource("ram"), 1);
  EXPECT_FALSE(snapshot.has_room());
  for (size_t i = 0; i < max_snapshot_names; ++i) EXPECT_EQ(snapshot.intern_device("d" + std::to_string(i)), i);
  EXPECT_FALSE(snapshot.intern_device("one more").has_value());
}

TEST(Interning, ForgetsWhatWasCutOff) {
  for (const size_t kept : {3U, 100U}) {
    Snapshot snapshot;
    for (size_t i = 0; i < kept; ++i) (void)snapshot.intern_device("d" + std::to_string(i));
    const Snapshot::Lengths before = snapshot.lengths();
    for (size_t i = 0; i < 50; ++i) (void)snapshot.intern_device("e" + std::to_string(i));
    snapshot.cut(before);
    EXPECT_EQ(snapshot.intern_device("e7"), kept) << "of " << kept;
    EXPECT_EQ(snapshot.intern_device("e7"), kept) << "of " << kept;
    EXPECT_EQ(snapshot.intern_device("e49"), kept + 1) << "of " << kept;
    EXPECT_EQ(snapshot.intern_device("d2"), 2) << "of " << kept;
  }
}

Party waiter(const char* id, int64_t arrival_us, int priority) {
  Party party;
  party.id = id_of(id);
  party.arrival_us = arrival_us;
  party.priority = priority;
  return party;
}

TEST(OrderKeys, OnePointOfPriorityIsWorthOneAge) {
  const Policy policy{.age_s = 10};
  const Party plain = waiter("aaaaaaaaaa", 1'000'000'000, 0);
  EXPECT_LT(order_key(waiter("bbbbbbbbbb", 1'009'999'999, 1), policy), order_key(plain, policy));
  EXPECT_GT(order_key(waiter("bbbbbbbbbb", 1'010'000'001, 1), policy), order_key(plain, policy));
  EXPECT_GT(order_key(waiter("bbbbbbbbbb", 1'010'000'000, 1), policy), order_key(plain, policy)) << "a tie goes by id";
}

TEST(OrderKeys, TellTwinsApart) {
  const Party one = waiter("aaaaaaaaaa", 5, 0);
  Party other = one;
  static_cast<PartyKey&>(other) = PartyKey::of(one.id, "1002");
  EXPECT_NE(order_key(one, {}), order_key(other, {}));
}

TEST(Parties, OfOneIdAreFoundByTheirDirectory) {
  Snapshot snapshot;
  for (const char* dir : {"1001", "1002"}) {
    Party party = waiter("aaaaaaaaaa", 5, 0);
    static_cast<PartyKey&>(party) = PartyKey::of(party.id, dir);
    snapshot.parties.push_back(party);
  }
  EXPECT_EQ(snapshot.find(PartyKey::of(id_of("aaaaaaaaaa"), "1001")), 0);
  EXPECT_EQ(snapshot.find(PartyKey::of(id_of("aaaaaaaaaa"), "1002")), 1);
  EXPECT_EQ(snapshot.find(PartyKey::of(id_of("aaaaaaaaaa"), "10")), -1);
  EXPECT_EQ(snapshot.find(id_of("aaaaaaaaaa")), 0);
}

TEST(Inside, IsWhoeverIsOfTheParentsUid) {
  Snapshot snapshot;
  for (const char* dir : {"1001", "1002"}) {
    Party party = waiter(dir == std::string("1001") ? "bbbbbbbbbb" : "cccccccccc", 5, 0);
    static_cast<PartyKey&>(party) = PartyKey::of(party.id, dir);
    party.nested = true;
    party.parent = id_of("aaaaaaaaaa");
    snapshot.parties.push_back(party);
  }
  Party parent = waiter("aaaaaaaaaa", 1, 0);
  static_cast<PartyKey&>(parent) = PartyKey::of(parent.id, "1001");
  parent.state = PartyState::held;
  snapshot.parties.push_back(parent);
  const auto within = inside(snapshot, parent);
  ASSERT_TRUE(within.has_value());
  ASSERT_EQ(within->parties.size(), 1U);
  EXPECT_EQ(within->parties[0].dir(), "1001");
  EXPECT_FALSE(inside(snapshot, PartyKey::of(parent.id, "1002")).has_value());
}

RC_GTEST_PROP(OrderKeys, NeverOverflow, ()) {
  const Policy policy{.age_s = *rc::gen::inRange<int64_t>(1, 366 * 86400 + 1)};
  const int p = *rc::gen::inRange(-max_priority_magnitude, max_priority_magnitude);
  const int64_t arrival = *rc::gen::inRange<int64_t>(0, max_amount);
  const Party low = waiter("aaaaaaaaaa", arrival, p);
  const Party high = waiter("aaaaaaaaaa", arrival, p + 1);
  RC_ASSERT(order_key(high, policy) <= order_key(low, policy));
}

TEST(Describe, SpeaksToPeople) {
  Claim claim{{{"cpu", 4}, {"ram", int64_t{16} << 30}}, {}, {}};
  claim.gpu.count = 1;
  EXPECT_EQ(describe(claim), "1 GPU, 4 cpu, 16 GiB ram");
  claim.gpu.whole = false;
  claim.gpu.vram_bytes = int64_t{8} << 30;
  claim.gpu.compute_pct = 50;
  EXPECT_EQ(describe(claim), "8 GiB and 50 % compute on 1 GPU, 4 cpu, 16 GiB ram");
}

}  // namespace
}  // namespace berth
