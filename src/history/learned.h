// Learned: how long a job will take, by how long those of its label, else of its command, took before.
//
// Whoever takes jobs into the database works it out and leaves the answers in a small file, so that a start
// costs one open and one read and no database. An estimate is a high quantile of the last runs that ended
// well, and nothing is learned from one or two: a job that ends sooner than was said harms nobody, one that
// goes on does.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "history/job.h"
#include "history/where.h"
#include "sched/estimate.h"

namespace berth {

inline constexpr size_t max_learned = 1'000;  // labels and commands; the longest unused go

// What stands for a label or a command in database and file.
[[nodiscard]] uint64_t learned_key(std::string_view text);

// Whether it says how long the next of its kind will take: it had its place, ran, and ended well.
[[nodiscard]] bool teaches_duration(const Job& job);

struct Lesson {
  bool by_label = false;
  uint64_t key = 0;
  int64_t expect_s = 0;
  friend bool operator==(const Lesson&, const Lesson&) = default;
};

// The file's text and back; lines "l|c KEY SECONDS", latest last. Takes any bytes.
[[nodiscard]] std::string encode_lessons(std::span<const Lesson> lessons);
[[nodiscard]] std::vector<Lesson> decode_lessons(std::string_view text);
// `fresh` after those of `old` that it does not replace, within the bound.
[[nodiscard]] std::vector<Lesson> merge_lessons(std::span<const Lesson> old, std::span<const Lesson> fresh);

// Replaces the file as a whole. Requires history.lock. A failure is nobody's trouble.
void add_lessons(const Where& where, std::span<const Lesson> fresh);

// The estimate for a job of this label ("" for none) and command, as command_line() writes that; nullopt:
// nothing is known. One open and one read in the user's home, no lock.
[[nodiscard]] std::optional<int64_t> learned_expect_s(std::string_view label, std::string_view command);
[[nodiscard]] std::optional<int64_t> learned_expect_s(const Where& where, std::string_view label,
                                                      std::string_view command);

}  // namespace berth
