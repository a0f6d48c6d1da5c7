#include <gtest/gtest.h>

#include "device/probe.h"
#include "tests/support/recorded.h"

namespace berth {
namespace {

constexpr int64_t mib = 1024 * 1024;
using Kind = DeviceProcess::Kind;

std::vector<Device> devices_of(const std::string& root) {
  Sighting seen = probe_intel(root);
  EXPECT_TRUE(seen.complaints.empty());
  return std::move(seen.devices);
}

TEST(Intel, ReadsACardOnXe) {
  const auto devices = devices_of(recorded("intel-a770-xe"));
  ASSERT_EQ(devices.size(), 1U) << "not the graphics in the processor";
  const Device& d = devices[0];
  EXPECT_EQ(d.uuid, "00000000-0000-0003-0000-000856a08086");
  EXPECT_EQ(d.name, "Intel Arc A770");
  EXPECT_EQ(d.vendor, "intel");
  EXPECT_EQ(d.pci_address, "0000:03:00.0");
  EXPECT_EQ(d.vendor_index, 0);
  EXPECT_EQ(d.vram_total_bytes, 17179869184);
  EXPECT_EQ(d.util_pct, std::nullopt);
  EXPECT_EQ(d.numa_node, -1);
  EXPECT_FALSE(d.unified_memory);
}

TEST(Intel, TellsWhoHasWhat) {
  const auto devices = devices_of(recorded("intel-a770-xe"));
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_TRUE(devices[0].processes_known);
  const std::vector<DeviceProcess> processes = {{1500, Kind::graphics, 23992 * 1024},
                                                {7000, Kind::compute, (9216 + 6) * mib}};
  EXPECT_EQ(devices[0].processes, processes);
  EXPECT_EQ(devices[0].vram_used_bytes, 23992 * 1024 + (9216 + 6) * mib);
}

TEST(Intel, TakesTheSizeFromTheMemoryCgroupWhereItIs) {
  const Recording machine("intel-a770-xe");
  machine.write("sys/fs/cgroup/dmem.capacity",
                "drm/0000:07:00.0/vram0 5\ndrm/0000:03:00.0/vram0 17028874240\ndrm/0000:03:00.0/stolen 7\ngarbage\n");
  EXPECT_EQ(devices_of(machine.root())[0].vram_total_bytes, 17028874240);
}

TEST(Intel, KnowsNoUseWhereItCannotSeeAll) {
  const auto devices = devices_of(recorded("intel-a770-i915"));
  ASSERT_EQ(devices.size(), 2U);
  const Device& d = devices[0];
  EXPECT_EQ(d.vram_total_bytes, 0) << "the kernel's i915 does not say";
  EXPECT_EQ(d.vram_used_bytes, std::nullopt);
  EXPECT_FALSE(d.processes_known);
  const std::vector<DeviceProcess> processes = {{7100, Kind::compute, 35652 * 1024}};
  EXPECT_EQ(d.processes, processes);
  EXPECT_EQ(d.numa_node, 0);
}

TEST(Intel, ReadsTheSizeThatIntelsOwnI915Shows) {
  const auto devices = devices_of(recorded("intel-a770-i915"));
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[1].vram_total_bytes, 6442450944);
  EXPECT_EQ(devices[1].vendor_index, 1);
  EXPECT_EQ(devices[1].uuid, "00000000-0000-0007-0000-000556a58086");
  EXPECT_EQ(devices[1].name, "Intel GPU 56a5") << "not in the list";
}

TEST(Intel, OffersIntegratedGraphicsWhereThereIsNothingElse) {
  const auto devices = devices_of(recorded("intel-laptop"));
  ASSERT_EQ(devices.size(), 1U);
  const Device& d = devices[0];
  EXPECT_TRUE(d.unified_memory);
  EXPECT_EQ(d.uuid, "00000000-0000-0200-0000-000464a08086");
  EXPECT_EQ(d.vram_total_bytes, 0);
  EXPECT_EQ(d.vram_used_bytes, 192 * mib);
  const std::vector<DeviceProcess> processes = {{1800, Kind::graphics, 192 * mib}};
  EXPECT_EQ(d.processes, processes);
}

TEST(Intel, OffersNoIntegratedGraphicsBesideAnNvidiaCard) {
  const Recording machine("intel-laptop");
  machine.write("sys/bus/pci/drivers/nvidia/0000:01:00.0", "");
  EXPECT_TRUE(devices_of(machine.root()).empty());
}

TEST(Intel, MemoryThatOneProcessDoesNotTellIsUnknown) {
  const Recording machine("intel-a770-xe");
  // i915 before Linux 6.7 and xe before 6.8: engines, and no memory.
  machine.write("proc/7000/fdinfo/5",
                "drm-driver:\txe\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t9\ndrm-cycles-rcs:\t5\n");
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_EQ(devices[0].vram_used_bytes, std::nullopt);
  EXPECT_EQ(devices[0].processes[1].vram_bytes, std::nullopt);
}

TEST(Intel, FindsNothingWhereNothingIs) {
  EXPECT_TRUE(devices_of(recorded("amd-mi210-pair")).empty());
  EXPECT_TRUE(devices_of(Recording("").root()).empty());
  EXPECT_TRUE(devices_of("/nowhere").empty());
}

}  // namespace
}  // namespace berth
