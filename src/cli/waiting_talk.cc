#include "cli/waiting_talk.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/sys.h"
#include "base/text.h"
#include "cli/say.h"
#include "cli/waiting_look.h"

namespace berth {

namespace {

constexpr int64_t moment_us = 300'000;                    // a wait no longer than that is not spoken of;
constexpr int64_t moment_among_siblings_us = 10'000'000;  // of the first in a lease's own line
constexpr int64_t closest_us = 1'000'000;                 // two looks for the line, whatever happens
constexpr int64_t soonest_us = 5'000'000;                 // and where nothing happens: a tenth of the time to go,
constexpr int64_t latest_us = 30'000'000;                 // within these
constexpr int64_t usual_us = 15'000'000;                  // nobody knows how long
constexpr size_t room_for_echo = 3;                       // of ^C, and the last column, where terminals differ
constexpr size_t fewest_columns = 20;

// Columns of the terminal that stderr is; 0 where we may not write over a line: it is none, it cannot, or
// somebody else is in the foreground.
size_t columns_of_terminal() {
  const char* kind = std::getenv("TERM");
  if (::isatty(STDERR_FILENO) == 0 || kind == nullptr || std::string_view(kind) == "dumb") return 0;
  if (::tcgetpgrp(STDERR_FILENO) != ::getpgrp()) return 0;
  winsize size{};
  size_t columns = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
  const char* told = std::getenv("COLUMNS");
  if (columns == 0 && told != nullptr) columns = static_cast<size_t>(parse_count(told).value_or(0));
  return columns >= fewest_columns ? columns : 0;
}

bool put_in_line(int fd, const std::string& text) {
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0) return false;
  const std::string bytes = "\r" + text + "\x1b[K";
  return ::write(fd, bytes.data(), bytes.size()) > 0;
}

}  // namespace

// Nobody hears what goes to /dev/null.
bool WaitingTalk::is_heard() {
  if (!heard_) {
    struct stat st {};
    const dev_t null_device = makedev(1, 3);  // Documentation/admin-guide/devices.txt
    heard_ = ::fstat(STDERR_FILENO, &st) == 0 && !(S_ISCHR(st.st_mode) && st.st_rdev == null_device);
  }
  return *heard_;
}

int64_t WaitingTalk::operator()(const Waiting& waiting) {
  if (!is_heard()) return -1;
  if (waiting.asks_driver) return -1;  // a moment, and no wait
  const int64_t now_us = monotonic_us();
  const int64_t first_us = first_word_us(waiting, now_us);
  if (first_us < 0 || now_us < first_us) return first_us;
  if (const size_t columns = columns_of_terminal(); columns > 0) return refresh(waiting.refusal, now_us, columns);
  shown_.clear();  // it went to the background, and the line is no longer ours
  line_.reset();
  if (said_ && (waiting.refusal.empty() || waiting.refusal == objection_)) return -1;
  said_ = true;
  objection_ = waiting.refusal;
  say("waiting for " + waiting_text(look(objection_)));
  return -1;
}

// When to say something for the first time; -1: not as things are.
int64_t WaitingTalk::first_word_us(const Waiting& waiting, int64_t now_us) {
  const bool among_siblings = engine_.record().parent.has_value();
  if (among_siblings && waiting.ahead > 0) return since_us_ = -1;
  if (since_us_ < 0) since_us_ = now_us;
  return since_us_ + (among_siblings ? moment_among_siblings_us : moment_us);
}

WaitingWords WaitingTalk::look(const std::string& objection) {
  auto words = look_for_waiter(pool_, picture_, engine_.record(), objection);
  if (words.ok()) return std::move(*words);
  WaitingWords plain;
  plain.claim = describe(engine_.record().claim);
  plain.objection = objection;
  return plain;
}

int64_t WaitingTalk::refresh(const std::string& objection, int64_t now_us, size_t columns) {
  if (last_look_us_ >= 0 && now_us < last_look_us_ + closest_us) return last_look_us_ + closest_us;
  last_look_us_ = now_us;
  if (!have_the_line()) return now_us + usual_us;
  const WaitingWords words = look(objection);
  write_over(waiting_line("berth: waiting for ", words, columns - room_for_echo));
  if (!words.eta_s) return now_us + usual_us;
  return now_us + std::clamp(*words.eta_s * 1'000'000 / 10, soonest_us, latest_us);
}

// A lock on the terminal itself, through a description of our own: the inherited one is everybody's. Who
// cannot open it (su to another user) writes without.
bool WaitingTalk::have_the_line() {
  if (line_.valid()) return true;
  OwnFd terminal(::open("/proc/self/fd/2", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!terminal.valid()) return true;
  if (::flock(terminal.get(), LOCK_EX | LOCK_NB) != 0) return false;
  line_ = std::move(terminal);
  return true;
}

void WaitingTalk::write_over(const std::string& text) {
  if (text == shown_) return;
  if (put_in_line(line_.valid() ? line_.get() : STDERR_FILENO, text)) shown_ = text;
}

void WaitingTalk::clear() {
  if (!shown_.empty() && columns_of_terminal() > 0) write_over("");
  shown_.clear();
  line_.reset();
  last_look_us_ = -1;
}

void clear_waiting_line() {
  if (columns_of_terminal() > 0) (void)put_in_line(STDERR_FILENO, "");
}

}  // namespace berth
