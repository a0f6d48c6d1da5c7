#include "run/affinity.h"

#include <set>
#include <string>

#include "base/small_file.h"
#include "base/text.h"
#include "run/process_tree.h"

namespace berth {

namespace {

constexpr size_t word_bits = sizeof(unsigned long) * 8;

cpu_set_t* as_cpu_set(unsigned long* words) { return reinterpret_cast<cpu_set_t*>(words); }  // NOLINT: sched.h's type

}  // namespace

AffinityMask::AffinityMask(const ProcessorSet& set) {
  for (size_t i = 0; i < set.size(); ++i) {
    if (!set[i]) continue;
    words_.resize(i / word_bits + 1);
    words_.back() |= 1UL << i % word_bits;
  }
}

bool AffinityMask::apply(pid_t thread) const {
  return ::sched_setaffinity(thread, words_.size() * sizeof(unsigned long),
                             reinterpret_cast<const cpu_set_t*>(words_.data())) == 0;  // NOLINT: sched.h's type
}

ProcessorSet allowed_processors() {
  ProcessorSet out;
  std::vector<unsigned long> words(max_processors / word_bits);
  if (::sched_getaffinity(0, words.size() * sizeof(unsigned long), as_cpu_set(words.data())) != 0) return out;
  for (size_t i = 0; i < max_processors; ++i)
    if ((words[i / word_bits] >> i % word_bits & 1UL) != 0) out.set(i);
  return out;
}

void confine_tree(pid_t root, const ProcessorSet& set) {
  const AffinityMask mask(set);
  if (mask.empty()) return;
  constexpr int most_rounds = 5;
  std::set<pid_t> done;
  bool found = true;
  for (int round = 0; round < most_rounds && found; ++round) {
    found = false;
    for (const pid_t process : tree_of(root)) {
      const auto threads = list_names("/proc/" + std::to_string(process) + "/task");
      if (!threads) continue;
      for (const std::string& name : *threads) {
        const auto thread = parse_count(name);
        if (!thread || !done.insert(static_cast<pid_t>(*thread)).second) continue;
        found = true;
        (void)mask.apply(static_cast<pid_t>(*thread));
      }
    }
  }
}

}  // namespace berth
