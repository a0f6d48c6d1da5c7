#include "sched/neighbours.h"

#include <algorithm>
#include <array>
#include <tuple>

namespace berth {

namespace {

// How many of `fit` are in each group.
using Sizes = std::array<size_t, 256>;
Sizes sizes_of(const std::vector<const Eligible*>& fit, uint8_t Eligible::*group) {
  Sizes sizes{};
  for (const Eligible* e : fit) ++sizes[e->*group];
  return sizes;
}

// Less is better: a group with enough before one without; among those the smallest, among these the largest.
std::pair<bool, size_t> fitness(size_t size, size_t count) {
  return size >= count ? std::pair(false, size) : std::pair(true, SIZE_MAX - size);
}

}  // namespace

void prefer_neighbours(std::vector<const Eligible*>& fit, size_t count) {
  if (std::all_of(fit.begin(), fit.end(),
                  [&](const Eligible* e) { return e->link == fit.front()->link && e->numa == fit.front()->numa; }))
    return;
  const Sizes links = sizes_of(fit, &Eligible::link);
  const Sizes nodes = sizes_of(fit, &Eligible::numa);
  const auto suffices = [&](size_t size) { return size >= count; };
  // Who has to straddle links had better stay on one node; who straddles both takes the largest links.
  const bool node_first =
      std::none_of(links.begin(), links.end(), suffices) && std::any_of(nodes.begin(), nodes.end(), suffices);
  // Of groups that are equally good all members stand together: the group number tells them apart.
  const auto rank = [&](const Eligible* e) {
    const auto link = std::tuple(fitness(links[e->link], count), e->link);
    const auto node = std::tuple(fitness(nodes[e->numa], count), e->numa);
    return std::pair(node_first ? node : link, node_first ? link : node);
  };
  std::stable_sort(fit.begin(), fit.end(), [&](const Eligible* a, const Eligible* b) { return rank(a) < rank(b); });
}

}  // namespace berth
