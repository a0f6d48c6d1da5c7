// Small files of /proc, for what berth says about processes. Nothing is decided by them.
#pragma once

#include <string>

namespace berth {

// At most 64 KiB of it; "" where it cannot be read.
[[nodiscard]] std::string read_proc_file(const std::string& path);

}  // namespace berth
