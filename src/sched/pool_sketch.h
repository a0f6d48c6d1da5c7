// PoolSketch: a snapshot for a test, said in a few words. Parties are numbered from 0 as they come.
//
//   PoolSketch pool({{"cpu", 2}});
//   pool.holds(cpu(1));  pool.waits(cpu(2));  pool.waits(cpu(1), /*priority=*/1);
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "core/snapshot.h"
#include "ledger/record.h"
#include "sched/plan.h"

namespace berth {

class PoolSketch {
 public:
  explicit PoolSketch(const std::vector<NamedAmount>& capacities) {
    for (const NamedAmount& c : capacities) snapshot.resources.push_back({c.name, c.amount});
  }

  // On these devices, by their place among the claim's eligible ones.
  int holds(const Claim& claim, std::vector<uint16_t> grant = {}) {
    return add(claim, PartyState::held, 0, std::move(grant));
  }
  int waits(const Claim& claim, int priority = 0) { return add(claim, PartyState::waiting, priority, {}); }
  // Whose the parties that are added from now on are.
  void as_user(std::string dir) { dir_ = std::move(dir); }

  Snapshot snapshot;

 private:
  int add(const Claim& claim, PartyState state, int priority, std::vector<uint16_t> grant) {
    const auto number = static_cast<int>(snapshot.parties.size());
    Record record;
    record.id.text.fill('a');
    record.id.text[7] = static_cast<char>('a' + number / (26 * 26));
    record.id.text[8] = static_cast<char>('a' + number / 26 % 26);
    record.id.text[9] = static_cast<char>('a' + number % 26);
    record.dir = dir_;
    record.arrival_us = 1'000'000 + number;
    record.state = state;
    record.priority = priority;
    record.claim = claim;
    record.grant = std::move(grant);
    EXPECT_EQ(decode_record(record_name(record), record_target(record), snapshot), Decoded::ok);
    return number;
  }

  std::string dir_ = "1001";
};

// "seat wait impossible -" for the parties in the order of their numbers.
inline std::string verdicts(const Plan& plan) {
  std::string out;
  for (const Verdict v : plan.verdicts) {
    if (!out.empty()) out += ' ';
    out += v == Verdict::seat ? "seat" : v == Verdict::wait ? "wait" : v == Verdict::impossible ? "impossible" : "-";
  }
  return out;
}

// Claims, over cards A (24), B (16) and C (24) unless they say otherwise.
inline Claim counts(std::vector<NamedAmount> amounts) { return {std::move(amounts), {}, {}}; }
inline Claim cpu(int64_t n) { return counts({{"cpu", n}}); }
inline Claim cards(int count, std::vector<DeviceRef> on = {{"A", 24}, {"B", 16}, {"C", 24}}) {
  return {{}, {count, true, 0, 0}, std::move(on)};
}
inline Claim share(int64_t vram_bytes, std::vector<DeviceRef> on = {{"A", 24}, {"B", 16}, {"C", 24}}, int count = 1) {
  return {{}, {count, false, vram_bytes, 0}, std::move(on)};
}
inline Claim with(Claim claim, std::vector<NamedAmount> amounts) {
  claim.counters = std::move(amounts);
  return claim;
}

}  // namespace berth
