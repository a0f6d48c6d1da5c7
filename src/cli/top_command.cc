// top: the status, live. A terminal's screen is written anew every second, and when the window changes, and is left
// as it was. Anywhere else one picture comes after the other, for as long as somebody reads them.
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <optional>
#include <string>

#include "base/sys.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/say.h"
#include "cli/status_look.h"
#include "cli/status_text.h"
#include "run/supervisor.h"

namespace berth {

namespace {

constexpr int between_ms = 1000;

// "10:30:00  pool /run/berth", and so on.
std::string picture_of(const PoolView& view, size_t width) {
  const std::time_t now = view.now_us / 1'000'000;
  std::tm local{};
  std::array<char, 16> clock{};
  if (::localtime_r(&now, &local) != nullptr) (void)std::strftime(clock.data(), clock.size(), "%H:%M:%S  ", &local);
  return clock.data() + status_text(view, width);
}

// The screen while it is ours: another one than the shell's, without a cursor, where a long line is cut and no key
// is echoed or waits for Enter.
class Screen {
 public:
  Screen() { enter(); }
  ~Screen() { leave(); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  void enter() {
    termios now{};
    if (::tcgetattr(STDIN_FILENO, &now) == 0) {
      before_ = now;
      now.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      ::tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
    }
    ours_ = put("\x1b[?1049h\x1b[?25l\x1b[?7l");
  }

  void leave() {
    if (ours_) (void)put("\x1b[?7h\x1b[?25h\x1b[?1049l");
    ours_ = false;
    if (before_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &*before_);
    before_.reset();
  }

  // As many lines as there is room for.
  [[nodiscard]] static bool show(const std::string& text, size_t rows) {
    std::string out = "\x1b[H";
    size_t row = 0;
    for (size_t start = 0; start < text.size() && (rows == 0 || row < rows); ++row) {
      const size_t end = std::min(text.find('\n', start), text.size());
      out += (row == 0 ? "" : "\r\n") + text.substr(start, end - start) + "\x1b[K";
      start = end + 1;
    }
    return put(out + "\x1b[J");
  }

  [[nodiscard]] bool has_keys() const { return before_.has_value(); }

 private:
  std::optional<termios> before_;  // of stdin, where that is a terminal
  bool ours_ = false;
};

enum class Next { look, end };

// Until it is time to look again: a signal or a key ends it, and a new size of the window is no reason to wait.
Next wait_for_next(const Signals& signals, Screen& screen) {
  std::array<pollfd, 2> heard{{{signals.fd(), POLLIN, 0}, {screen.has_keys() ? STDIN_FILENO : -1, POLLIN, 0}}};
  if (::poll(heard.data(), heard.size(), between_ms) <= 0) return Next::look;
  const int fatal = signals.next_fatal([&screen] {
    screen.leave();
    Signals::stop_here();
    screen.enter();
  });
  if (fatal != 0) {
    screen.leave();
    Signals::die_of(fatal);
  }
  if (heard[1].revents == 0) return Next::look;
  char key = 'q';  // as good as one, where the terminal is gone
  (void)retry_eintr([&] { return ::read(STDIN_FILENO, &key, 1); });
  return key == 'q' || key == 'Q' ? Next::end : Next::look;
}

int show_on_screen(PoolView view) {
  auto signals = Signals::take();
  if (!signals) return fail(signals.error());
  Screen screen;
  for (;;) {
    winsize window{};
    (void)::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
    if (!Screen::show(picture_of(view, window.ws_col), window.ws_row)) return exit_status::unavailable;
    if (wait_for_next(*signals, screen) == Next::end) return exit_status::ok;
    auto next = look_at_pool();
    if (!next) {
      screen.leave();
      return fail(next.error());
    }
    view = std::move(*next);
  }
}

}  // namespace

int top_command(const Words& words) {
  if (!words.empty() && words.front() != "--help" && words.front() != "-h") return fail_unknown("top", words.front());
  if (!words.empty()) return put(help_text("top")) ? exit_status::ok : exit_status::unavailable;
  for (;;) {
    auto view = look_at_pool();
    if (!view) return fail(view.error());
    if (::isatty(STDOUT_FILENO) != 0) return show_on_screen(std::move(*view));
    if (!put(picture_of(*view, 0) + "\n")) return exit_status::unavailable;
    (void)::poll(nullptr, 0, between_ms);
  }
}

}  // namespace berth
