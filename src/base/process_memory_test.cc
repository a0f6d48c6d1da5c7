#include "base/process_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>

#include <algorithm>
#include <cstring>

#include "base/small_file.h"
#include "tests/support/recorded.h"

namespace berth {
namespace {

TEST(ProcessMemory, IsWhatTheKernelCouldNotDrop) {
  EXPECT_EQ(bytes_in_status("Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t     300 kB\nRssFile:\t 500 kB\nRssShmem:\t  100 kB\n"
                            "VmSwap:\t 7 kB\n"),
            407 * 1024);
  EXPECT_FALSE(bytes_in_status("Name:\tkthreadd\nState:\tS\n"));
  EXPECT_FALSE(bytes_in_status("RssAnon"));
  EXPECT_FALSE(bytes_in_status("x\nRssAnon:"));
  EXPECT_FALSE(bytes_in_status("x\nRssAnon: 99999999999999999999 kB"));
}

TEST(ProcessMemory, OfATreeIsTheSum) {
  const Recording machine("");
  const auto process = [&](int pid, const std::string& children, int kib) {
    const std::string dir = "proc/" + std::to_string(pid);
    machine.write(dir + "/task/" + std::to_string(pid) + "/children", children);
    machine.write(dir + "/status", "Name:\tx\nRssAnon:\t" + std::to_string(kib) + " kB\n");
  };
  process(10, "11 12 ", 1);
  process(11, "13 99 ", 20);
  process(12, "", 300);
  process(13, "", 4000);
  EXPECT_EQ(tree_bytes(machine.root() + "/proc", 10), 4321 * 1024);
  EXPECT_EQ(tree_bytes(machine.root() + "/proc", 11), 4020 * 1024);
  EXPECT_EQ(tree_bytes(machine.root() + "/proc", 5), 0);
}

TEST(ChildrenOf, AListThatIsTooLongNamesNobodyElse) {
  const Recording machine("");
  std::string children;
  while (children.size() < (size_t{1} << 20U) - 3) children += "7 ";
  children += "1234 ";  // the end of what is read is in the middle of it
  machine.write("proc/10/task/10/children", children);
  const std::vector<pid_t> found = children_of(machine.root() + "/proc", 10);
  EXPECT_GT(found.size(), 500'000U);
  EXPECT_EQ(std::count(found.begin(), found.end(), 7), static_cast<std::ptrdiff_t>(found.size()));
}

TEST(ProcessMemory, OfThisProcessGrowsByWhatItTouches) {
  constexpr size_t size = size_t{32} << 20U;
  const int64_t before = tree_bytes("/proc", ::getpid());
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_LT(tree_bytes("/proc", ::getpid()) - before, 8 << 20);
  std::memset(memory, 1, size);
  EXPECT_GE(tree_bytes("/proc", ::getpid()) - before, static_cast<int64_t>(size) - (1 << 20));
  ::munmap(memory, size);
}

}  // namespace
}  // namespace berth
