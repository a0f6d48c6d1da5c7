#include "base/bounded_write.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

#include "base/own_fd.h"
#include "base/sys.h"

namespace berth {

namespace {

// An open description of our own of the same pipe or terminal, that never blocks. Invalid where there is none to
// be had (a socket, another user's terminal).
OwnFd unblocked(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0 || !(S_ISFIFO(st.st_mode) || ::isatty(fd) == 1)) return {};
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return OwnFd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

}  // namespace

size_t write_within(int fd, std::string_view text, int64_t patience_us) {
  const OwnFd own = unblocked(fd);
  const int64_t until_us = monotonic_us() + patience_us;
  struct stat st {};
  // What takes what it can at once, or always, need not be asked first.
  const bool safe = own.valid() || (::fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
  // Through the others' description no more than a pipe with room takes at once.
  const size_t most = safe ? text.size() : PIPE_BUF;
  size_t done = 0;
  bool asked = safe;
  while (done < text.size()) {
    const int out_fd = own.valid() ? own.get() : fd;
    if (asked) {
      const size_t size = std::min(most, text.size() - done);
      const ssize_t wrote = retry_eintr([&] { return ::write(out_fd, text.data() + done, size); });
      if (wrote == 0 || (wrote < 0 && errno != EAGAIN)) break;
      if (wrote > 0) {
        done += static_cast<size_t>(wrote);
        asked = safe;
        continue;
      }
    }
    const int64_t left_us = std::max<int64_t>(0, until_us - monotonic_us());
    pollfd out{out_fd, POLLOUT, 0};
    const int ready = ::poll(&out, 1, static_cast<int>((left_us + 999) / 1000));
    asked = ready > 0;
    if (ready < 0 && errno != EINTR) break;
    if (ready <= 0 && left_us == 0) break;
  }
  return done;
}

}  // namespace berth
