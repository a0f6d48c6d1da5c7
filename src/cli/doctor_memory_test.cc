#include "cli/doctor_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/recorded.h"

namespace berth {
namespace {

constexpr int64_t gib = int64_t{1} << 30;

MemorySurroundings well() {
  MemorySurroundings around;
  around.figures = {32 * gib, 20 * gib, 8 * gib, 8 * gib, std::nullopt, std::nullopt};
  around.cgroup_can_be_made = true;
  return around;
}

// "sentence -> mend" a line, "WRONG " before it where something is.
std::string said(const MemorySurroundings& around) {
  std::string out;
  for (const MemoryFinding& f : memory_findings(around))
    out += (f.is_wrong ? "WRONG " : "") + f.sentence + (f.mend.empty() ? "" : " -> " + f.mend) + "\n";
  return out;
}

bool has(const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; }

TEST(DoctorMemory, SaysWhatHoldsAJobAndNoMoreWhereAllIsWell) {
  MemorySurroundings around = well();
  EXPECT_EQ(said(around), "a job that claims ram is held to it by a cgroup that berth makes\n");
  around.cgroup_can_be_made = false;
  EXPECT_EQ(said(around), "a job that claims ram is held to it by a cgroup that systemd makes\n");
  around.no_manager = {"no systemd runs here", "do this"};
  EXPECT_EQ(said(around), "a job that claims ram is only watched here: no systemd runs here -> do this\n");
}

TEST(DoctorMemory, NamesWhoseTheSwapIs) {
  MemorySurroundings around = well();
  around.figures.swap_free_bytes = gib / 2;
  around.swap_users = {{12, "python3", "abcdefghij", 5 * gib}, {13, "firefox", "", gib}};
  const std::string text = said(around);
  EXPECT_TRUE(has(text,
                  "the swap is nearly full, 7.5 GiB of 8 GiB; most of it is of python3 (pid 12, lease abcdefghij), 5 "
                  "GiB, firefox (pid 13), 1 GiB -> "))
      << text;
  EXPECT_FALSE(has(text, "WRONG")) << "what nobody touches may lie there: " << text;
  around.figures.available_bytes = 2 * gib;
  EXPECT_TRUE(has(said(around),
                  "WRONG the machine is short of memory: 2 GiB of 32 GiB available, swap 93 % full; most of "
                  "it is of python3"))
      << said(around);
}

TEST(DoctorMemory, AKernelThatDoesNotTell) {
  MemorySurroundings around = well();
  around.pressure_is_told = false;
  EXPECT_TRUE(has(said(around), "CONFIG_PSI, booted with psi=1")) << said(around);
  around.figures = {};
  EXPECT_FALSE(has(said(around), "psi")) << "nothing is known at all: " << said(around);
  around = well();
  around.swap_is_limited = false;
  EXPECT_TRUE(has(said(around), "swapaccount=1")) << said(around);
  around.figures.swap_total_bytes = around.figures.swap_free_bytes = 0;
  EXPECT_FALSE(has(said(around), "swap")) << "there is none: " << said(around);
}

TEST(DoctorMemory, LooksAtAMachine) {
  const Recording machine("");
  machine.write("proc/meminfo", "MemTotal: 8000 kB\nMemAvailable: 7000 kB\nSwapTotal: 1000 kB\nSwapFree: 50 kB\n");
  machine.write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
  for (int pid = 1; pid <= 5; ++pid) {
    const std::string process = "proc/" + std::to_string(pid);
    machine.write(process + "/comm", "job\x1b" + std::to_string(pid) + "\n");
    machine.write(process + "/status", "Name: x\nVmSwap:\t" + std::to_string(100 * pid) + " kB\n");
  }
  machine.write("proc/9/status", "Name: kernel\n");
  MemorySurroundings around = memory_surroundings(machine.root(), {});
  ASSERT_EQ(around.swap_users.size(), 3U);
  EXPECT_EQ(around.swap_users[0].pid, 5);
  EXPECT_EQ(around.swap_users[0].bytes, 500 * 1024);
  EXPECT_FALSE(has(said(around), "\x1b")) << "a name is anybody's text";
  EXPECT_TRUE(around.pressure_is_told);
  EXPECT_TRUE(has(said(around), "only watched here: no memory cgroup is seen from here")) << said(around);
  machine.write("sys/fs/cgroup/cgroup.controllers", "memory\n");
  machine.write("proc/self/cgroup", "0::/a/b\n");
  machine.write("sys/fs/cgroup/a/b/cgroup.procs", "");
  EXPECT_TRUE(has(said(memory_surroundings(machine.root(), {})), "only watched here: no systemd"));
  machine.write("sys/fs/cgroup/a/cgroup.subtree_control", "memory\n");
  machine.write("sys/fs/cgroup/a/cgroup.procs", "");
  around = memory_surroundings(machine.root(), {});
  EXPECT_TRUE(around.cgroup_can_be_made);
  EXPECT_FALSE(around.swap_is_limited);
}

}  // namespace
}  // namespace berth
