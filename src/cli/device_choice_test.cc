#include "cli/device_choice.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

constexpr int64_t gib = int64_t{1} << 30;

Device card(int index, const char* vendor, int vendor_index, int64_t used = 0, int util = 0) {
  Device d;
  d.index = index;
  d.vendor = vendor;
  d.vendor_index = vendor_index;
  d.uuid = std::string("GPU-") + vendor + std::to_string(vendor_index);
  d.vram_total_bytes = 24 * gib;
  d.vram_used_bytes = used;
  d.util_pct = util;
  return d;
}

std::string chosen(const std::vector<Device>& devices, const InheritedVisibility& inherited = {},
                   const RunOptions& options = {}) {
  const auto refs = eligible_devices(options, devices, inherited);
  if (!refs.ok()) return refs.error().message;
  std::string out;
  for (const DeviceRef& r : *refs) out += (out.empty() ? "" : " ") + r.uuid.substr(4);
  return out;
}

const std::vector<Device> mixed{card(0, "nvidia", 0), card(1, "nvidia", 1), card(2, "amd", 0), card(3, "amd", 1),
                                card(4, "intel", 0)};

TEST(DeviceChoice, EachVendorsVariableHidesItsOwnDevices) {
  EXPECT_EQ(chosen(mixed), "nvidia0 nvidia1 amd0 amd1 intel0");
  EXPECT_EQ(chosen(mixed, {"1", {}, {}}), "nvidia1 amd0 amd1 intel0");
  EXPECT_EQ(chosen(mixed, {"", "1", "0.1"}), "amd1 intel0");
  EXPECT_EQ(chosen(mixed, {"GPU-nvidia1", "GPU-amd0", "7"}), "nvidia1 amd0");
}

TEST(DeviceChoice, EverythingAfterTheFirstInvalidWordIsIgnored) {
  EXPECT_EQ(chosen(mixed, {"1,9,0", "", ""}), "nvidia1");
  EXPECT_EQ(chosen(mixed, {"-1", "", ""}), "");
  EXPECT_EQ(chosen(mixed, {"GPU-nvidia,0", "", ""}), "");
}

TEST(DeviceChoice, TheMostFreeThenTheLeastLoadedThenTheFirst) {
  const std::vector<Device> cards{card(0, "nvidia", 0, 3 * gib), card(1, "nvidia", 1, 0, 90), card(2, "nvidia", 2),
                                  card(3, "nvidia", 3, 1 << 20)};
  EXPECT_EQ(chosen(cards), "nvidia2 nvidia3 nvidia1 nvidia0");
}

TEST(DeviceChoice, NumbersMeanNothingWhileACardIsMissing) {
  EXPECT_EQ(missing_card({{}, {"NVML: Driver Not Loaded"}, 0, 0}), "");
  EXPECT_EQ(missing_card({mixed, {"NVML: GPU 0: GPU is lost"}, 0, 0}), "NVML: GPU 0: GPU is lost");
  RunOptions options;
  EXPECT_FALSE(chooses_by_number(options, {}));
  EXPECT_TRUE(chooses_by_number(options, {"GPU-a,1", {}, {}}));
  options.only = {"GPU-a"};
  EXPECT_FALSE(chooses_by_number(options, {"GPU-a", {}, {}}));
  options.exclude = {"0"};
  EXPECT_TRUE(chooses_by_number(options, {}));
}

TEST(DeviceChoice, OnlyAndExcludeTakeIndicesAndUniquePrefixes) {
  RunOptions options;
  options.only = {"0", "GPU-amd1"};
  EXPECT_EQ(chosen(mixed, {}, options), "nvidia0 amd1");
  options.only = {"GPU-amd"};
  EXPECT_EQ(chosen(mixed, {}, options), "--only: GPU-amd names more than one GPU");
  options.only = {"9"};
  EXPECT_EQ(chosen(mixed, {}, options), "--only: there is no GPU 9 (this machine has 5)");
  options.only = {};
  options.exclude = {"2", "3", "4", "GPU-nvidia0"};
  EXPECT_EQ(chosen(mixed, {}, options), "nvidia1");
}

TEST(DeviceChoice, NeighboursAreNumbered) {
  std::vector<Device> cards{card(0, "nvidia", 0), card(1, "nvidia", 1), card(2, "nvidia", 2), card(3, "nvidia", 3)};
  const auto groups = [&](uint8_t DeviceRef::*group) {
    std::string out;
    const auto refs = eligible_devices({}, cards, {});
    for (const DeviceRef& r : *refs) out += std::to_string(r.*group);
    return out;
  };
  EXPECT_EQ(groups(&DeviceRef::link), "0000");
  cards[0].peers = {"GPU-nvidia2"};
  cards[2].peers = {"GPU-nvidia0"};
  EXPECT_EQ(groups(&DeviceRef::link), "0102");
  cards[1].peers = {"GPU-nvidia3"};
  EXPECT_EQ(groups(&DeviceRef::link), "0101");
  cards[3].peers = {"GPU-nvidia0"};
  EXPECT_EQ(groups(&DeviceRef::link), "0000");  // all of one group
  cards[0].numa_node = cards[1].numa_node = 0;
  cards[2].numa_node = cards[3].numa_node = 1;
  EXPECT_EQ(groups(&DeviceRef::numa), "0011");
}

TEST(DeviceChoice, WhatCanNeverBeFreeIsNotEligible) {
  RunOptions options;
  options.min_free_bytes = 25 * gib;
  EXPECT_EQ(chosen(mixed, {}, options), "");
  options.min_free_bytes = 24 * gib;  // it is not now, but may be
  EXPECT_EQ(chosen({card(0, "nvidia", 0, gib)}, {}, options), "nvidia0");
}

}  // namespace
}  // namespace berth
