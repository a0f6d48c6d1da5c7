// What berth says to people: one line on stderr, always with its name in front. stdout is for data.
#pragma once

#include <string>

#include "base/result.h"

namespace berth {

void say(const std::string& sentence);
// Says the error and returns the exit status that goes with it.
[[nodiscard]] int fail(const Error& error);
[[nodiscard]] int fail_usage(const std::string& verb, const std::string& sentence);

// Writes data to stdout; false (and a sentence) where that fails, as on a full disk.
[[nodiscard]] bool put(const std::string& text);

}  // namespace berth
