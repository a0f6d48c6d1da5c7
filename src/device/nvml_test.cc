// What a driver says of its cards; what is asked of drivers of other ages, of processes, and what goes wrong have
// files of their own.
#include <dlfcn.h>

#include "device/nvml_fixture.h"

namespace berth {
namespace {

TEST_F(Nvml, TellsAllOfACard) {
  steer(card("17", "process 4711 1536M\nprocess 4712 unknown\nprocess 9 20M graphics\nutil 37\nmode exclusive\n"));
  write_file(dir_ + "/root/sys/bus/pci/devices/0000:17:00.0/numa_node", "1\n");
  Device expected;
  expected.uuid = "GPU-17";
  expected.name = "NVIDIA Test";
  expected.vendor = "nvidia";
  expected.host_pids = true;
  expected.pci_address = "0000:17:00.0";
  expected.vram_total_bytes = 24 * gib;
  expected.vram_used_bytes = 2 * gib;
  expected.util_pct = 37;
  expected.compute_mode = ComputeMode::exclusive_process;
  expected.numa_node = 1;
  expected.processes_known = true;
  expected.processes = {
      {9, DeviceProcess::Kind::graphics, 20 * mib}, on_compute(4711, 1536 * mib), on_compute(4712, std::nullopt)};
  EXPECT_EQ(device(), expected);
}

TEST_F(Nvml, TellsOfEightCardsInPciOrder) {
  steer(card("9d") + card("17") + card("c3") + card("3b") + card("b1") + card("2a") + card("db") + card("5d"));
  const std::vector<Device> found = devices();
  EXPECT_EQ(uuids(found), (Words{"GPU-17", "GPU-2a", "GPU-3b", "GPU-5d", "GPU-9d", "GPU-b1", "GPU-c3", "GPU-db"}));
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].vendor_index, static_cast<int>(i));
}

TEST_F(Nvml, TellsOfNoCard) {
  steer("# a machine whose cards are all elsewhere\n");
  EXPECT_EQ(devices(), std::vector<Device>{});
}

TEST_F(Nvml, KnowsACardWhoseIndexHasChanged) {
  steer(card("17", "process 1 1G\n") + card("2a", "process 2 2G\n") + card("3b"));
  const std::vector<Device> before = devices();
  steer(card("17", "process 1 1G\n") + card("2a", "process 2 2G\n") + card("3b") + "order 2 0 1\n");
  EXPECT_EQ(devices(), before);
  EXPECT_EQ(uuids(before), (Words{"GPU-17", "GPU-2a", "GPU-3b"}));
}

TEST_F(Nvml, SortsWidePciDomainsAfterTheUsual) {
  steer("card GPU-wide\npci 10000:01:00.0\nmemory 1G\ncard GPU-usual\npci 2000:01:00.0\nmemory 1G\n");
  EXPECT_EQ(uuids(devices()), (Words{"GPU-usual", "GPU-wide"}));
}

TEST_F(Nvml, IsFoundByItsName) {
  steer(card("17"));
  // What is loaded answers to its SONAME, as a driver's library in the system's path would.
  void* loaded = dlopen(library_.c_str(), RTLD_NOW);
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(uuids(probe_nvidia("").devices), Words{"GPU-17"});
  dlclose(loaded);
}

TEST_F(Nvml, ShowsNoControlCharactersOfADriver) {
  steer("card GPU-17 Evil \033[31m card\npci 0000:17:00.0\nmemory 1G\n");
  EXPECT_EQ(device().name.find('\033'), std::string::npos);
}

// --- Memory ---------------------------------------------------------------------------------------

TEST_F(Nvml, AsksTheFirstVersionOfMemoryWhereTheSecondIsNotMeant) {
  for (const char* code : {"13", "25", "999", "3"}) {
    steer(card("17", std::string("fail nvmlDeviceGetMemoryInfo_v2 ") + code + "\n"));
    const Device d = device();
    EXPECT_EQ(d.vram_total_bytes, 24 * gib);
    EXPECT_EQ(d.vram_used_bytes, 3 * gib);
    EXPECT_FALSE(d.unified_memory);
    EXPECT_EQ(d.trouble, "");
  }
}

TEST_F(Nvml, TakesTheMachinesMemoryForAPartThatHasNone) {
  const std::string meminfo =
      "MemTotal:       127600748 kB\nMemFree:        90000000 kB\nMemAvailable:   118566368 kB\n";
  write_file(dir_ + "/root/proc/meminfo", meminfo);
  for (const char* memory : {"unsupported", "0"}) {
    steer(std::string("card GPU-gb10 NVIDIA GB10\npci 000F:01:00.0\nprocess 7 300M\nmemory ") + memory + "\n");
    const Device d = device();
    EXPECT_TRUE(d.unified_memory);
    EXPECT_EQ(d.pci_address, "000f:01:00.0");
    EXPECT_EQ(d.vram_total_bytes, 127600748LL * 1024);
    EXPECT_EQ(d.vram_used_bytes, (127600748LL - 118566368) * 1024);
    EXPECT_EQ(d.processes, std::vector<DeviceProcess>{on_compute(7, 300 * mib)});
  }
}

TEST_F(Nvml, DoesNotKnowMemoryThatItMayNotSee) {
  steer(card("17", "fail nvmlDeviceGetMemoryInfo 4\n"));
  const Device d = device();
  EXPECT_EQ(d.vram_total_bytes, 0);
  EXPECT_EQ(d.vram_used_bytes, std::nullopt);
  EXPECT_FALSE(d.unified_memory);
  EXPECT_EQ(d.trouble, "");
}

// --- MIG ------------------------------------------------------------------------------------------

