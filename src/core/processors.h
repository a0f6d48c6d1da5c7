// Processors: sets of the machine's logical CPUs, by the kernel's numbers.
//
// Two shapes. A ProcessorSet is for arithmetic; spans are how a record and a snapshot hold one, and what the
// kernel's own lists look like: "0-3,8" (cpuset(7), "List format").
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

inline constexpr size_t max_processors = 8192;  // what x86-64's kernels can be built for, and nobody has more

using ProcessorSet = std::bitset<max_processors>;

// One logical CPU. Of two with equal numbers it is the same core, cache or node; 0 for all where the kernel does
// not say.
struct Processor {
  uint16_t number = 0;
  uint32_t core = 0;
  uint32_t cache = 0;  // the last level
  int node = 0;        // NUMA
  friend bool operator==(const Processor&, const Processor&) = default;
};

// From `first` to `last`, both of them in it.
struct ProcessorSpan {
  uint16_t first = 0;
  uint16_t last = 0;
  friend bool operator==(const ProcessorSpan&, const ProcessorSpan&) = default;
};

// In order, and none touches the next.
[[nodiscard]] std::vector<ProcessorSpan> spans_of(const ProcessorSet& set);
[[nodiscard]] ProcessorSet processor_set(std::span<const ProcessorSpan> spans);
[[nodiscard]] int64_t count_of(std::span<const ProcessorSpan> spans);

// "0-3,8"; "" for none. Any separator will do.
[[nodiscard]] std::string show_processors(std::span<const ProcessorSpan> spans, char separator = ',');
// The same, read. nullopt for anything that is no list in order: an empty one is none.
[[nodiscard]] std::optional<std::vector<ProcessorSpan>> parse_processors(std::string_view text, char separator = ',');

}  // namespace berth
