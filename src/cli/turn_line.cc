#include "cli/turn_line.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string>

#include "base/own_fd.h"
#include "base/sys.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/say.h"

namespace berth {

namespace {

constexpr size_t longest_line = 64;

bool answer(const char* word) {
  const std::string line = std::string(word) + "\n";
  return retry_eintr([&] { return ::write(STDOUT_FILENO, line.data(), line.size()); }) ==
         static_cast<ssize_t>(line.size());
}

class TurnLine {
 public:
  TurnLine(Place& place, const PartyInfo& info) : place_(place), info_(info) {}

  int serve() {
    if (auto listens = listen_while_waiting(); !listens) return fail(listens.error());
    for (;;) {
      if (const auto ended = heed_words()) return *ended;
      wait();
      heed_signals();
      if (released_) return lose();
      if (!read_more()) return give(), exit_status::ok;
    }
  }

 private:
  // Who waits for its turn reads nothing, but hears that nobody is there any more who could have it. What has
  // no other end, as a file, cannot say that.
  Result<> listen_while_waiting() {
    wakes_.reset(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event signals{EPOLLIN, {}};
    epoll_event gone{EPOLLRDHUP, {}};
    if (!wakes_.valid() || ::epoll_ctl(wakes_.get(), EPOLL_CTL_ADD, place_.signals().fd(), &signals) != 0 ||
        (::epoll_ctl(wakes_.get(), EPOLL_CTL_ADD, STDIN_FILENO, &gone) != 0 && errno != EPERM))
      return sys_error(errno, "cannot listen to who wants a turn");
    place_.end_waits_when(wakes_.get(), input_has_ended);
    return success();
  }

  static bool input_has_ended() {
    pollfd in{STDIN_FILENO, POLLRDHUP, 0};
    return ::poll(&in, 1, 0) == 1 && (in.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
  }

  [[nodiscard]] bool had() const { return !place_.seats().empty(); }

  void give() { place_.release_all(); }

  // A value is the exit status.
  std::optional<int> take() {
    bool gave_up = false;
    if (const auto failed = place_.take(info_, gave_up)) {
      if (*failed != exit_status::busy) return failed;
      return answer("busy") ? std::nullopt : std::optional(exit_status::ok);
    }
    if (answer("took")) return std::nullopt;
    give();  // nobody listens
    return exit_status::ok;
  }

  std::optional<int> heed_words() {
    for (size_t end = text_.find('\n'); end != std::string::npos; end = text_.find('\n')) {
      const std::string word = text_.substr(0, end);
      text_.erase(0, end + 1);
      if (word == "take" && !had()) {
        if (const auto ended = take()) return ended;
      } else if (word == "give" && had()) {
        give();
      } else {
        give();
        return fail_usage("run", "--turn without a command: " + printable(word) + " is not what comes next, take and " +
                                     "give in turns");
      }
    }
    if (text_.size() <= longest_line) return std::nullopt;
    give();
    return fail_usage("run", "--turn without a command: such a long line is neither take nor give");
  }

  // Somebody has released the turn: it is another's, and who had it hears so by the end of our output.
  int lose() {
    give();
    say_last("run: --turn: its turn was released by somebody else");
    return exit_status::lost;
  }

  // Of what rings for a holder only that has a meaning for a turn.
  void wait() {
    std::array<pollfd, 3> fds{
        {{STDIN_FILENO, POLLIN, 0}, {place_.signals().fd(), POLLIN, 0}, {had() ? bell() : -1, POLLIN, 0}}};
    (void)::poll(fds.data(), fds.size(), -1);
    if (fds[2].revents != 0) hear_bell();
    readable_ = fds[0].revents != 0;
  }

  void hear_bell() {
    LocalLedger& ledger = place_.seats().front()->ledger;
    ledger.quiet_bell();
    released_ = ledger.told_to_leave() && !ledger.entries_stand();
  }

  [[nodiscard]] int bell() { return place_.seats().front()->ledger.bell_fd(); }

  void heed_signals() {
    const int fatal = place_.signals().next_fatal(Signals::stop_here);
    if (fatal == 0) return;
    give();
    Signals::die_of(fatal);
  }

  // False at the end of the input.
  bool read_more() {
    if (!readable_) return true;
    std::array<char, longest_line> buffer{};
    const ssize_t got = retry_eintr([&] { return ::read(STDIN_FILENO, buffer.data(), buffer.size()); });
    if (got <= 0) return got < 0 && errno == EAGAIN;
    text_.append(buffer.data(), static_cast<size_t>(got));
    return true;
  }

  Place& place_;
  const PartyInfo& info_;
  std::string text_;
  bool readable_ = false;
  bool released_ = false;
  OwnFd wakes_;
};

}  // namespace

int serve_turns(Place& place, const PartyInfo& info) { return TurnLine(place, info).serve(); }

}  // namespace berth
