#include "run/process_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/sys.h"
#include "device/probe_run.h"

namespace berth {
namespace {

const auto nobody = [](pid_t) { return false; };

bool has(const std::vector<pid_t>& pids, pid_t pid) { return std::find(pids.begin(), pids.end(), pid) != pids.end(); }

bool can_see_children() { return std::ifstream("/proc/thread-self/children").good(); }

TEST(LeftRunning, SeesTheChildrenOfEveryThread) {
  if (!can_see_children()) GTEST_SKIP() << "this kernel does not tell";
  std::atomic<pid_t> child = -1;
  std::atomic<bool> ended = false;
  std::thread maker([&] {
    child = ::fork();
    if (child == 0) {
      ::pause();
      ::_exit(0);
    }
    while (!ended) ::usleep(1000);  // what it made goes to another thread when it ends
  });
  bool seen = false;
  for (int tries = 0; tries < 500 && !seen; ++tries, ::usleep(1000))
    seen = child > 0 && has(left_running(nobody), child);
  EXPECT_TRUE(seen);
  if (child > 0) ::kill(child, SIGKILL);
  ended = true;
  maker.join();
  if (child > 0) ::waitpid(child, nullptr, 0);
}

bool hang = false;

// A child that does not go when it is killed, as one that sits in a driver: a tracer holds it at its end.
TEST(LeftRunning, IsNotAProbeThatIsStuckInTheDriver) {
  if (!can_see_children()) GTEST_SKIP() << "this kernel does not tell";
  ASSERT_EQ(::pthread_atfork(nullptr, nullptr,
                             [] {
                               while (hang) ::pause();
                             }),
            0);
  ::setenv("BERTH_PROBE_LIMIT", "300ms", 1);
  hang = true;
  auto run = ProbeRun::start("/nonexistent");
  ASSERT_TRUE(run.ok());
  const std::vector<pid_t> children = left_running(nobody);
  ASSERT_EQ(children.size(), 1U);
  const pid_t child = children.front();
  if (::ptrace(PTRACE_SEIZE, child, nullptr, PTRACE_O_TRACEEXIT) != 0) GTEST_SKIP() << "no tracing here";
  EXPECT_FALSE(is_given_up_probe(child));
  { const ProbeRun given_up = std::move(*run); }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);  // what a tracer is told of it, and nobody else
  EXPECT_TRUE(is_given_up_probe(child));
  EXPECT_TRUE(has(left_running(nobody), child));
  EXPECT_TRUE(left_running(is_given_up_probe).empty());
  sleep_us(300'000);
  const auto next = ProbeRun::start("/nonexistent");
  ASSERT_FALSE(next.ok());
  EXPECT_EQ(next.error().kind, ErrorKind::probe);
  EXPECT_EQ(left_running(nobody).size(), 1U);
  // Who is forked now and closes all it was given has no such child, and others have the numbers.
  hang = false;
  const pid_t keeper = ::fork();
  if (keeper == 0) {
    ::syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
    std::array<std::array<int, 2>, 32> full{};
    for (auto& ends : full)
      if (::pipe(ends.data()) != 0 || ::write(ends[1], "x", 1) != 1) ::_exit(3);
    const bool asks = ProbeRun::start("/nonexistent").ok();
    bool all_open = true;
    for (const auto& ends : full) all_open = all_open && ::fcntl(ends[0], F_GETFD) >= 0;
    ::_exit(!asks ? 1 : all_open ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(keeper, &status, 0), keeper);
  EXPECT_EQ(status, 0);
  // The driver lets it go.
  ::ptrace(PTRACE_CONT, child, nullptr, nullptr);
  for (int tries = 0; tries < 500 && is_given_up_probe(child); ++tries) ::usleep(10'000);
  EXPECT_FALSE(is_given_up_probe(child));
  EXPECT_TRUE(ProbeRun::start("/nonexistent").ok());
  EXPECT_TRUE(left_running(nobody).empty());
}

}  // namespace
}  // namespace berth
