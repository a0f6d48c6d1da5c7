#include "core/processors.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace berth {
namespace {

TEST(ProcessorList, IsReadAndWrittenAsTheKernelDoes) {
  for (const char* text : {"0", "0-3", "0-3,8", "1,3,5-6", "8191", "0-8191"}) {
    const auto spans = parse_processors(text);
    ASSERT_TRUE(spans) << text;
    EXPECT_EQ(show_processors(*spans), text);
    EXPECT_EQ(static_cast<size_t>(count_of(*spans)), processor_set(*spans).count());
  }
  for (const char* text : {"", ",", "0,", ",0", "3-1", "0-", "-3", "1,1", "2,1", "0-3,3", "8192", "0-8192", "0 ", "a",
                           "0-1-2", "99999999999999999999"})
    EXPECT_FALSE(parse_processors(text)) << text;
}

RC_GTEST_PROP(ProcessorList, RoundTrips, ()) {
  ProcessorSet set;
  for (const int n : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 200))) set.set(static_cast<size_t>(n));
  const auto spans = spans_of(set);
  RC_ASSERT(processor_set(spans) == set);
  if (set.any()) RC_ASSERT(parse_processors(show_processors(spans, '.'), '.') == spans);
}

RC_GTEST_PROP(ProcessorList, NoGarbageDoesHarm, (const std::string& text)) {
  if (const auto spans = parse_processors(text)) RC_ASSERT(processor_set(*spans).any());
}

}  // namespace
}  // namespace berth
