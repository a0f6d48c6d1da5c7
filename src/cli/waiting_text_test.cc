#include "cli/waiting_text.h"

#include <gtest/gtest.h>

#include "cli/table.h"

namespace berth {
namespace {

constexpr int64_t minute_s = 60;

InTheWay alices() { return {"GPU 0", "train-llama", "alice", 40 * minute_s, true, false}; }
InTheWay bobs() { return {"GPU 1", "chat", "bob", std::nullopt, false, false}; }
InTheWay carols() { return {"GPU 0", "render", "carol", -1, false, false}; }
InTheWay asked(InTheWay holder) {
  holder.asked = true;
  return holder;
}

TEST(WaitingText, SaysWhoHasItForHowLongAndWhoIsAhead) {
  struct Case {
    WaitingWords words;
    const char* text;
  };
  const Case cases[] = {
      {{"24 GiB on 1 GPU", {alices()}, 0, "", 2, 35 * minute_s},
       "24 GiB on 1 GPU: GPU 0 is held by train-llama (alice, 40 min left, reclaimable), about 35 min; 2 ahead of you"},
      {{"2 GPUs", {alices(), bobs(), carols()}, 2, "", 0, std::nullopt},
       "2 GPUs: GPU 0 is held by train-llama (alice, 40 min left, reclaimable), render (carol, overdue); "
       "GPU 1 by chat (bob) and 2 more, no telling how long"},
      {{"1 cpu", {}, 0, "", 3, std::nullopt}, "1 cpu: no telling how long; 3 ahead of you"},
      {{"1 cpu", {}, 0, "", 0, 0}, "1 cpu: about to start"},
      {{"1 GPU", {}, 0, "GPU 0: pid 12 uses 8 GiB", 0, std::nullopt}, "1 GPU: GPU 0: pid 12 uses 8 GiB"},
      {{"1 GPU", {bobs()}, 0, "GPU 0: pid 12 uses 8 GiB", 1, 90},
       "1 GPU: GPU 1 is held by chat (bob); GPU 0: pid 12 uses 8 GiB, about 1 min; 1 ahead of you"},
      {{"1 GPU", {}, 0, "", 0, std::nullopt}, "1 GPU"},
      {{"1 cpu", {{"cpu 0-3", "train", "alice", std::nullopt, false, false}}, 0, "others have them", 0, 90, true},
       "1 cpu: others have them: cpu 0-3 is held by train (alice), about 1 min"},
      {{"1 GPU", {asked(alices()), bobs()}, 0, "", 0, std::nullopt},
       "1 GPU: GPU 0 is held by train-llama (alice, 40 min left, asked to give way); GPU 1 by chat (bob)"},
      {{"1 GPU", {asked(alices())}, 0, "", 1, std::nullopt, false, false},
       "1 GPU: GPU 0 is held by train-llama (alice, 40 min left, would be asked to give way); 1 ahead of you"},
  };
  for (const Case& c : cases) EXPECT_EQ(waiting_text(c.words), c.text);
}

TEST(WaitingText, ALineFitsAnyWindowAndSaysAsMuchAsItCan) {
  const WaitingWords words{"2 GPUs", {alices(), bobs(), carols()}, 2, "", 4, 35 * minute_s};
  for (size_t columns = 1; columns < 200; ++columns)
    EXPECT_LE(longest_line(waiting_line("waiting for ", words, columns)), columns);
  EXPECT_EQ(waiting_line("waiting for ", words, 300), "waiting for " + waiting_text(words));
  EXPECT_EQ(waiting_line("", words, 60), "2 GPUs: about 35 min; 4 ahead of you");
  EXPECT_EQ(waiting_line("", words, 80),
            "2 GPUs: GPU 0 is held by train-llama and 4 more, about 35 min; 4 ahead of you");
  EXPECT_EQ(waiting_line("", words, 20), "2 GPUs: about 35 ...");
}

}  // namespace
}  // namespace berth
