#include "base/bounded_write.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

#include "base/own_fd.h"
#include "base/sys.h"

namespace berth {
namespace {

struct Ends {
  OwnFd read, write;
};

Ends make_pipe() {
  std::array<int, 2> fds{};
  EXPECT_EQ(::pipe2(fds.data(), O_CLOEXEC), 0);
  return {OwnFd(fds[0]), OwnFd(fds[1])};
}

Ends make_socket() {
  std::array<int, 2> fds{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  return {OwnFd(fds[0]), OwnFd(fds[1])};
}

void fill(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  const std::string much(4096, 'x');
  while (::write(fd, much.data(), much.size()) > 0) {
  }
  while (::write(fd, "x", 1) > 0) {
  }
  ::fcntl(fd, F_SETFL, flags);
}

std::string read_some(int fd) {
  std::string text(1 << 20, '\0');
  const ssize_t got = ::read(fd, text.data(), text.size());
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

TEST(BoundedWrite, WritesWhatThereIsRoomFor) {
  for (const Ends& ends : {make_pipe(), make_socket()}) {
    EXPECT_EQ(write_within(ends.write.get(), "a line\n", 0), 7U);
    EXPECT_EQ(read_some(ends.read.get()), "a line\n");
  }
}

TEST(BoundedWrite, GivesUpWhereThereIsNoRoomAndLeavesTheOthersDescriptionAsItIs) {
  for (const Ends& ends : {make_pipe(), make_socket()}) {
    fill(ends.write.get());
    const int flags = ::fcntl(ends.write.get(), F_GETFL);
    const int64_t began_us = monotonic_us();
    EXPECT_EQ(write_within(ends.write.get(), "a line\n", 50'000), 0U);
    EXPECT_GE(monotonic_us() - began_us, 50'000);
    EXPECT_EQ(write_within(ends.write.get(), "a line\n", 0), 0U);
    EXPECT_EQ(::fcntl(ends.write.get(), F_GETFL), flags);
  }
}

TEST(BoundedWrite, SaysHowMuchOfALongTextItCouldWrite) {
  const Ends ends = make_pipe();
  const std::string much(1 << 20, 'y');
  const size_t wrote = write_within(ends.write.get(), much, 0);
  EXPECT_GT(wrote, 0U);
  EXPECT_LT(wrote, much.size());
  EXPECT_EQ(read_some(ends.read.get()).size(), wrote);
}

TEST(BoundedWrite, NobodyReadsAnyMore) {
  Ends ends = make_socket();
  ends.read.reset();
  ::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(write_within(ends.write.get(), "a line\n", 1'000'000), 0U);
  ::signal(SIGPIPE, SIG_DFL);
}

}  // namespace
}  // namespace berth
