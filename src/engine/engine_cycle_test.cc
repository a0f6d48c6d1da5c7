// Two jobs, each of which wants inside what the other one holds: in the simulated world, in every order.
#include <gtest/gtest.h>

#include <array>
#include <optional>

#include "engine/sim_scenario.h"

namespace berth {
namespace {

constexpr int64_t moment_us = 1'000;

Claim thing(int index) { return {{{index == 0 ? "x" : "y", 1}}, {}, {}}; }

// Party 0 and 1 hold x and y until party 2 and 3, which are inside of them, are done.
class Ring {
 public:
  explicit Ring(uint64_t seed) : world({{{"x", 1}, {"y", 1}}, {}}, seed) {
    for (int i = 0; i < 2; ++i) world.add(1001 + i, [this, i](SimLedger& ledger) { outer(ledger, i); });
    for (int i = 0; i < 2; ++i) world.add(1001 + i, [this, i](SimLedger& ledger) { inner(ledger, i); });
  }

  SimWorld world;
  std::array<std::optional<Ending>, 2> endings;

 private:
  void outer(SimLedger& ledger, int i) {
    Engine engine(ledger, [] { return PoolConfig{}; });
    Request request;
    request.claim = thing(i);
    const auto got = engine.acquire(request, {});
    if (!got.ok() || got->ending != Ending::seated) return;
    leases_.at(static_cast<size_t>(i)) = engine.record().id;
    while (!done_.at(static_cast<size_t>(i))) ledger.pause(moment_us);
    (void)engine.release();
  }

  void inner(SimLedger& ledger, int i) {
    while (!leases_[0] || !leases_[1]) ledger.pause(moment_us);
    Engine engine(ledger, [] { return PoolConfig{}; });
    Request request;
    request.claim = thing(1 - i);
    request.with = leases_.at(static_cast<size_t>(i));
    const auto got = engine.acquire(request, {});
    if (got.ok()) endings.at(static_cast<size_t>(i)) = got->ending;
    if (got.ok() && got->ending == Ending::seated) (void)engine.release();
    done_.at(static_cast<size_t>(i)) = true;
  }

  std::array<std::optional<PartyId>, 2> leases_;
  std::array<bool, 2> done_{};
};

TEST(EngineCycle, IsRefusedToWhoeverWouldCloseItAndTheOtherGoesOn) {
  std::array<int, 2> refused{};
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Ring ring(seed);
    const SimReport report = ring.world.run();
    ASSERT_EQ(report.broken, "") << "seed " << seed;
    ASSERT_TRUE(ring.endings[0] && ring.endings[1]) << "seed " << seed;
    const bool first = *ring.endings[0] == Ending::cycle;
    ++refused.at(first ? 0 : 1);
    ASSERT_EQ(*ring.endings[first ? 0 : 1], Ending::cycle) << "seed " << seed;
    ASSERT_EQ(*ring.endings[first ? 1 : 0], Ending::seated) << "seed " << seed;
  }
  EXPECT_GT(refused[0], 0);
  EXPECT_GT(refused[1], 0);
}

}  // namespace
}  // namespace berth
