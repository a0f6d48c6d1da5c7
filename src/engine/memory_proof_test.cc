// What counts as free memory of a lease: unknown is not nothing.
#include "engine/memory_proof.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

constexpr int64_t mib = int64_t{1} << 20;

PartyKey lease(const char* id) { return PartyKey::of(*PartyId::parse(id), "1001"); }

Occupant uses(const PartyKey& whose, std::optional<int64_t> bytes) {
  Occupant out;
  out.whose = Whose::lease;
  out.lease = whose;
  out.process.vram_bytes = bytes;
  return out;
}

TEST(MemoryProof, CountsAllProcessesOfTheLeaseAndOfNobodyElse) {
  DeviceOccupancy use;
  const PartyKey ours = lease("aaaaaaaaaa");
  EXPECT_TRUE(has_let_go(use, ours, 100 * mib));
  use.occupants = {uses(lease("bbbbbbbbbb"), 9000 * mib), uses(ours, 60 * mib)};
  EXPECT_TRUE(has_let_go(use, ours, 100 * mib));
  use.occupants.push_back(uses(ours, 60 * mib));
  EXPECT_FALSE(has_let_go(use, ours, 100 * mib));
}

TEST(MemoryProof, WhatCannotBeToldIsNotFree) {
  DeviceOccupancy use;
  const PartyKey ours = lease("aaaaaaaaaa");
  use.occupants = {uses(ours, std::nullopt)};
  EXPECT_FALSE(has_let_go(use, ours, 100 * mib));
  use.occupants.clear();
  use.unattributable = {ours};
  EXPECT_FALSE(has_let_go(use, ours, 100 * mib));
}

}  // namespace
}  // namespace berth
