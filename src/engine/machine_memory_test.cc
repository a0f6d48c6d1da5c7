#include "engine/machine_memory.h"

#include <gtest/gtest.h>

#include "sched/pool_sketch.h"
#include "tests/support/recorded.h"

namespace berth {
namespace {

constexpr int64_t gib = int64_t{1} << 30;
using Stand = MachineWord::Stand;

MemoryFigures quiet(int64_t available_gib) {
  MemoryFigures out;
  out.total_bytes = 32 * gib;
  out.available_bytes = available_gib * gib;
  return out;
}

std::string refusal(const MemoryFigures& figures, const PoolSketch& pool, int party, Stand stand = Stand::seat,
                    const LeaseUsage& usage = {}) {
  return memory_refusal(figures, usage, pool.snapshot, {}, party, stand);
}

TEST(MachineMemory, AsMuchAsIsAskedForHasToBeThere) {
  PoolSketch pool({{"ram", 32 * gib}, {"license", 3}});
  const int ram = pool.waits(counts({{"ram", 8 * gib}}));
  const int other = pool.waits(counts({{"license", 1}}));
  EXPECT_EQ(refusal(quiet(8), pool, ram), "");
  EXPECT_EQ(refusal(quiet(7), pool, ram), "the machine has 7 GiB of memory available; 8 GiB are asked for");
  EXPECT_EQ(refusal(quiet(0), pool, other), "");
  EXPECT_EQ(refusal(MemoryFigures{}, pool, ram), "") << "what is not known does not count";
}

TEST(MachineMemory, WhoAsksForAllOfAQuietMachineGetsIt) {
  PoolSketch pool({{"ram", 32 * gib}});
  const int all = pool.waits(counts({{"ram", 32 * gib}}));
  EXPECT_EQ(refusal(quiet(30), pool, all), "");
  EXPECT_NE(refusal(quiet(29), pool, all), "");
}

TEST(MachineMemory, WhatALeaseHasYetToTouchIsNotFree) {
  PoolSketch pool({{"ram", 32 * gib}});
  const int holder = pool.holds(counts({{"ram", 10 * gib}}));
  const int asks = pool.waits(counts({{"ram", 8 * gib}}));
  const PartyKey who = pool.snapshot.parties[static_cast<size_t>(holder)].key();
  pool.snapshot.now_us = 1'000'000;
  // Not known, and just seated: it is loading.
  EXPECT_EQ(refusal(quiet(12), pool, asks),
            "the machine has 12 GiB of memory available, and leases have yet to use 10 GiB of what they claimed; 8 GiB "
            "are asked for");
  EXPECT_EQ(refusal(quiet(18), pool, asks), "");
  EXPECT_EQ(refusal(quiet(12), pool, asks, Stand::seat, {{who, 6 * gib}}), "");
  EXPECT_NE(refusal(quiet(12), pool, asks, Stand::seat, {{who, 5 * gib}}), "");
  // More than it claimed takes nothing from the figure a second time.
  EXPECT_EQ(refusal(quiet(8), pool, asks, Stand::seat, {{who, 20 * gib}}), "");
  // After a minute one that cannot be measured is taken to have what it claimed.
  pool.snapshot.now_us = 61'000'000;
  EXPECT_EQ(refusal(quiet(8), pool, asks), "");
  // A dead one uses nothing any more.
  pool.snapshot.now_us = 1'000'000;
  EXPECT_EQ(memory_refusal(quiet(8), {}, pool.snapshot, {true, false}, asks, Stand::seat), "");
}

TEST(MachineMemory, WhatLeasesHaveIsWaitedForInLine) {
  PoolSketch pool({{"ram", 32 * gib}});
  pool.holds(counts({{"ram", 10 * gib}}));
  const int asks = pool.waits(counts({{"ram", 12 * gib}}));
  pool.snapshot.now_us = 1'000'000;
  EXPECT_NE(refusal(quiet(2), pool, asks), "");
  EXPECT_EQ(refusal(quiet(2), pool, asks, Stand::in_line), "") << "two, and ten when the lease is gone";
  EXPECT_NE(refusal(quiet(1), pool, asks, Stand::in_line), "") << "strangers have the rest";
}

MemoryFigures trouble(double stalled_pct, int64_t swap_free_gib = 4) {
  MemoryFigures out = quiet(2);
  out.swap_total_bytes = 8 * gib;
  out.swap_free_bytes = swap_free_gib * gib;
  out.stalled_pct = stalled_pct;
  return out;
}

TEST(MachineMemory, TroubleIsToBeShortOfItAndToSufferFromIt) {
  EXPECT_EQ(memory_trouble(trouble(9.9)), "");
  EXPECT_EQ(memory_trouble(trouble(34.2)),
            "the machine is short of memory: 2 GiB of 32 GiB available, swap 50 % full, programs wait for it 34 % of "
            "the time");
  EXPECT_EQ(memory_trouble(trouble(0, 0)),
            "the machine is short of memory: 2 GiB of 32 GiB available, swap 100 % full");
  // A job at its own cgroup's limit stalls as well, and a full swap may be of last week.
  MemoryFigures plenty = trouble(80, 0);
  plenty.available_bytes = 20 * gib;
  EXPECT_EQ(memory_trouble(plenty), "");
  MemoryFigures no_psi = trouble(0);
  no_psi.stalled_pct.reset();
  EXPECT_EQ(memory_trouble(no_psi), "");
}

TEST(MachineMemory, TroubleKeepsOutWhoeverIsHeavy) {
  PoolSketch pool({{"ram", 32 * gib}, {"cpu", 8}, {"license", 3}});
  const int small = pool.waits(counts({{"ram", 1}}));
  const int cpu = pool.waits(counts({{"cpu", 1}}));
  const int other = pool.waits(counts({{"license", 1}}));
  EXPECT_NE(refusal(trouble(50), pool, small), "");
  EXPECT_NE(refusal(trouble(50), pool, cpu), "");
  EXPECT_EQ(refusal(trouble(50), pool, other), "");
  EXPECT_EQ(refusal(trouble(50), pool, cpu, Stand::in_line), "");
  EXPECT_NE(refusal(trouble(50), pool, cpu, Stand::out), "");
}

TEST(MachineMemory, ABookThatIsLargerThanTheMachineIsItsOwnersWord) {
  PoolSketch pool({{"ram", 33 * gib}});
  const int asks = pool.waits(counts({{"ram", 8 * gib}}));
  EXPECT_EQ(refusal(quiet(4), pool, asks), "");
  EXPECT_NE(refusal(trouble(50), pool, asks), "");
}

TEST(MachineMemory, OwnCgroupCounts) {
  PoolSketch pool({{"ram", 32 * gib}});
  const int asks = pool.waits(counts({{"ram", 8 * gib}}));
  MemoryFigures figures = quiet(30);
  figures.own_left_bytes = 4 * gib;
  EXPECT_EQ(refusal(figures, pool, asks), "this shell's cgroup leaves 4 GiB of memory; 8 GiB are asked for");
}

TEST(MachineMemory, ReadsWhatTheKernelWrites) {
  const Recording machine("");
  const auto read = [&] { return read_memory_figures(machine.root(), own_memory_cgroup(machine.root())); };
  EXPECT_FALSE(read().available_bytes);
  machine.write("proc/meminfo",
                "MemTotal:       24682416 kB\nMemFree:          100000 kB\nMemAvailable:   1353772 kB\n"
                "SwapCached:            0 kB\nSwapTotal:      1000 kB\nSwapFree:       20 kB\n");
  EXPECT_EQ(read().total_bytes, int64_t{24682416} * 1024);
  EXPECT_EQ(read().available_bytes, int64_t{1353772} * 1024);
  EXPECT_EQ(read().swap_total_bytes, 1000 * 1024);
  EXPECT_EQ(read().swap_free_bytes, 20 * 1024);
  EXPECT_FALSE(read().stalled_pct);
  machine.write("proc/pressure/memory", "some avg10=12.50 avg60=1.93 avg300=12.68 total=6\nfull avg10=0.00\n");
  EXPECT_EQ(read().stalled_pct, 12.5);
  for (const char* garbage : {"", "some avg10=nan", "some avg10=-3", "some avg10=1e9", "full avg10=99"}) {
    machine.write("proc/pressure/memory", garbage);
    EXPECT_FALSE(read().stalled_pct.value_or(0) > 0) << garbage;
  }
  machine.write("proc/meminfo", "MemTotal: x kB\nMemAvailable:");
  EXPECT_FALSE(read().total_bytes || read().available_bytes);
}

}  // namespace
}  // namespace berth
