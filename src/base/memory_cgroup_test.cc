#include "base/memory_cgroup.h"

#include <gtest/gtest.h>

#include "tests/support/recorded.h"

namespace berth {
namespace {

TEST(MemoryCgroup, IsThatOfVersion2) {
  const Recording machine("");
  EXPECT_FALSE(own_memory_cgroup(machine.root()));
  machine.write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
  machine.write("proc/self/cgroup", "0::/user.slice/a.scope\n");
  const std::string user = "sys/fs/cgroup/user.slice";
  machine.write(user + "/memory.max", "max\n");
  machine.write(user + "/a.scope/memory.max", "1000\n");
  machine.write(user + "/a.scope/memory.current", "700\n");
  machine.write(user + "/a.scope/memory.stat", "anon 500\ninactive_file 150\nactive_file 50\n");
  const auto group = own_memory_cgroup(machine.root());
  ASSERT_TRUE(group);
  EXPECT_EQ(group->version, 2);
  EXPECT_EQ(group->path, machine.root() + "/" + user + "/a.scope");
  EXPECT_EQ(memory_left(*group), 450);
  EXPECT_EQ(memory_limit(*group), 1000);
  // One above may be tighter.
  machine.write(user + "/memory.max", "900\n");
  machine.write(user + "/memory.current", "800\n");
  EXPECT_EQ(memory_left(*group), 100);
  EXPECT_EQ(memory_limit(*group), 900);
  machine.write(user + "/memory.max", "max\n");
  machine.write(user + "/a.scope/memory.max", "max\n");
  EXPECT_FALSE(memory_left(*group));
  EXPECT_FALSE(memory_limit(*group));
}

TEST(MemoryCgroup, IsThatOfVersion1) {
  const Recording machine("");
  const std::string top = "sys/fs/cgroup/memory";
  machine.write("sys/fs/cgroup/unified/cgroup.controllers", "\n");
  machine.write(top + "/memory.limit_in_bytes", "9223372036854771712\n");
  machine.write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/x\n0::/\n");
  auto group = own_memory_cgroup(machine.root());
  ASSERT_TRUE(group);
  EXPECT_EQ(group->version, 1);
  EXPECT_EQ(group->path, machine.root() + "/" + top) << "a container that sees its own group as the top";
  EXPECT_FALSE(memory_left(*group));
  machine.write(top + "/docker/x/memory.limit_in_bytes", "4096\n");
  machine.write(top + "/docker/x/memory.usage_in_bytes", "5000\n");
  machine.write(top + "/docker/x/memory.stat", "cache 1\ntotal_inactive_file 1000\n");
  group = own_memory_cgroup(machine.root());
  ASSERT_TRUE(group);
  EXPECT_EQ(group->path, machine.root() + "/" + top + "/docker/x");
  EXPECT_EQ(memory_left(*group), 96);
}

TEST(MemoryCgroup, NeverLeavesItsMount) {
  const Recording machine("");
  machine.write("sys/fs/cgroup/cgroup.controllers", "memory\n");
  machine.write("sys/fs/elsewhere/memory.max", "1\n");
  machine.write("proc/self/cgroup", "0::/../elsewhere\n");
  const auto group = own_memory_cgroup(machine.root());
  ASSERT_TRUE(group);
  EXPECT_EQ(group->path, machine.root() + "/sys/fs/cgroup");
}

}  // namespace
}  // namespace berth
