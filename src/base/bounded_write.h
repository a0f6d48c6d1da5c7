// A write that gives up: for descriptors that are others' as well, and that nobody may be reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace berth {

// Writes `text` as far as `fd` takes it within that time, and returns how much that was. O_NONBLOCK is never set
// on `fd`: its open description is everybody's who inherited it.
[[nodiscard]] size_t write_within(int fd, std::string_view text, int64_t patience_us);

}  // namespace berth
