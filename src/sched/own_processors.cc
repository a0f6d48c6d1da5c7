#include "sched/own_processors.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace berth {

namespace {

// The free threads of one core.
struct Core {
  std::vector<uint16_t> threads;
  bool whole = true;  // nobody else has one of them
};

using Caches = std::map<uint32_t, std::vector<Core>>;

// What is free in a group, and how much of that on whole cores.
struct Room {
  int64_t threads = 0;
  int64_t on_whole_cores = 0;
};

Room room_of(const std::vector<Core>& cores) {
  Room out;
  for (const Core& core : cores) {
    const auto threads = static_cast<int64_t>(core.threads.size());
    out.threads += threads;
    if (core.whole) out.on_whole_cores += threads;
  }
  return out;
}

Room room_of(const Caches& caches) {
  Room out;
  for (const auto& [cache, cores] : caches) {
    const Room room = room_of(cores);
    out.threads += room.threads;
    out.on_whole_cores += room.on_whole_cores;
  }
  return out;
}

// Less suits better: first where the claim fits, sharing no core but for its odd end, which is `odd` threads; then
// where it fits; the smallest of those. Where it fits nowhere the largest comes first.
std::tuple<int, int64_t> fitness(const Room& room, int64_t count, int64_t odd) {
  if (room.threads < count) return {2, -room.threads};
  return {count - room.on_whole_cores > odd ? 1 : 0, room.threads};
}

// Whole cores as long as one fits, then the threads of cores that are shared as it is, and only then a part of
// a whole one.
void take_cores(std::vector<Core> cores, int64_t& count, ProcessorSet& out) {
  const auto take = [&](const Core& core) {
    for (const uint16_t thread : core.threads) {
      if (count == 0) return;
      out.set(thread);
      --count;
    }
  };
  std::vector<Core> left;
  for (Core& core : cores) {
    if (core.whole && static_cast<int64_t>(core.threads.size()) <= count)
      take(core);
    else
      left.push_back(std::move(core));
  }
  std::stable_sort(left.begin(), left.end(), [](const Core& a, const Core& b) { return a.whole < b.whole; });
  for (const Core& core : left) take(core);
}

void take_caches(Caches caches, int64_t width, int64_t& count, ProcessorSet& out) {
  while (count > 0 && !caches.empty()) {
    const auto best = std::min_element(caches.begin(), caches.end(), [&](const auto& a, const auto& b) {
      return fitness(room_of(a.second), count, count % width) < fitness(room_of(b.second), count, count % width);
    });
    take_cores(best->second, count, out);
    caches.erase(best);
  }
}

}  // namespace

ProcessorSet choose_processors(const std::vector<Processor>& machine, const ProcessorSet& free, int64_t count,
                               const std::vector<int>& near) {
  // Caches of one node, cores of one cache. A core is told by its first thread's place.
  std::map<int, std::map<uint32_t, std::map<uint32_t, Core>>> cores;
  int64_t present = 0;
  std::map<uint32_t, int64_t> threads;  // of each core
  int64_t width = 1;                    // of the widest
  for (const Processor& p : machine) {
    Core& core = cores[p.node][p.cache][p.core];
    width = std::max(width, ++threads[p.core]);
    if (free[p.number]) {
      core.threads.push_back(p.number);
      ++present;
    } else {
      core.whole = false;
    }
  }
  ProcessorSet out;
  if (count <= 0 || present < count) return out;
  std::map<int, Caches> nodes;
  for (auto& [node, caches] : cores)
    for (auto& [cache, of_cache] : caches)
      for (auto& [number, core] : of_cache)
        if (!core.threads.empty()) nodes[node][cache].push_back(std::move(core));
  const auto is_near = [&](int node) { return std::find(near.begin(), near.end(), node) != near.end(); };
  while (count > 0) {
    const auto best = std::min_element(nodes.begin(), nodes.end(), [&](const auto& a, const auto& b) {
      if (is_near(a.first) != is_near(b.first)) return is_near(a.first);
      return fitness(room_of(a.second), count, count % width) < fitness(room_of(b.second), count, count % width);
    });
    take_caches(best->second, width, count, out);
    nodes.erase(best);
  }
  return out;
}

}  // namespace berth
