#include "cli/wait_minder.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "base/sys.h"
#include "cli/say.h"
#include "cli/waiting_talk.h"

namespace berth {

WaitMinder::WaitMinder(int pid_fd, const std::string& last_words) {
  std::array<int, 2> line{};
  if (::pipe2(line.data(), O_CLOEXEC) != 0) return;
  OwnFd theirs(line[0]);
  line_.reset(line[1]);
  const pid_t self = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) stay(pid_fd, theirs.get(), self, last_words);
}

void WaitMinder::dismiss() {
  if (pid_ <= 0) return;
  (void)!::write(line_.get(), "d", 1);
  retry_eintr([&] { return ::waitpid(pid_, nullptr, 0); });
  pid_ = -1;
}

void WaitMinder::stay(int pid_fd, int parent_end, pid_t parent, const std::string& last_words) {
  // What ends the parent, from a terminal or for a whole group, must not end us first.
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  std::vector<int> keep{pid_fd, parent_end, STDERR_FILENO};
  if (!last_words.empty()) keep.push_back(STDOUT_FILENO);
  close_all_but(keep);
  std::array<pollfd, 2> fds{{{parent_end, POLLIN, 0}, {pid_fd, POLLIN, 0}}};
  for (;;) {
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) ::_exit(1);
    if (fds[0].revents != 0) break;
    if (fds[1].revents == 0) continue;
    // The parent is there: its end of the line is open.
    clear_waiting_line();
    say("hold: the process to hold for has ended");
    ::kill(parent, SIGTERM);
    fds[1].fd = -1;
  }
  char byte = 0;
  const bool dismissed = retry_eintr([&] { return ::read(parent_end, &byte, 1); }) == 1;
  if (!dismissed && !last_words.empty()) (void)put(last_words);
  ::_exit(0);
}

void close_all_but(const std::vector<int>& keep) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  std::vector<int> sorted = keep;
  std::sort(sorted.begin(), sorted.end());
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (!std::binary_search(sorted.begin(), sorted.end(), fd)) ::dup2(null, fd);
  unsigned next = 3;
  for (const int fd : sorted) {
    const auto kept = static_cast<unsigned>(fd);
    if (fd < 0 || kept < next) continue;
    if (kept > next) ::syscall(SYS_close_range, next, kept - 1, 0);
    next = kept + 1;
  }
  ::syscall(SYS_close_range, next, ~0U, 0);
}

}  // namespace berth
