#include "ledger/survivor.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

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

TEST(Survivors, AreThoseThatStillRun) {
  const pid_t one = sleeper();
  const pid_t two = sleeper();
  const std::string text = encode_survivors({one, two, 0x7fffffff});
  EXPECT_EQ(still_running(text).pids, (std::vector<pid_t>{one, two}));
  ::kill(one, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(one), &info, WEXITED | WNOWAIT), 0);  // dead, and not reaped
  EXPECT_EQ(still_running(text).pids, std::vector<pid_t>{two});
  EXPECT_EQ(encode_survivors({one}), "");
  ::kill(two, SIGKILL);
  ::waitpid(one, nullptr, 0);
  ::waitpid(two, nullptr, 0);
  EXPECT_TRUE(still_running(text).pids.empty());
}

TEST(Survivors, AnotherProcessOfTheSamePidIsNone) {
  const std::string text = encode_survivors({::getpid()});
  ASSERT_EQ(still_running(text).pids.size(), 1U);
  EXPECT_TRUE(still_running(text + "0").pids.empty());  // started at another time
  EXPECT_TRUE(still_running("1" + text).pids.empty());  // of another PID namespace
  EXPECT_TRUE(still_running("").pids.empty());
}

// Each runs in a process of its own, so the limit is nobody else's.
TEST(Survivors, WantOfDescriptorsIsNobodysDeath) {
  const std::string text = encode_survivors({::getpid()});
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const StillRunning blind = still_running(text);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(blind.pids.empty());
  EXPECT_TRUE(blind.unsure);
  const StillRunning seeing = still_running(text + " 2147483647:1");
  EXPECT_EQ(seeing.pids, std::vector<pid_t>{::getpid()});
  EXPECT_FALSE(seeing.unsure);
}

TEST(Survivors, AProcessWhoseFirstThreadHasEndedRunsOn) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    std::thread([] { ::pause(); }).detach();
    ::syscall(SYS_exit, 0);  // of this thread alone
  }
  const auto state = [&] {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(stat, text);
    const size_t name_end = text.rfind(')');
    return name_end == std::string::npos ? '?' : text[name_end + 2];
  };
  for (int tries = 0; tries < 500 && state() != 'Z'; ++tries) ::usleep(10'000);
  ASSERT_EQ(state(), 'Z');
  const std::string text = encode_survivors({pid});
  EXPECT_EQ(still_running(text).pids, std::vector<pid_t>{pid});
  ::kill(pid, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(still_running(text).pids.empty());
  ::waitpid(pid, nullptr, 0);
}

RC_GTEST_PROP(Survivors, AnythingAtAllIsReadWithoutHarm, (const std::string& text)) {
  (void)still_running(text);
  (void)still_running(encode_survivors({::getpid()}) + " " + text);
}

}  // namespace
}  // namespace berth
