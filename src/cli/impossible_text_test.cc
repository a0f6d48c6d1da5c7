#include "cli/impossible_text.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

constexpr int64_t gib = int64_t{1} << 30;

Device card(int index, int64_t size_gib) {
  Device d;
  d.index = index;
  d.vendor = "nvidia";
  d.vendor_index = index;
  d.uuid = "GPU-" + std::to_string(index);
  d.vram_total_bytes = size_gib * gib;
  return d;
}

// As the words of a command line and the variable say, on cards of 24, 24 and 48 GiB.
std::string text_for(std::vector<std::string> words, const InheritedVisibility& inherited = {}) {
  const std::vector<Device> devices{card(0, 24), card(1, 24), card(2, 48)};
  words.emplace_back("true");
  const auto options = parse_run(words);
  if (!options.ok()) return options.error().message;
  const auto refs = eligible_devices(*options, devices, inherited);
  if (!refs.ok()) return refs.error().message;
  const GpuClaim& gpu = options->claim.gpu;
  const auto left = static_cast<int64_t>(refs->size());
  std::vector<Shortfall> lacking;
  if (left < gpu.count) {
    lacking.push_back({"gpu", gpu.count, left});
  } else {
    int64_t largest = 0;
    for (const DeviceRef& d : *refs) largest = std::max(largest, d.vram_bytes);
    if (gpu.vram_bytes > largest) lacking.push_back({"vram", gpu.vram_bytes, largest});
  }
  return lacking.empty() ? "possible" : impossible_text(lacking, *options, devices, inherited);
}

TEST(ImpossibleText, NamesTheFilterAtFault) {
  struct Case {
    std::vector<std::string> words;
    InheritedVisibility inherited;
    const char* text;
  };
  const Case cases[] = {
      {{"--gpus", "4"}, {}, "it asks for 4 GPUs, but there are 3"},
      {{"--gpus", "4", "--only", "0"}, {}, "it asks for 4 GPUs, but there are 3"},
      {{"--gpus", "2", "--only", "0"}, {}, "it asks for 2 GPUs, but --only 0 leaves 1 of the 3 here"},
      {{"--gpus", "3", "--exclude", "1,2"}, {}, "it asks for 3 GPUs, but --exclude 1,2 leaves 1 of the 3 here"},
      {{"--gpus", "1"},
       {"", {}, {}},
       "it asks for 1 GPU, but the inherited CUDA_VISIBLE_DEVICES= leaves none of the 3 here"},
      {{"--gpus", "2", "--only", "0,1"},
       {"1", {}, {}},
       "it asks for 2 GPUs, but the inherited CUDA_VISIBLE_DEVICES=1 leaves 1 of the 3 here"},
      {{"--gpus", "3", "--only", "0,1"},
       {"1", {}, {}},
       "it asks for 3 GPUs, but --only 0,1 and the inherited CUDA_VISIBLE_DEVICES=1 leave 1 of the 3 here"},
      {{"--min-free", "30G", "--gpus", "2"}, {}, "it asks for 2 GPUs, but --min-free 30 GiB leaves 1 of the 3 here"},
      {{"--min-free", "100G"}, {}, "it asks for 1 GPU, but --min-free 100 GiB leaves none of the 3 here"},
      {{"--vram", "40G", "--only", "0,1"},
       {},
       "it asks for 40 GiB vram, but the cards that --only 0,1 leaves it have 24 GiB"},
      {{"--vram", "100G", "--only", "0,1"}, {}, "it asks for 100 GiB vram, but the cards it may use have 24 GiB"},
      {{"--vram", "100G"}, {}, "it asks for 100 GiB vram, but the cards it may use have 48 GiB"},
  };
  for (const Case& c : cases) EXPECT_EQ(text_for(c.words, c.inherited), "can never run here: " + std::string(c.text));
  EXPECT_EQ(text_for({"--gpus", "1", "--only", "0"}), "possible");
}

TEST(ImpossibleText, TellsWhatGivesAPoolAResource) {
  const auto text = [](const Shortfall& s) { return impossible_text({s}, {}, {}, {}); };
  EXPECT_EQ(
      text({"license", 1, 0}),
      "can never run here: it asks for 1 license, but the pool has no license: berth set license=N gives it some");
  EXPECT_EQ(text({"slot", 3, 2}), "can never run here: it asks for 3 slot, but the pool has 2");
  EXPECT_EQ(
      text({"policy.max.gpus_per_user", 3, 2}),
      "can never run here: it asks for 3 gpus, but policy.max.gpus_per_user=2 is the most that one user may have");
  EXPECT_EQ(text({"ram", 8 * gib, 4 * gib}), "can never run here: it asks for 8 GiB ram, but the pool has 4 GiB");
}

}  // namespace
}  // namespace berth
