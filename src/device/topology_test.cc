#include "device/topology.h"

#include <gtest/gtest.h>

#include "base/small_file.h"
#include "tests/support/recorded.h"

namespace berth {
namespace {

const std::string cpus = "sys/devices/system/cpu";

// Two nodes with two cores of two threads each; caches as on a machine with one of the third level for a node.
void make_machine(const Recording& machine) {
  machine.write(cpus + "/online", "0-7\n");
  for (int cpu = 0; cpu < 8; ++cpu) {
    const std::string dir = cpus + "/cpu" + std::to_string(cpu);
    const int core = cpu % 4;
    const int node = core / 2;
    machine.write(dir + "/topology/core_cpus_list", std::to_string(core) + "," + std::to_string(core + 4) + "\n");
    const std::string pair = std::to_string(core) + "," + std::to_string(core + 4) + "\n";
    const std::string of_node = node == 0 ? "0-1,4-5\n" : "2-3,6-7\n";
    for (int index = 0; index < 4; ++index) {
      machine.write(dir + "/cache/index" + std::to_string(index) + "/level", index < 2    ? "1\n"
                                                                             : index == 2 ? "2\n"
                                                                                          : "3\n");
      machine.write(dir + "/cache/index" + std::to_string(index) + "/shared_cpu_list", index == 3 ? of_node : pair);
    }
  }
  machine.write("sys/devices/system/node/node0/cpulist", "0-1,4-5\n");
  machine.write("sys/devices/system/node/node1/cpulist", "2-3,6-7\n");
  machine.write("sys/devices/system/node/possible", "0-1\n");
}

TEST(Topology, IsWhatTheKernelShows) {
  const Recording machine("");
  make_machine(machine);
  const auto found = read_topology(machine.root());
  ASSERT_EQ(found.size(), 8U);
  EXPECT_EQ(found[0], (Processor{0, 0, 0, 0}));
  EXPECT_EQ(found[5], (Processor{5, 1, 0, 0}));
  EXPECT_EQ(found[6], (Processor{6, 2, 2, 1}));
  EXPECT_EQ(found[7], (Processor{7, 3, 2, 1}));
}

TEST(Topology, OfAnOlderKernelKnowsTheCoresToo) {
  const Recording machine("");
  machine.write(cpus + "/online", "0-1\n");
  for (const char* cpu : {"/cpu0", "/cpu1"})
    machine.write(cpus + std::string(cpu) + "/topology/thread_siblings_list", "0-1\n");
  const auto found = read_topology(machine.root());
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[1].core, 0U);
}

// Without a word on nodes (CONFIG_NUMA), on caches (many virtual machines), on anything.
TEST(Topology, MakesNoDifferenceWhereNothingIsSaid) {
  const Recording machine("");
  EXPECT_TRUE(read_topology(machine.root()).empty());
  machine.write(cpus + "/online", "0,2\n");
  const auto found = read_topology(machine.root());
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[1], (Processor{2, 2, 0, 0}));
}

TEST(Topology, NoGarbageInAnyFileDoesHarm) {
  const Recording machine("");
  make_machine(machine);
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(machine.root()))
    if (entry.is_regular_file()) files.push_back(std::filesystem::relative(entry.path(), machine.root()).string());
  for (const std::string& file : files) {
    const auto original = read_text(machine.root() + "/" + file);
    ASSERT_TRUE(original) << file;
    for (const char* garbage : {"", "\n\n", "-1\n", "99999999999999999999\n", "0-99999\n", "x\n", "8191\n"}) {
      machine.write(file, garbage);
      for (const Processor& p : read_topology(machine.root())) EXPECT_LT(p.number, max_processors) << file;
    }
    machine.write(file, *original);
  }
}

TEST(Topology, OfThisMachineHasEveryProcessorOnce) {
  const auto found = read_topology("");
  ProcessorSet seen;
  for (const Processor& p : found) {
    EXPECT_FALSE(seen[p.number]);
    seen.set(p.number);
  }
  EXPECT_EQ(seen.count(), found.size());
}

}  // namespace
}  // namespace berth
