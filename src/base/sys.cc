#include "base/sys.h"

#include <ctime>

namespace berth {

namespace {
int64_t read_clock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
}
}  // namespace

int64_t wall_us() { return read_clock(CLOCK_REALTIME); }
int64_t monotonic_us() { return read_clock(CLOCK_MONOTONIC); }

void sleep_us(int64_t us) {
  const timespec length{us / 1'000'000, us % 1'000'000 * 1000};
  ::nanosleep(&length, nullptr);
}

}  // namespace berth
