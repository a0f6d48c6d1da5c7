#include <gtest/gtest.h>
#include <unistd.h>

#include "device/probe.h"
#include "tests/support/recorded.h"

namespace berth {
namespace {

constexpr int64_t kib = 1024;
constexpr int64_t gib = kib * kib * kib;
using Kind = DeviceProcess::Kind;

std::vector<Device> devices_of(const std::string& root) {
  Sighting seen = probe_amd(root);
  EXPECT_TRUE(seen.complaints.empty());
  return std::move(seen.devices);
}

TEST(Amd, ReadsACard) {
  const auto devices = devices_of(recorded("amd-mi210-pair"));
  ASSERT_EQ(devices.size(), 2U) << "not the board's VGA, nor the card without a driver, nor a connector";
  const Device& d = devices[0];
  EXPECT_EQ(d.uuid, "GPU-f8a1c0de00000002");
  EXPECT_EQ(d.name, "AMD INSTINCT MI210");
  EXPECT_EQ(d.vendor, "amd");
  EXPECT_EQ(d.pci_address, "0000:41:00.0");
  EXPECT_EQ(d.vram_total_bytes, 68702699520);
  EXPECT_EQ(d.vram_used_bytes, 42991616000);
  EXPECT_EQ(d.util_pct, 97);
  EXPECT_EQ(d.numa_node, 0);
  EXPECT_FALSE(d.unified_memory);
  EXPECT_EQ(d.trouble, "");
  EXPECT_EQ(devices[1].uuid, "GPU-1234567890abcdef");
  EXPECT_EQ(devices[1].numa_node, 1);
}

TEST(Amd, CountsAsRocmDoes) {
  const auto devices = devices_of(recorded("amd-mi210-pair"));
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].vendor_index, 1) << "its node is the later one";
  EXPECT_EQ(devices[1].vendor_index, 0);
}

TEST(Amd, CountsByPciAddressWhereThereIsNoComputeDriver) {
  const Recording machine("amd-mi210-pair");
  machine.remove("sys/class/kfd");
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].vendor_index, 0);
  EXPECT_EQ(devices[1].vendor_index, 1);
  EXPECT_EQ(devices[0].uuid, "GPU-f8a1c0de00000002") << "amdgpu knows it as well";
  EXPECT_TRUE(devices[0].peers.empty());
}

TEST(Amd, SeesTheBridge) {
  const auto devices = devices_of(recorded("amd-mi210-pair"));
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].peers, std::vector<std::string>{"GPU-1234567890abcdef"});
  EXPECT_EQ(devices[1].peers, std::vector<std::string>{"GPU-f8a1c0de00000002"});
}

TEST(Amd, TellsWhoHasWhat) {
  const auto devices = devices_of(recorded("amd-mi210-pair"));
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_TRUE(devices[0].processes_known);
  // 4711 has one file open twice; 4712 inherited it; of 4801 only garbage is known; 4800 and 6300 vanished.
  const std::vector<DeviceProcess> first = {{4711, Kind::compute, 40 * gib + 4096 * kib}, {4712, Kind::graphics, 0}};
  EXPECT_EQ(devices[0].processes, first);
  const std::vector<DeviceProcess> second = {{6200, Kind::compute, 10485760}};
  EXPECT_EQ(devices[1].processes, second);
}

TEST(Amd, TakesNoPidFromTheComputeDriverInAnotherNamespace) {
  const Recording machine("amd-mi210-pair");
  machine.remove("proc/self/ns/pid");
  machine.link("proc/self/ns/pid", "pid:[4026532201]");
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_FALSE(devices[0].processes_known);
  EXPECT_EQ(devices[0].processes.size(), 2U) << "what our own /proc says of 4711 and 4712";
  EXPECT_TRUE(devices[1].processes.empty());
}

TEST(Amd, OffersNoIntegratedGraphicsBesideACard) {
  const auto devices = devices_of(recorded("amd-7900xtx-desktop"));
  ASSERT_EQ(devices.size(), 1U);
  const Device& d = devices[0];
  EXPECT_EQ(d.name, "AMD Radeon RX 7900 XTX");
  EXPECT_EQ(d.uuid, "GPU-9e1e5a2f8c4b7d61");
  EXPECT_EQ(d.vendor_index, 0);
  EXPECT_EQ(d.numa_node, -1);
  EXPECT_FALSE(d.processes_known);
  const std::vector<DeviceProcess> processes = {{2100, Kind::graphics, (524288 + 65536) * kib},
                                                {9001, Kind::compute, 1610612736}};
  EXPECT_EQ(d.processes, processes);
}

TEST(Amd, CountsTheIntegratedOneAllTheSame) {
  const Recording machine("amd-7900xtx-desktop");
  // The same machine, the integrated one taken up first.
  std::filesystem::rename(machine.root() + "/sys/devices/virtual/kfd/kfd/topology/nodes/1",
                          machine.root() + "/sys/devices/virtual/kfd/kfd/topology/nodes/10");
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_EQ(devices[0].vendor_index, 1);
}

TEST(Amd, NamesByPciIdsAndThenByNumber) {
  const Recording machine("amd-7900xtx-desktop");
  machine.remove("usr/share/libdrm");
  EXPECT_EQ(devices_of(machine.root())[0].name, "AMD Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M");
  machine.remove("usr");
  EXPECT_EQ(devices_of(machine.root())[0].name, "AMD GPU 744c");
}

