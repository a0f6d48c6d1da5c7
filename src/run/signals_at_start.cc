#include "run/signals_at_start.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace berth {

namespace {

bool has_no_terminal() {
  const OwnFd terminal(::open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  return !terminal.valid() && errno == ENXIO;
}

uint64_t bit_of(int signal) { return uint64_t{1} << (signal - 1); }

// Of the process whose status this is. proc(5); none where it cannot be read.
uint64_t pending_in(int status_fd) {
  std::array<char, 16384> text;  // NOLINT: who is in many groups has a long status, nobody else pays for it
  const ssize_t got = ::read(status_fd, text.data(), text.size() - 1);
  if (got <= 0) return 0;
  text[static_cast<size_t>(got)] = 0;
  const char* field = ::strstr(text.data(), "\nShdPnd:\t");
  return field == nullptr ? 0 : ::strtoull(field + sizeof "\nShdPnd:\t" - 1, nullptr, 16);
}

}  // namespace

SignalsAtStart::SignalsAtStart() {
  if (!has_no_terminal()) ours_.reset(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
}

void SignalsAtStart::look_from_child() {
  if (!ours_.valid()) return;
  const uint64_t ours = pending_in(ours_.get());
  sigset_t its;
  ::sigpending(&its);
  uint64_t owed = 0;
  for (int signal = 1; signal < 32; ++signal)
    if ((ours & bit_of(signal)) != 0 && sigismember(&its, signal) == 0) owed |= bit_of(signal);
  owed_ = owed;
}

bool SignalsAtStart::is_owed(int signal) {
  if (signal < 1 || signal > 31 || (owed_ & bit_of(signal)) == 0) return false;
  owed_ = owed_ & ~bit_of(signal);
  return true;
}

}  // namespace berth
