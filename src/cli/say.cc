#include "cli/say.h"

#include <unistd.h>

#include "base/sys.h"
#include "cli/exit_status.h"

namespace berth {

namespace {
bool write_all(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = retry_eintr([&] { return ::write(fd, text.data() + done, text.size() - done); });
    if (wrote <= 0) return false;
    done += static_cast<size_t>(wrote);
  }
  return true;
}
}  // namespace

void say(const std::string& sentence) { (void)write_all(STDERR_FILENO, "berth: " + sentence + "\n"); }

int fail(const Error& error) {
  say(error.message);
  return exit_status::of(error.kind);
}

int fail_usage(const std::string& verb, const std::string& sentence) {
  say(verb + ": " + sentence + " (berth " + verb + " --help shows how)");
  return exit_status::usage;
}

bool put(const std::string& text) {
  if (write_all(STDOUT_FILENO, text)) return true;
  if (errno != EPIPE) say(sys_error(errno, "cannot write the output").message);
  return false;
}

}  // namespace berth
