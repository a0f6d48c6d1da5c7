#include "cli/turn_line.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string>

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
    for (;;) {
      if (const auto ended = heed_words()) return *ended;
      wait();
      heed_signals();
      if (!read_more()) return give(), exit_status::ok;
    }
  }

 private:
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

  // What rings for a holder has no meaning for a turn.
  void wait() {
    std::array<pollfd, 3> fds{
        {{STDIN_FILENO, POLLIN, 0}, {place_.signals().fd(), POLLIN, 0}, {had() ? bell() : -1, POLLIN, 0}}};
    (void)::poll(fds.data(), fds.size(), -1);
    if (fds[2].revents != 0) place_.seats().front()->ledger.quiet_bell();
    readable_ = fds[0].revents != 0;
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
};

}  // namespace

int serve_turns(Place& place, const PartyInfo& info) { return TurnLine(place, info).serve(); }

}  // namespace berth
