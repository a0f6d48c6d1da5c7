// IndexSet: which resources or devices of a snapshot something is about.
//
// Nearly every pool has less than 64 of either, and one word says it all. What lies beyond - a
// stranger may name as many devices as he has records for - is a sorted list, so that a set is never
// larger than the claim it was made from, however long the snapshot's tables are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace berth {

class IndexSet {
 public:
  void add(uint16_t index) {
    if (index < in_word) {
      low_ |= uint64_t{1} << index;
      return;
    }
    const auto at = std::lower_bound(high_.begin(), high_.end(), index);
    if (at == high_.end() || *at != index) high_.insert(at, index);
  }
  [[nodiscard]] bool empty() const { return low_ == 0 && high_.empty(); }
  // Whether every element of this one is an element of `other`.
  [[nodiscard]] bool within(const IndexSet& other) const {
    if ((low_ & ~other.low_) != 0 || high_.size() > other.high_.size()) return false;
    return std::includes(other.high_.begin(), other.high_.end(), high_.begin(), high_.end());
  }
  // Whether they have an element in common.
  [[nodiscard]] bool meets(const IndexSet& other) const {
    if ((low_ & other.low_) != 0) return true;
    auto theirs = other.high_.begin();
    for (const uint16_t index : high_) {
      while (theirs != other.high_.end() && *theirs < index) ++theirs;
      if (theirs == other.high_.end()) return false;
      if (*theirs == index) return true;
    }
    return false;
  }
  friend bool operator==(const IndexSet&, const IndexSet&) = default;

 private:
  static constexpr uint16_t in_word = 64;
  uint64_t low_ = 0;
  std::vector<uint16_t> high_;  // sorted, from in_word on
};

}  // namespace berth
