#include "base/own_child.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace berth {
namespace {

pid_t sleeper() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::pause();
    ::_exit(0);
  }
  return pid;
}

TEST(OwnChild, IsSignalledAndTakenIn) {
  const OwnChild child(sleeper());
  ASSERT_TRUE(child.valid());
  EXPECT_FALSE(child.ended_within(0));
  child.send(SIGTERM);
  EXPECT_TRUE(child.ended_within(5000));
  siginfo_t info{};
  ASSERT_EQ(child.wait(info, WEXITED | WNOHANG), 0);
  EXPECT_EQ(info.si_pid, child.pid());
  EXPECT_EQ(info.si_status, SIGTERM);
}

TEST(OwnChild, IsNobodyElseAfterSomebodyTookItIn) {
  const OwnChild child(sleeper());
  ::kill(child.pid(), SIGKILL);
  ASSERT_EQ(::waitpid(-1, nullptr, 0), child.pid());
  EXPECT_TRUE(child.ended_within(0));
  siginfo_t info{};
  EXPECT_EQ(child.wait(info, WEXITED), -1);  // and does not wait for another of our children
  EXPECT_EQ(errno, ECHILD);
  child.send(SIGKILL);
}

}  // namespace
}  // namespace berth