TEST(Amd, OffersAnApuWhereThereIsNothingElse) {
  const auto devices = devices_of(recorded("amd-strix-halo"));
  ASSERT_EQ(devices.size(), 1U);
  const Device& d = devices[0];
  EXPECT_TRUE(d.unified_memory);
  EXPECT_EQ(d.uuid, "PCI-0000:c5:00.0") << "no number of its own";
  EXPECT_EQ(d.vram_total_bytes, 66571993088) << "what of RAM it may have, not the 512 MiB carved out";
  EXPECT_EQ(d.vram_used_bytes, 4294967296);
  EXPECT_EQ(d.util_pct, 0) << "it sleeps, and nobody wakes it to ask";
  const std::vector<DeviceProcess> processes = {{5000, Kind::compute, 4 * gib + 131072 * kib}};
  EXPECT_EQ(d.processes, processes);
}

TEST(Amd, AnApuWithALargeCarveOutHasMemoryOfItsOwn) {
  const Recording machine("amd-strix-halo");
  const std::string device = "sys/devices/pci0000:00/0000:00:08.1/0000:c5:00.0/";
  machine.write(device + "mem_info_vram_total", "103079215104\n");
  machine.write(device + "mem_info_gtt_total", "16642998272\n");
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_FALSE(devices[0].unified_memory);
  EXPECT_EQ(devices[0].vram_total_bytes, 103079215104);
  EXPECT_EQ(devices[0].vram_used_bytes, 201326592);
}

TEST(Amd, OffersNoApuBesideAnNvidiaCard) {
  const Recording machine("amd-strix-halo");
  machine.write("sys/bus/pci/drivers/nvidia/module", "");
  EXPECT_EQ(devices_of(machine.root()).size(), 1U) << "the driver is loaded, and has no card";
  machine.write("sys/bus/pci/drivers/nvidia/0000:01:00.0", "");
  EXPECT_TRUE(devices_of(machine.root()).empty());
}

TEST(Amd, TwoWithOneIdentityAreToldApartByTheirSlots) {
  const Recording machine("amd-mi210-pair");
  machine.remove("sys/class/kfd");
  machine.write("sys/devices/pci0000:00/0000:00:01.3/0000:c1:00.0/unique_id", "f8a1c0de00000002\n");
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].uuid, "PCI-0000:41:00.0");
  EXPECT_EQ(devices[1].uuid, "PCI-0000:c1:00.0");
}

TEST(Amd, DoesNotSeatOnACardInPartitions) {
  const Recording machine("amd-mi210-pair");
  machine.write("sys/class/kfd/kfd/topology/nodes/4/gpu_id", "999\n");
  // 0x41 << 8, partition 1.
  machine.write("sys/class/kfd/kfd/topology/nodes/4/properties",
                "simd_count 416\nlocation_id 268452096\ndomain 0\nunique_id 5\n");
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_NE(devices[0].trouble.find("2 partitions"), std::string::npos) << devices[0].trouble;
  EXPECT_EQ(devices[0].vendor_index, 1);
  EXPECT_EQ(devices[1].trouble, "");
}

TEST(Amd, SaysWhenACardCannotBeOpened) {
  const Recording machine("amd-mi210-pair");
  machine.write("dev/dri/renderD128", "");
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].trouble, "");
  EXPECT_EQ(devices[0].vendor_index, 0) << "ROCm does not count the other";
  EXPECT_EQ(devices[1].trouble, "this user may not open /dev/dri/renderD129");
  EXPECT_EQ(devices[1].uuid, "GPU-1234567890abcdef");
}

TEST(Amd, SaysWhenADeviceCgroupKeepsACardFromUs) {
  if (::geteuid() == 0) GTEST_SKIP() << "nothing is refused to root";
  const Recording machine("amd-mi210-pair");
  const std::string properties = machine.root() + "/sys/class/kfd/kfd/topology/nodes/2/properties";
  std::filesystem::permissions(properties, std::filesystem::perms::none);
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].trouble, "");
  EXPECT_EQ(devices[0].vendor_index, 0) << "ROCm does not count what it may not see";
  EXPECT_NE(devices[1].trouble, "");
}

TEST(Amd, WhatIsMissingOrGarbageIsUnknown) {
  const Recording machine("amd-mi210-pair");
  const std::string device = "sys/devices/pci0000:00/0000:00:01.1/0000:41:00.0/";
  machine.write(device + "mem_info_vram_used", "lots\n");
  machine.write(device + "gpu_busy_percent", "101\n");
  machine.write(device + "numa_node", std::string("\0\xff", 2));
  machine.write(device + "product_name", "\n");
  machine.remove(device + "mem_info_vram_total");
  machine.remove(device + "unique_id");
  machine.write("sys/class/kfd/kfd/topology/nodes/3/properties", "simd_count 416\nlocation_id x\n");
  const auto devices = devices_of(machine.root());
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].vram_total_bytes, 0);
  EXPECT_EQ(devices[0].vram_used_bytes, std::nullopt);
  EXPECT_EQ(devices[0].util_pct, std::nullopt);
  EXPECT_EQ(devices[0].numa_node, -1);
  EXPECT_EQ(devices[0].name, "AMD GPU 740f");
  EXPECT_EQ(devices[0].uuid, "PCI-0000:41:00.0");
  EXPECT_EQ(devices[0].vendor_index, 1) << "after all that ROCm knows";
}

TEST(Amd, FindsNothingWhereNothingIs) {
  EXPECT_TRUE(devices_of(recorded("intel-a770-xe")).empty());
  EXPECT_TRUE(devices_of(Recording("").root()).empty());
  EXPECT_TRUE(devices_of("/nowhere").empty());
}

}  // namespace
}  // namespace berth
