// What berth says to people: one line on stderr, always with its name in front. stdout is for data.
#pragma once

#include <string>

#include "base/result.h"

namespace berth {

// Does not stand still where nobody reads: a line that finds no room in a tenth of a second is dropped, and while
// it is full every one at once. Signals are blocked where this is called, and others wait.
void say(const std::string& sentence);
// For the last line before the end, which has a second.
void say_last(const std::string& sentence);
// The same of a line that goes to stderr as it is.
void put_last(const std::string& line);
// Says the error and returns the exit status that goes with it.
[[nodiscard]] int fail(const Error& error);
[[nodiscard]] int fail_usage(const std::string& verb, const std::string& sentence);

// Why a command could not be started, by execve()'s errno.
void say_not_started(const std::string& command, int failed);

// Writes data to stdout; false (and a sentence) where that fails, as on a full disk.
[[nodiscard]] bool put(const std::string& text);

}  // namespace berth