TEST_F(Nvml, OffersTheSlicesOfACardInItsPlace) {
  steer(card("2a") +
        card("17",
             "util 50\nmode exclusive\nslice 1 MIG-b NVIDIA Test MIG 2g.10gb\nmemory 10G 4G\nprocess 8 4G\n"
             "slice 4 MIG-a NVIDIA Test MIG 1g.5gb\nmemory 5G\nutil 50\n"));
  const std::vector<Device> found = devices();
  ASSERT_EQ(uuids(found), (Words{"MIG-b", "MIG-a", "GPU-2a"})) << "slots 0, 2 and 3 are gaps";
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(found[i].mig_parent, "GPU-17");
    EXPECT_EQ(found[i].vendor_index, 0);
    EXPECT_EQ(found[i].pci_address, "0000:17:00.0");
    EXPECT_EQ(found[i].util_pct, std::nullopt);
    EXPECT_EQ(found[i].peers, Words{});
    EXPECT_TRUE(found[i].processes_known);
  }
  EXPECT_EQ(found[2].vendor_index, 1) << "counted by cards";
  EXPECT_EQ(found[0].name, "NVIDIA Test MIG 2g.10gb");
  EXPECT_EQ(found[0].vram_total_bytes, 10 * gib);
  EXPECT_EQ(found[0].vram_used_bytes, 4 * gib);
  EXPECT_EQ(found[0].processes, std::vector<DeviceProcess>{on_compute(8, 4 * gib)});
  EXPECT_EQ(found[1].processes, std::vector<DeviceProcess>{});
}

TEST_F(Nvml, TellsOfAMachineInUse) {
  steer(read_file(TEST_DATA "/nvml/a100-mig.txt"));
  const std::vector<Device> found = devices();
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].name, "NVIDIA A100-SXM4-80GB");
  EXPECT_EQ(found[0].vram_used_bytes, 14198 * mib);
  EXPECT_EQ(found[0].processes, std::vector<DeviceProcess>{on_compute(34965, 14195 * mib)});
  for (size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(found[i].vram_total_bytes, 19968 * mib);
    EXPECT_EQ(found[i].vendor_index, 1);
    EXPECT_EQ(found[i].name, "NVIDIA A100-SXM4-80GB MIG 2g.20gb");
  }
  EXPECT_EQ(found[1].vram_used_bytes, 14366 * mib);
  EXPECT_EQ(found[3].vram_used_bytes, 13 * mib);
}

TEST_F(Nvml, ShowsACardInMigModeWithoutSlices) {
  steer(card("17", "mig on\n"));
  const Device d = device();
  EXPECT_EQ(d.uuid, "GPU-17");
  EXPECT_EQ(d.trouble, "MIG mode is on and there is no MIG device");
}

TEST_F(Nvml, ComplainsOfASliceThatItMayNotSee) {
  steer(card("17", "slice 0 MIG-a\nmemory 5G\nslice 1 MIG-b\nmemory 5G\n") + "fail nvmlDeviceGetUUID 4 MIG-a\n");
  const Sighting sighting = probe();
  EXPECT_EQ(uuids(sighting.devices), Words{"MIG-b"});
  EXPECT_EQ(sighting.complaints, Words{"NVML: GPU-17, MIG device 0: Insufficient Permissions"});
}

TEST_F(Nvml, DoesNotTakeASliceForAPartWithoutMemory) {
  write_file(dir_ + "/root/proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\n");
  steer(card("17", "slice 0 MIG-a\nmemory unsupported\n"));
  EXPECT_FALSE(device().unified_memory);
  EXPECT_EQ(device().vram_total_bytes, 0);
}

// --- Links ----------------------------------------------------------------------------------------

TEST_F(Nvml, PairsCardsByTheirLinks) {
  const auto linked = [](const std::string& to) {
    return "link 0 inactive\nlink 1 gpu 0000:" + to + ":00.0\nlink 2 gpu 0000:" + to + ":00.0\nlink 3 inactive\n";
  };
  steer(card("17", linked("2a")) + card("2a", linked("17")) + card("3b", linked("5d")) + card("5d", linked("3b")) +
        card("9d", "link 0 inactive\n") + card("b1"));
  const std::vector<Device> found = devices();
  ASSERT_EQ(found.size(), 6u);
  EXPECT_EQ(found[0].peers, Words{"GPU-2a"});
  EXPECT_EQ(found[1].peers, Words{"GPU-17"});
  EXPECT_EQ(found[2].peers, Words{"GPU-5d"});
  EXPECT_EQ(found[3].peers, Words{"GPU-3b"});
  EXPECT_EQ(found[4].peers, Words{});
  EXPECT_EQ(found[5].peers, Words{});
}

TEST_F(Nvml, MakesPeersOfAllThatHaveLinksToSwitches) {
  // As bare metal shows it, as a driver without the type of a link's end does, and as a virtual machine does.
  write_file(dir_ + "/root/sys/bus/pci/devices/0000:84:00.0/class", "0x068000\n");
  write_file(dir_ + "/root/sys/bus/pci/devices/0004:04:00.0/class", "0x068001\n");
  steer(card("17", "link 0 switch 0000:84:00.0\n") + card("2a", "link 0 switch\n") +
        card("3b", "link 0 npu 0004:04:00.0\n") + card("5d"));
  for (const bool typed : {true, false}) {
    if (!typed) hide({"nvmlDeviceGetNvLinkRemoteDeviceType"});
    const std::vector<Device> found = devices();
    ASSERT_EQ(found.size(), 4u);
    EXPECT_EQ(found[0].peers, Words{"GPU-2a"});
    EXPECT_EQ(found[1].peers, Words{"GPU-17"});
    EXPECT_EQ(found[2].peers, Words{}) << "a link to a POWER9";
    EXPECT_EQ(found[3].peers, Words{});
  }
}

}  // namespace
}  // namespace berth
