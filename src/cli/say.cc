#include "cli/say.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/bounded_write.h"
#include "base/sys.h"
#include "base/text.h"
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

constexpr int64_t patience_us = 100'000;         // while others wait for us
constexpr int64_t last_patience_us = 1'000'000;  // nobody does

void write_line(std::string line, int64_t how_long_us) {
  static bool full = false;
  static bool torn = false;  // a line's beginning stands there
  if (torn) line.insert(0, 1, '\n');
  const size_t wrote = write_within(STDERR_FILENO, line, full ? 0 : how_long_us);
  full = wrote < line.size();
  if (wrote > 0) torn = full;
}
}  // namespace

void say(const std::string& sentence) { write_line("berth: " + sentence + "\n", patience_us); }

void say_last(const std::string& sentence) { put_last("berth: " + sentence + "\n"); }

void put_last(const std::string& line) { write_line(line, last_patience_us); }

int fail(const Error& error) {
  say_last(error.message);
  return exit_status::of(error.kind);
}

int fail_usage(const std::string& verb, const std::string& sentence) {
  say_last(verb + ": " + sentence + " (berth " + verb + " --help shows how)");
  return exit_status::usage;
}

void say_not_started(const std::string& command, int failed) {
  const std::string name = command.empty() ? "\"\"" : printable(command);
  // A script is there whose interpreter is not, or a program without its loader.
  const bool there = command.find('/') != std::string::npos && ::access(command.c_str(), F_OK) == 0;
  const char* why = failed != ENOENT ? ::strerror(failed)
                    : there          ? "what its first line (#!) names to run it is not there"
                                     : "command not found";
  say(name + ": " + why);
}

bool put(const std::string& text) {
  if (write_all(STDOUT_FILENO, text)) return true;
  if (errno != EPIPE) say_last(sys_error(errno, "cannot write the output").message);
  return false;
}

}  // namespace berth
