// How long a plan takes, by how many stand in line: a box of cards and processors that is full, every claim
// with its expected end, then without. Median of many plans over one snapshot; and the whole plan, which
// also says when everybody will start.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <vector>

#include "sched/plan.h"

namespace {

using namespace berth;

constexpr int64_t now_us = 1'000'000'000'000;

// 100 holders on 16 cards and 512 processors, and `waiters` who want from a little to nearly all.
Snapshot crowd(int holders, int waiters, bool estimates) {
  std::mt19937 random(7);
  const auto below = [&](uint32_t n) { return static_cast<int64_t>(random() % n); };
  Snapshot s;
  s.now_us = now_us;
  s.resources = {{"cpu", 512}, {"ram", 2048}};
  for (int d = 0; d < 16; ++d) s.devices.push_back("GPU-" + std::to_string(d));
  for (int i = 0; i < holders + waiters; ++i) {
    const bool held = i < holders;
    Party p;
    p.id.text.fill('a');
    for (int digit = 9, rest = i; digit > 4; --digit, rest /= 26)
      p.id.text[static_cast<size_t>(digit)] = static_cast<char>('a' + rest % 26);
    static_cast<PartyKey&>(p) = PartyKey::of(p.id, "1000");
    p.state = held ? PartyState::held : PartyState::waiting;
    p.arrival_us = now_us - 1'000'000 * (holders + waiters - i);
    p.seated_us = held ? p.arrival_us : 0;
    if (estimates) p.expect_s = held ? holders + waiters + 60 + below(7200) : 60 + below(7200);
    p.counters = {static_cast<uint32_t>(s.amounts.size()), 2};
    s.amounts.push_back({0, held ? 5 : 1 + below(below(4) == 0 ? 256 : 16)});
    s.amounts.push_back({1, held ? 20 : 4 + below(64)});
    if (held ? i < 32 : below(2) == 0) {
      p.gpu.count = held ? 1 : static_cast<int>(1 + below(below(4) == 0 ? 8 : 1));
      p.gpu.whole = !held && below(2) == 0;
      if (!p.gpu.whole) p.gpu.vram_bytes = held ? 30 : 10 + below(50);
      p.eligible = {static_cast<uint32_t>(s.eligibles.size()), 16};
      for (uint16_t d = 0; d < 16; ++d) s.eligibles.push_back({d, static_cast<uint8_t>(d), 0, 0, 80});
    }
    s.parties.push_back(p);
    if (held && p.gpu.count > 0) s.grant(s.parties.size() - 1, {static_cast<uint16_t>(i % 16)});
  }
  return s;
}

double median_us(const Snapshot& s, Extent extent) {
  std::vector<double> took;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (took.size() < 20 || std::chrono::steady_clock::now() < until) {
    const auto began = std::chrono::steady_clock::now();
    const Plan p = plan(s, {}, extent);
    took.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began).count());
    if (p.line.empty() != s.parties.empty() && p.verdicts.empty()) return -1;
  }
  std::nth_element(took.begin(), took.begin() + static_cast<std::ptrdiff_t>(took.size() / 2), took.end());
  return took[took.size() / 2];
}

}  // namespace

int main() {
  std::printf("%-34s %14s %14s %14s\n", "plan(), 100 holders, us", "no estimates", "estimates", "and all starts");
  for (const int waiters : {0, 10, 100, 1000, 3000, 10000}) {
    const double silent = median_us(crowd(100, waiters, false), Extent::seats);
    const Snapshot timed = crowd(100, waiters, true);
    std::printf("%-34s %14.1f %14.1f %14.1f\n", (std::to_string(waiters) + " waiters").c_str(), silent,
                median_us(timed, Extent::seats), median_us(timed, Extent::everybody));
  }
  return 0;
}
