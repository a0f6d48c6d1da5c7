// Who uses what of a card, by table: the stories of the field, each in a machine of its own.
#include "engine/occupancy.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/driver_admission.h"
#include "sched/pool_sketch.h"

namespace berth {
namespace {

constexpr int64_t gib = int64_t{1} << 30;
constexpr uint64_t here = 7;
constexpr int64_t long_ago_us = 1'000'000;
constexpr int64_t arrival_us = 50'000'000;

class FakeProcesses : public ProcessTable {
 public:
  std::map<int64_t, ProcessFacts> all;
  bool initial = true;
  std::optional<ProcessFacts> facts(int64_t pid) override {
    const auto found = all.find(pid);
    return found == all.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] bool sees_everybody() const override { return initial; }
  [[nodiscard]] uint64_t pid_namespace() const override { return here; }
};

PartyId id_of(char letter) { return *PartyId::parse(std::string(10, letter)); }

PartyKey key_of(char letter) { return PartyKey::of(id_of(letter), "0"); }

class OccupancyTest : public testing::Test {
 protected:
  OccupancyTest() {
    card_.uuid = "GPU-a";
    card_.vendor = "nvidia";
    card_.host_pids = true;
    card_.vram_total_bytes = 24 * gib;
    card_.vram_used_bytes = 0;
    card_.processes_known = true;
  }
  void process(int64_t pid, int64_t parent, uid_t uid, std::string lease = "", bool readable = true) {
    ProcessFacts facts{parent,           uid,  arrival_us + 10'000'000, "python", "python train.py", readable,
                       std::move(lease), false};
    if (pid < 100) facts.started_us = long_ago_us;
    processes_.all[pid] = facts;
  }
  // It is on the card, and counts among what is used of it.
  void on_card(int64_t pid, std::optional<int64_t> bytes, DeviceProcess::Kind kind = DeviceProcess::Kind::compute) {
    card_.processes.push_back({pid, kind, bytes});
    card_.vram_used_bytes = card_.vram_used_bytes.value_or(0) + bytes.value_or(0);
  }
  void lease(char letter, uid_t uid, int64_t pid, int64_t claimed, uint64_t pid_namespace = here) {
    leases_.push_back({key_of(letter), uid, pid, pid_namespace, arrival_us, std::nullopt, {"GPU-a"}});
    holders_.push_back({key_of(letter), claimed});
  }
  DeviceOccupancy look() { return occupancy({card_}, leases_, processes_).front(); }
  Whose whose(int64_t pid) {
    for (const Occupant& o : look().occupants)
      if (o.process.pid == pid) return o.whose;
    ADD_FAILURE() << "no such process";
    return Whose::unknown;
  }
  int64_t left_gib() { return free_bytes(look(), holders_).value_or(-1) / gib; }

