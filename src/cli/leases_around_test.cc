#include "cli/leases_around.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

const std::vector<DeviceRef> two_cards{{"A", 24}, {"B", 24}};
const GpuClaim no_card;

PartyId id(char letter) { return *PartyId::parse(std::string(9, 'a') + letter); }

LeaseAround lease(char letter, std::vector<NamedAmount> counters, GpuClaim gpu = no_card,
                  std::vector<DeviceRef> devices = {}) {
  return {id(letter), std::nullopt, std::move(counters), gpu, std::move(devices), ""};
}

LeaseAround inside(char parent, LeaseAround lease) {
  lease.parent = id(parent);
  return lease;
}

GpuClaim whole(int count) { return {count, true, 0, 0}; }
GpuClaim share(int64_t vram_bytes, int compute_pct = 0, int count = 1) {
  return {count, false, vram_bytes, compute_pct};
}

std::string gpus(const GpuClaim& gpu) {
  std::string out = std::to_string(gpu.count) + " gpu";
  if (!gpu.whole) out += " vram " + std::to_string(gpu.vram_bytes) + " compute " + std::to_string(gpu.compute_pct);
  return out;
}

// "top: 1 lic; b: 2 cpu, 1 gpu on A:24", in the order in which it is taken.
std::string parts(const Claim& claim, const std::vector<LeaseAround>& around) {
  std::string out;
  for (const ClaimPart& p : split_claim(claim, around)) {
    out += (out.empty() ? "" : "; ") + (p.parent ? std::string(p.parent->view().substr(9)) : "top") + ":";
    for (const NamedAmount& c : p.claim.counters) out += " " + std::to_string(c.amount) + " " + c.name;
    if (p.claim.gpu.count == 0) continue;
    out += " " + gpus(p.claim.gpu) + " on";
    for (const DeviceRef& d : p.claim.eligible) out += " " + d.uuid + ":" + std::to_string(d.vram_bytes);
    if (p.on_own_memory) out += " (own memory)";
  }
  return out;
}

TEST(SplitClaim, GoesToTheTopWhereNothingIsAround) {
  EXPECT_EQ(parts({{{"cpu", 2}}, whole(1), two_cards}, {}), "top: 2 cpu 1 gpu on A:24 B:24");
}

TEST(SplitClaim, EachThingGoesToTheInnermostThatHasIt) {
  const std::vector<LeaseAround> around{lease('b', {{"cpu", 2}}), lease('c', {{"lic", 1}}, whole(1), {{"A", 24}})};
  EXPECT_EQ(parts({{{"cpu", 2}, {"lic", 1}, {"x", 3}}, whole(1), two_cards}, around),
            "top: 3 x; c: 1 lic 1 gpu on A:24; b: 2 cpu");
}

TEST(SplitClaim, OnlyWhatIsLackingIsAskedForAtTheTop) {
  EXPECT_EQ(parts({{{"cpu", 2}}, no_card, {}}, {lease('b', {{"cpu", 1}})}), "top: 1 cpu; b: 1 cpu");
  EXPECT_EQ(parts({{}, whole(2), two_cards}, {lease('b', {}, whole(1), {{"A", 24}})}),
            "top: 1 gpu on B:24; b: 1 gpu on A:24");
  EXPECT_EQ(parts({{}, share(8, 0, 2), two_cards}, {lease('b', {}, share(16), {{"A", 24}})}),
            "top: 1 gpu vram 8 compute 0 on B:24; b: 1 gpu vram 8 compute 0 on A:16");
}

TEST(SplitClaim, WhatALeaseInsideHoldsIsNotItsOutersToGive) {
  const std::vector<LeaseAround> around{inside('c', lease('b', {{"cpu", 1}})), lease('c', {{"cpu", 2}})};
  EXPECT_EQ(parts({{{"cpu", 2}}, no_card, {}}, around), "c: 1 cpu; b: 1 cpu");
  EXPECT_EQ(parts({{{"cpu", 3}}, no_card, {}}, around), "top: 1 cpu; c: 1 cpu; b: 1 cpu");
  const std::vector<LeaseAround> cards{inside('c', lease('b', {}, share(8), {{"A", 24}})),
                                       lease('c', {}, whole(1), {{"A", 24}})};
  EXPECT_EQ(parts({{}, share(16), two_cards}, cards), "c: 1 gpu vram 16 compute 0 on A:24");
  EXPECT_EQ(parts({{}, share(20), two_cards}, cards), "top: 1 gpu vram 20 compute 0 on A:24 B:24");
}

TEST(SplitClaim, TwoLeasesBesideEachOtherServeTogether) {
  const std::vector<LeaseAround> around{lease('b', {}, whole(1), {{"A", 24}}), lease('c', {}, whole(1), {{"B", 24}})};
  EXPECT_EQ(parts({{}, whole(2), two_cards}, around), "c: 1 gpu on B:24; b: 1 gpu on A:24");
}

TEST(SplitClaim, ComputeThatTheLeaseLacksIsAskedForBesideIt) {
  const LeaseAround resident = lease('b', {}, share(8), {{"A", 24}});
  EXPECT_EQ(parts({{}, share(0, 100), two_cards}, {resident}), "top: 1 gpu vram 0 compute 100 on A:24 (own memory)");
  EXPECT_EQ(parts({{}, share(4, 50), two_cards}, {resident}),
            "top: 1 gpu vram 0 compute 50 on A:24 (own memory); b: 1 gpu vram 4 compute 0 on A:8");
  EXPECT_EQ(parts({{}, share(0, 100), two_cards}, {lease('b', {}, share(8, 20), {{"A", 24}})}),
            "b: 1 gpu vram 0 compute 100 on A:8");
  EXPECT_EQ(parts({{}, share(0, 100), two_cards}, {inside('c', resident), lease('c', {}, whole(1), {{"A", 24}})}),
            "c: 1 gpu vram 0 compute 100 on A:24 (own memory)");
}

TEST(TurnClaim, IsAllTheComputeOfTheInnermostLeaseWithACard) {
  EXPECT_EQ(resident_of({}), nullptr);
  EXPECT_EQ(resident_of({lease('b', {{"cpu", 1}})}), nullptr);
  const std::vector<LeaseAround> around{lease('b', {{"cpu", 1}}), lease('c', {}, share(8, 0, 2), two_cards)};
  ASSERT_EQ(resident_of(around), &around[1]);
  EXPECT_EQ(parts(turn_claim(around[1]), around), "top: 2 gpu vram 0 compute 100 on A:24 B:24 (own memory)");
  const std::vector<LeaseAround> in_turn{lease('d', {}, share(0, 100), {{"A", 24}}), around[1]};
  EXPECT_EQ(parts(turn_claim(*resident_of(in_turn)), in_turn), "d: 1 gpu vram 0 compute 100 on A:0");
}

}  // namespace
}  // namespace berth
