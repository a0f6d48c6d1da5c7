#include "core/index_set.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <set>

namespace berth {
namespace {

std::set<uint16_t> any_set() {
  return *rc::gen::container<std::set<uint16_t>>(rc::gen::oneOf(
      rc::gen::inRange<uint16_t>(0, 8), rc::gen::inRange<uint16_t>(60, 70), rc::gen::inRange<uint16_t>(65530, 65535)));
}

IndexSet indices(const std::set<uint16_t>& elements) {
  IndexSet out;
  for (const uint16_t e : elements) out.add(e);
  for (const uint16_t e : elements) out.add(e);  // twice is once
  return out;
}

RC_GTEST_PROP(IndexSets, BehaveAsSets, ()) {
  const auto a = any_set();
  const auto b = any_set();
  const bool meet = std::any_of(a.begin(), a.end(), [&](uint16_t e) { return b.contains(e); });
  RC_ASSERT(indices(a).meets(indices(b)) == meet);
  RC_ASSERT(indices(a).within(indices(b)) == std::includes(b.begin(), b.end(), a.begin(), a.end()));
  RC_ASSERT((indices(a) == indices(b)) == (a == b));
  RC_ASSERT(indices(a).empty() == a.empty());
}

}  // namespace
}  // namespace berth
