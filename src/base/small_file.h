// Files that a kernel makes up, of /proc and /sys, or recordings of them.
//
// Such a file may be gone between the listing and the opening, may be refused, may hold anything. None of
// that is an accident: a value that cannot be had is nullopt, and nobody fails for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace berth {

// The first `most` bytes of a file. The error's errno says why there is none.
[[nodiscard]] Result<std::string> read_text(const std::string& path, size_t most = 65536);

// The same without white space at its end; nullopt where it cannot be read or is empty.
[[nodiscard]] std::optional<std::string> read_word(const std::string& path);

// A file that holds one decimal number and nothing else.
[[nodiscard]] std::optional<int64_t> read_count(const std::string& path);

// The names in a directory without "." and "..", sorted; at most `most` of them.
[[nodiscard]] Result<std::vector<std::string>> list_names(const std::string& path, size_t most = 65536);

}  // namespace berth
