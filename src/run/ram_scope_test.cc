// RamScope on a directory tree that stands in for a kernel's. What a kernel does with it is for
// tests/blackbox/ram.py, where there is one to try.
#include "run/ram_scope.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include "base/small_file.h"
#include "tests/support/recorded.h"

namespace berth {
namespace {

constexpr int64_t mib = int64_t{1} << 20;

class ScopeTree {
 public:
  const Recording machine{""};
  const std::string name = "berth-" + std::to_string(::getpid());
  [[nodiscard]] std::string read(const std::string& path) const {
    return read_word(machine.root() + "/" + path).value_or("");
  }
  // The files that a kernel makes with a group.
  void kernel_makes(const std::string& group) const {
    for (const char* file : {"cgroup.procs", "memory.max", "memory.high", "memory.swap.max", "memory.oom.group",
                             "memory.events", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"})
      machine.write(group + "/" + file, "");
  }
  // A machine with version 1, and the group that is made there.
  [[nodiscard]] std::string version1() const {
    for (const char* group : {"memory", "memory/x"})
      machine.write("sys/fs/cgroup/" + std::string(group) + "/memory.limit_in_bytes", "9223372036854771712\n");
    machine.write("proc/self/cgroup", "4:memory:/x\n0::/\n");
    std::string group = "sys/fs/cgroup/memory/x/" + name;
    kernel_makes(group);
    return group;
  }
};

TEST(RamScope, StandsBesideItsMakerInVersion2) {
  const ScopeTree t;
  t.machine.write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
  t.machine.write("proc/self/cgroup", "0::/user/a.scope\n");
  t.machine.write("sys/fs/cgroup/user/a.scope/memory.max", "max\n");
  const std::string group = "sys/fs/cgroup/user/" + t.name;
  t.kernel_makes(group);
  EXPECT_FALSE(RamScope::make(t.machine.root(), 100 * mib)) << "nobody gave the controller to those below";
  t.machine.write("sys/fs/cgroup/user/cgroup.subtree_control", "cpu memory\n");
  const auto scope = RamScope::make(t.machine.root(), 100 * mib);
  ASSERT_TRUE(scope);
  EXPECT_EQ(scope->path(), t.machine.root() + "/" + group);
  EXPECT_EQ(t.read(group + "/memory.max"), std::to_string(hard_limit_bytes(100 * mib)));
  EXPECT_EQ(t.read(group + "/memory.high"), std::to_string(soft_limit_bytes(100 * mib)));
  EXPECT_EQ(t.read(group + "/memory.swap.max"), "0");
  EXPECT_EQ(t.read(group + "/memory.oom.group"), "1");
  t.machine.write(group + "/memory.stat", "anon 300\nfile 4000\nshmem 20\n");
  EXPECT_EQ(scope->used_bytes(), 320);
  EXPECT_FALSE(scope->ran_out());
  t.machine.write(group + "/memory.events", "oom 1\noom_kill 1\n");
  EXPECT_TRUE(scope->ran_out());
}

TEST(RamScope, StandsBelowItsMakerInVersion1) {
  const ScopeTree t;
  const std::string group = t.version1();
  const auto scope = RamScope::make(t.machine.root(), 100 * mib);
  ASSERT_TRUE(scope);
  EXPECT_EQ(t.read(group + "/memory.limit_in_bytes"), std::to_string(hard_limit_bytes(100 * mib)));
  EXPECT_EQ(t.read(group + "/memory.memsw.limit_in_bytes"), std::to_string(hard_limit_bytes(100 * mib)));
}

TEST(RamScope, IsNotMadeWhereItCannotBe) {
  const Recording nothing("");
  EXPECT_FALSE(RamScope::make(nothing.root(), mib));
  const ScopeTree t;  // a kernel that makes no files: its limits cannot be set
  t.machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1\n");
  t.machine.write("proc/self/cgroup", "4:memory:/\n");
  EXPECT_FALSE(RamScope::make(t.machine.root(), mib));
  EXPECT_TRUE(list_names(t.machine.root() + "/sys/fs/cgroup/memory")->size() == 1) << "nothing is left";
}

TEST(RamScope, HasRoomForMoreThanTheDataThatWasClaimed) {
  for (const int64_t claimed : {mib, 100 * mib, 64 * 1024 * mib}) {
    EXPECT_GT(soft_limit_bytes(claimed), claimed);
    EXPECT_GT(hard_limit_bytes(claimed), soft_limit_bytes(claimed));
  }
}

TEST(RamScope, OfAServiceManagerIsJoinedOnlyWhereItLimits) {
  const ScopeTree t;
  const std::string unit = "berth-7.scope";
  const std::string group = "sys/fs/cgroup/user/app.slice/" + unit;
  t.machine.write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
  t.machine.write("proc/7/cgroup", "0::/user/session-1.scope\n");
  t.kernel_makes(group);
  t.machine.write("sys/fs/cgroup/user/session-1.scope/memory.max", "100\n");
  EXPECT_FALSE(RamScope::joined(t.machine.root(), 7, unit)) << "it is not there yet";
  t.machine.write("proc/7/cgroup", "0::/user/app.slice/" + unit + "\n");
  t.machine.write(group + "/memory.max", "max\n");
  EXPECT_FALSE(RamScope::joined(t.machine.root(), 7, unit)) << "the manager has no memory controller to give";
  t.machine.write(group + "/memory.max", "100\n");
  {
    const auto scope = RamScope::joined(t.machine.root(), 7, unit);
    ASSERT_TRUE(scope);
    EXPECT_TRUE(scope->limit(200 * mib));
    EXPECT_EQ(t.read(group + "/memory.max"), std::to_string(hard_limit_bytes(200 * mib)));
    pollfd events{scope->events_fd(), POLLIN, 0};
    scope->quiet_events();
    EXPECT_EQ(::poll(&events, 1, 0), 0);
    t.machine.write(group + "/memory.events", "oom 1\noom_kill 1\n");
    EXPECT_EQ(::poll(&events, 1, 1000), 1);
    EXPECT_TRUE(scope->ran_out());
  }
  t.machine.write("proc/self/cgroup", "0::/user/app.slice/" + unit + "\n");
  t.machine.write(group + "/memory.oom.group", "0\n");
  end_own_group_as_one(t.machine.root(), "berth-8.scope");
  EXPECT_NE(t.read(group + "/memory.oom.group"), "1") << "another's";
  end_own_group_as_one(t.machine.root(), unit);
  EXPECT_EQ(t.read(group + "/memory.oom.group"), "1");
}

TEST(RamScope, FilesThatTheKernelCouldDropAreNoPartOfThePeak) {
  const ScopeTree t;
  const std::string group = t.version1();
  const auto scope = RamScope::make(t.machine.root(), 100 * mib);
  ASSERT_TRUE(scope);
  EXPECT_EQ(scope->peak_bytes(), std::nullopt);
  t.machine.write(group + "/memory.max_usage_in_bytes", "5000\n");
  EXPECT_EQ(scope->peak_bytes(), 5000);
  t.machine.write(group + "/memory.stat", "total_rss 300\ntotal_cache 4000\ntotal_shmem 1000\n");
  EXPECT_EQ(scope->peak_bytes(), 2000) << "shared memory stays";
}

}  // namespace
}  // namespace berth