  Device card_;
  FakeProcesses processes_;
  std::vector<LeaseRoot> leases_;
  std::vector<Holding> holders_;
};

TEST_F(OccupancyTest, AProcessBelongsToTheLeaseItDescendsFrom) {
  lease('a', 1000, 10, 8 * gib);
  process(10, 1, 1000);
  process(200, 10, 1000, "", false);
  process(201, 200, 1000, "", false);
  on_card(201, 8 * gib);
  EXPECT_EQ(whose(201), Whose::lease);
  EXPECT_EQ(left_gib(), 16);
}

TEST_F(OccupancyTest, AnOrphanBelongsToTheLeaseThatItsEnvironmentNames) {
  lease('a', 1000, 10, 8 * gib);
  process(300, 1, 1000, "aaaaaaaaaa");
  on_card(300, 8 * gib);
  EXPECT_EQ(whose(300), Whose::lease);
}

TEST_F(OccupancyTest, AnotherUsersWordForALeaseCountsForNothing) {
  lease('a', 1000, 10, 8 * gib);
  process(300, 1, 1001, "aaaaaaaaaa");
  on_card(300, 8 * gib);
  EXPECT_EQ(whose(300), Whose::stranger);
  EXPECT_EQ(left_gib(), 8);
}

TEST_F(OccupancyTest, APidThatWasUsedAgainIsNotTheSupervisor) {
  lease('a', 1000, 500, 8 * gib);
  process(500, 1, 1000);  // younger than the lease
  on_card(500, 3 * gib);
  EXPECT_EQ(whose(500), Whose::stranger);
}

TEST_F(OccupancyTest, ASupervisorOfAnotherPidNamespaceIsNotLookedForHere) {
  lease('a', 1001, 10, 8 * gib, /*pid_namespace=*/99);
  process(10, 1, 1001);
  on_card(10, 3 * gib);
  EXPECT_EQ(whose(10), Whose::stranger);
}

TEST_F(OccupancyTest, WhoCannotBeLookedIntoIsOfItsUsersLeaseOnThatCard) {
  lease('a', 1000, 10, 8 * gib);
  process(300, 1, 1000, "", false);
  on_card(300, 8 * gib);
  EXPECT_EQ(whose(300), Whose::lease);
}

// A killed process has no environment any more while the driver still shows its memory. A stranger's is
// not its user's lease's for that moment: whoever waits for the stranger would take it for gone.
TEST_F(OccupancyTest, WhoEndsIsNobodysUntilItsMemoryHasGone) {
  lease('a', 1000, 10, 2 * gib);
  process(300, 1, 1000, "", false);
  processes_.all[300].ending = true;
  on_card(300, 21 * gib);
  EXPECT_EQ(whose(300), Whose::unknown);
  EXPECT_EQ(sums(look(), holders_).nobodys, 19 * gib);  // but for what may be the lease's own
  EXPECT_EQ(sums(look(), {}).nobodys, 21 * gib);
  process(10, 1, 1000);
  process(301, 10, 1000, "", false);
  processes_.all[301].ending = true;
  on_card(301, 2 * gib);
  EXPECT_EQ(whose(301), Whose::lease) << "its forebears still say whose it is";
}

TEST_F(OccupancyTest, ALeaseThatStillLoadsCountsInFull) {
  // 10 of a stranger, 8 granted and not yet loaded: 6 are left of 24.
  lease('a', 1000, 10, 8 * gib);
  process(10, 1, 1000);
  process(300, 1, 1001);
  on_card(300, 10 * gib);
  EXPECT_EQ(left_gib(), 6);
}

TEST_F(OccupancyTest, AGluttonCountsWithWhatItUses) {
  lease('a', 1000, 10, 8 * gib);
  lease('b', 1000, 20, 8 * gib);  // not loaded yet
  process(10, 1, 1000);
  process(20, 1, 1000);
  on_card(10, 13 * gib);
  EXPECT_EQ(left_gib(), 3);
}

TEST_F(OccupancyTest, WhatALeaseLeftBehindIsAStrangers) {
  lease('a', 1000, 10, 8 * gib);
  process(10, 1, 1000);
  on_card(10, 8 * gib);
  const DeviceOccupancy use = look();
  EXPECT_EQ(sums(use, holders_).strangers, 0);
  EXPECT_EQ(sums(use, {}).strangers, 8 * gib);
  EXPECT_EQ(sums(use, {}).compute_strangers, 1);
}

TEST_F(OccupancyTest, MemoryOfNobodyWeSeeIsTaken) {
  card_.vram_used_bytes = 6 * gib;
  EXPECT_EQ(sums(look(), holders_).nobodys, 6 * gib);
  EXPECT_EQ(left_gib(), 18);
  card_.vram_used_bytes = gib / 8;  // the driver's own
  EXPECT_EQ(sums(look(), holders_).nobodys, 0);
  EXPECT_EQ(left_gib(), 24);
}

TEST_F(OccupancyTest, InAContainerALeasesOwnMemoryIsNotCountedTwice) {
  lease('a', 1000, 10, 8 * gib, /*pid_namespace=*/99);
  card_.vram_used_bytes = 8 * gib;  // its processes are not seen from here
  EXPECT_EQ(left_gib(), 16);
  card_.vram_used_bytes = 12 * gib;  // 4 more are somebody else's
  EXPECT_EQ(left_gib(), 12);
}

TEST_F(OccupancyTest, UnknownIsNotZero) {
  process(300, 1, 1001);
  on_card(300, 4 * gib);
  card_.vram_used_bytes = std::nullopt;
  EXPECT_EQ(left_gib(), 20) << "what is known of a stranger counts";
  card_.vram_total_bytes = 0;
  EXPECT_FALSE(free_bytes(look(), holders_).has_value());
  card_.vram_total_bytes = 24 * gib;
  card_.processes.clear();
  on_card(300, std::nullopt);
  card_.vram_used_bytes = 5 * gib;
  const DeviceSums s = sums(look(), holders_);
  EXPECT_TRUE(s.stranger_of_unknown_size);
  EXPECT_EQ(s.compute_strangers, 1);
  EXPECT_EQ(s.nobodys, 5 * gib);
}

TEST_F(OccupancyTest, AServerThatComputesForOthersIsNoStranger) {
  lease('a', 1000, 10, 8 * gib);
  process(300, 1, 0, "", false);
  processes_.all[300].command = "nvidia-cuda-mps-server";
  on_card(300, 8 * gib);
  EXPECT_EQ(whose(300), Whose::unknown);
  EXPECT_EQ(left_gib(), 16);
}

TEST_F(OccupancyTest, InAPidNamespaceTheHostsPidsMeanNothing) {
  lease('a', 1000, 10, 8 * gib);
  process(300, 1, 1001);
  on_card(300, 8 * gib);
  processes_.initial = false;
  EXPECT_EQ(whose(300), Whose::unknown);
  card_.host_pids = false;
  EXPECT_EQ(whose(300), Whose::stranger);
}

TEST_F(OccupancyTest, RootMayHaveAdoptedAnothersProcess) {
  lease('a', 0, 10, 8 * gib);
  process(10, 1, 1000);
  on_card(10, 8 * gib);
  EXPECT_EQ(whose(10), Whose::lease);
  EXPECT_EQ(left_gib(), 16);
}

TEST_F(OccupancyTest, APlaceOfTwoLeasesIsOnTheCardByTheOneThatHoldsIt) {
  // Inside a lease on the card, more of it and some cpu: the cpu is a lease at the top, which the environment
  // names; the card is the outer one's.
  lease('a', 1000, 10, 8 * gib);
  leases_.push_back({key_of('t'), 1000, 20, here, arrival_us, std::nullopt, {}});
  leases_.push_back({key_of('n'), 1000, 20, here, arrival_us, id_of('a'), {"GPU-a"}});
  process(10, 1, 1000);
  process(20, 10, 1000, "aaaaaaaaaa");
  process(30, 20, 1000, "tttttttttt");
  on_card(30, 4 * gib);
  EXPECT_EQ(sums(look(), holders_).strangers, 0);
  EXPECT_EQ(left_gib(), 16);
}

TEST_F(OccupancyTest, WhoseForebearsAreSeenToBeOfNoLeaseIsAStranger) {
  lease('a', 1000, 10, 8 * gib);
  process(10, 1, 1000);
  process(40, 1, 1000);               // a browser,
  process(300, 40, 1000, "", false);  // and its sandboxed process
  on_card(300, 2 * gib, DeviceProcess::Kind::graphics);
  EXPECT_EQ(whose(300), Whose::stranger);
}

// ---- what the driver objects to ----

class RefusalTest : public OccupancyTest {
 protected:
  std::string refusal(bool whole, int64_t vram_bytes, bool seated = true, DriverRules rules = {},
                      const std::vector<bool>& dead = {}) {
    Snapshot snapshot;
    const uint16_t device = *snapshot.intern_device("GPU-a");
    for (size_t i = 0; i < leases_.size(); ++i) {
      Party p;
      static_cast<PartyKey&>(p) = leases_[i].key;
      p.state = PartyState::held;
      p.gpu = {1, false, holders_[i].claimed_bytes, 0};
      snapshot.parties.push_back(p);
      snapshot.grant(i, {device});
    }
    Party self;
    self.id = id_of('z');
    self.gpu = {1, whole, vram_bytes, 0};
    snapshot.parties.push_back(self);
    return driver_refusal(look(), rules, snapshot, dead, self, device, seated);
  }
};

TEST_F(RefusalTest, AnEmptyCardIsFree) {
  EXPECT_EQ(refusal(true, 0), "");
  EXPECT_EQ(refusal(false, 24 * gib), "");
}

TEST_F(RefusalTest, AStrangersServerKeepsAnExclusiveClaimAway) {
  process(300, 1, 1001);
  on_card(300, 21 * gib);
  EXPECT_EQ(refusal(true, 0),
            "GPU 0: pid 300 (python, uid 1001) without a lease uses 21 GiB, and it is asked for alone");
  EXPECT_EQ(refusal(false, 3 * gib), "");
  EXPECT_EQ(refusal(false, 4 * gib),
            "GPU 0 has 3 GiB left: pid 300 (python, uid 1001) without a lease uses 21 GiB, and 4 GiB are asked for");
}

TEST_F(RefusalTest, ADesktopIsNoStrangerToAnExclusiveClaim) {
  process(300, 1, 0);
  on_card(300, gib, DeviceProcess::Kind::graphics);
  EXPECT_EQ(refusal(true, 0), "");
  EXPECT_EQ(refusal(false, 24 * gib).substr(0, 22), "GPU 0 has 23 GiB left:");
}

// GB10: what is used of the card is what is used of the machine.
TEST_F(RefusalTest, WhereItsMemoryIsTheMachinesItsUseIsNoStranger) {
  card_.unified_memory = true;
  card_.vram_used_bytes = 6 * gib;
  EXPECT_EQ(refusal(true, 0), "");
  EXPECT_EQ(refusal(false, 18 * gib), "");
  EXPECT_NE(refusal(false, 19 * gib), "");
  process(300, 1, 1001);
  on_card(300, 2 * gib);
  EXPECT_NE(refusal(true, 0), "");
}

TEST_F(RefusalTest, AMonitorIsNoStranger) {
  process(300, 1, 0);
  on_card(300, 10 << 20);
  EXPECT_EQ(refusal(true, 0), "");
}

TEST_F(RefusalTest, ALeaseInTheWayIsTheBooksBusinessAndNotAVeto) {
  lease('a', 1000, 10, 20 * gib);
  process(10, 1, 1000);
  on_card(10, 20 * gib);
  EXPECT_EQ(refusal(false, 14 * gib, /*seated=*/false), "");
  EXPECT_EQ(refusal(true, 0, /*seated=*/false), "");
}

TEST_F(RefusalTest, RulesOfTheClaim) {
  process(300, 1, 1001);
  on_card(300, 4 * gib);
  card_.util_pct = 60;
  EXPECT_EQ(refusal(false, gib, true, {20 * gib, 100}), "");
  EXPECT_EQ(refusal(false, gib, true, {21 * gib, 100}), "GPU 0 has 20 GiB free, less than --min-free 21 GiB");
  EXPECT_EQ(refusal(false, gib, true, {0, 60}), "");
  EXPECT_EQ(refusal(false, gib, true, {0, 50}), "GPU 0 is 60 % busy, more than --max-util 50");
}

TEST_F(RefusalTest, UnknownIsNotZeroForARuleEither) {
  process(300, 1, 1001);
  on_card(300, 10 * gib);
  card_.vram_used_bytes = std::nullopt;
  EXPECT_EQ(refusal(false, gib, true, {20 * gib, 100}), "GPU 0 has 14 GiB free, less than --min-free 20 GiB");
  EXPECT_EQ(refusal(false, gib, true, {14 * gib, 100}), "");
  EXPECT_EQ(refusal(false, gib, true, {0, 50}), "GPU 0 does not say how busy it is, which --max-util asks for");
}

TEST_F(RefusalTest, ADeadLeaseHoldsNothing) {
  lease('a', 1000, 10, 20 * gib);
  EXPECT_NE(refusal(false, 8 * gib), "");
  EXPECT_EQ(refusal(false, 8 * gib, true, {}, {true}), "");
}

TEST_F(RefusalTest, ComputeModesAndTrouble) {
  card_.compute_mode = ComputeMode::prohibited;
  EXPECT_NE(refusal(true, 0).find("prohibited"), std::string::npos);
  card_.compute_mode = ComputeMode::exclusive_process;
  EXPECT_EQ(refusal(false, gib), "");
  lease('a', 1000, 10, gib);
  process(10, 1, 1000);
  EXPECT_NE(refusal(false, gib).find("one process at a time"), std::string::npos);
  EXPECT_EQ(refusal(false, gib, /*seated=*/false), "");
  card_.trouble = "GPU is lost";
  EXPECT_EQ(refusal(false, gib), "GPU 0 cannot be used: GPU is lost");
}

}  // namespace
}  // namespace berth
