#include "sched/own_processors.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

namespace berth {
namespace {

// As many threads a core, cores a cache, caches a node as asked for. Threads are numbered as Linux does on most
// machines: the first of every core, then the second ones.
std::vector<Processor> machine(int nodes, int caches, int cores, int threads) {
  std::vector<Processor> out;
  const int all_cores = nodes * caches * cores;
  for (int thread = 0; thread < threads; ++thread)
    for (int core = 0; core < all_cores; ++core)
      out.push_back({static_cast<uint16_t>(thread * all_cores + core), static_cast<uint32_t>(core),
                     static_cast<uint32_t>(core / cores * cores), core / (cores * caches)});
  return out;
}

ProcessorSet all_of(const std::vector<Processor>& machine) {
  ProcessorSet out;
  for (const Processor& p : machine) out.set(p.number);
  return out;
}

ProcessorSet set_of(const char* text) { return processor_set(*parse_processors(text)); }

std::string chosen(const std::vector<Processor>& machine, const ProcessorSet& free, int64_t count,
                   const std::vector<int>& near = {}) {
  return show_processors(spans_of(choose_processors(machine, free, count, near)));
}

TEST(OwnProcessors, AreWholeCores) {
  const auto smt = machine(1, 1, 4, 2);  // 0-3 and their second threads 4-7
  EXPECT_EQ(chosen(smt, all_of(smt), 2), "0,4");
  EXPECT_EQ(chosen(smt, all_of(smt), 4), "0-1,4-5");
  EXPECT_EQ(chosen(smt, all_of(smt), 3), "0-1,4");
  EXPECT_EQ(chosen(smt, all_of(smt), 8), "0-7");
  // Of a core of which somebody has the first thread the second one is left for an odd end.
  EXPECT_EQ(chosen(smt, all_of(smt) & ~set_of("0"), 1), "4");
  EXPECT_EQ(chosen(smt, all_of(smt) & ~set_of("0"), 2), "1,5");
  EXPECT_EQ(chosen(smt, all_of(smt) & ~set_of("0"), 3), "1,4-5");
  // Where there is nothing better, threads of several cores.
  EXPECT_EQ(chosen(smt, set_of("0,1,2"), 2), "0-1");
}

TEST(OwnProcessors, AreNone) {
  const auto smt = machine(1, 1, 4, 2);
  EXPECT_EQ(chosen(smt, all_of(smt), 9), "");
  EXPECT_EQ(chosen(smt, set_of("0-2"), 4), "");
  EXPECT_EQ(chosen(smt, all_of(smt), 0), "");
  EXPECT_EQ(chosen(smt, set_of("0-100"), 9), "") << "of those that there are";
  EXPECT_EQ(chosen({}, set_of("0-100"), 1), "");
}

TEST(OwnProcessors, AreNearTheDevices) {
  const auto two = machine(2, 2, 2, 1);  // nodes 0-3 and 4-7
  EXPECT_EQ(chosen(two, all_of(two), 2, {1}), "4-5");
  EXPECT_EQ(chosen(two, all_of(two), 4, {1}), "4-7");
  EXPECT_EQ(chosen(two, all_of(two), 6, {1}), "0-1,4-7");
  EXPECT_EQ(chosen(two, all_of(two) & ~set_of("4-6"), 2, {1}), "0,7") << "one beside it is better than none";
  EXPECT_EQ(chosen(two, all_of(two), 2, {7}), "0-1") << "a node that there is none of";
}

TEST(OwnProcessors, LieTogetherAndFillTheSmallestGap) {
  const auto two = machine(2, 2, 2, 1);
  EXPECT_EQ(chosen(two, all_of(two), 4), "0-3");
  EXPECT_EQ(chosen(two, all_of(two) & ~set_of("0"), 4), "4-7");
  EXPECT_EQ(chosen(two, all_of(two) & ~set_of("0"), 2), "2-3") << "the node with a gap, the cache without";
  EXPECT_EQ(chosen(two, all_of(two) & ~set_of("0"), 1), "1");
  EXPECT_EQ(chosen(two, all_of(two) & ~set_of("0"), 5), "1,4-7") << "the larger node first";
}

// Any machine, anything taken on it, any claim.
struct Case {
  std::vector<Processor> machine;
  ProcessorSet free;
  int64_t count = 0;
  std::vector<int> near;
};

Case any_case() {
  Case out;
  const auto few = [] { return *rc::gen::inRange(1, 4); };
  const int nodes = few();
  out.machine = machine(nodes, few(), few(), few());
  for (const Processor& p : out.machine)
    if (*rc::gen::inRange(0, 3) > 0) out.free.set(p.number);
  out.count = *rc::gen::inRange(0, static_cast<int>(out.machine.size()) + 2);
  for (int node = 0; node < nodes; ++node)
    if (*rc::gen::inRange(0, 3) == 0) out.near.push_back(node);
  return out;
}

RC_GTEST_PROP(OwnProcessorsAlways, AreAsManyAsAskedForOfThoseThatAreFree, ()) {
  const Case c = any_case();
  const ProcessorSet got = choose_processors(c.machine, c.free, c.count, c.near);
  RC_ASSERT((got & ~c.free).none());
  const bool enough = c.count > 0 && static_cast<int64_t>(c.free.count()) >= c.count;
  RC_ASSERT(static_cast<int64_t>(got.count()) == (enough ? c.count : 0));
  RC_ASSERT(choose_processors(c.machine, c.free, c.count, c.near) == got);
}

RC_GTEST_PROP(OwnProcessorsAlways, TakeAllThatIsNearBeforeWhatIsFar, ()) {
  const Case c = any_case();
  const ProcessorSet got = choose_processors(c.machine, c.free, c.count, c.near);
  if (got.none()) return;
  ProcessorSet near;
  for (const Processor& p : c.machine)
    if (std::find(c.near.begin(), c.near.end(), p.node) != c.near.end()) near.set(p.number);
  const bool all_near = (got & ~near).none();
  const bool none_left_near = (c.free & near & ~got).none();
  RC_ASSERT(all_near || none_left_near);
}

// The fewest that could do: the largest ones, taken together.
RC_GTEST_PROP(OwnProcessorsAlways, LieInAsFewNodesAsCanBe, ()) {
  Case c = any_case();
  c.near.clear();
  const ProcessorSet got = choose_processors(c.machine, c.free, c.count, c.near);
  if (got.none()) return;
  std::map<int, int64_t> free;
  std::set<int> used;
  for (const Processor& p : c.machine) {
    if (c.free[p.number]) ++free[p.node];
    if (got[p.number]) used.insert(p.node);
  }
  std::multiset<int64_t, std::greater<>> sizes;
  for (const auto& [node, count] : free) sizes.insert(count);
  int64_t left = c.count;
  size_t fewest = 0;
  for (auto size = sizes.begin(); left > 0; ++size, ++fewest) left -= *size;
  RC_ASSERT(used.size() == fewest);
}

// Who is alone on the machine shares no core with anybody but for one.
RC_GTEST_PROP(OwnProcessorsAlways, BreakOneCoreAtMostOfAnEmptyMachine, ()) {
  Case c = any_case();
  c.free = all_of(c.machine);
  const ProcessorSet got = choose_processors(c.machine, c.free, c.count, c.near);
  std::map<uint32_t, std::pair<int, int>> cores;  // of how many threads we have how many
  for (const Processor& p : c.machine) {
    ++cores[p.core].first;
    cores[p.core].second += got[p.number] ? 1 : 0;
  }
  int broken = 0;
  for (const auto& [core, threads] : cores) broken += threads.second != 0 && threads.second != threads.first ? 1 : 0;
  RC_ASSERT(broken <= 1);
}

}  // namespace
}  // namespace berth
