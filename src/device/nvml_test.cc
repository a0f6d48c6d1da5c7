// probe_nvidia() against a stand-in library (tests/standin/nvml/README.md says how it is steered).
#include "device/nvml.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>

namespace berth {
namespace {

constexpr int64_t mib = 1 << 20;
constexpr int64_t gib = 1 << 30;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

class Nvml : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-nvml-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    ASSERT_EQ(setenv("STANDIN_NVML", (dir_ + "/steer").c_str(), 1), 0);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void steer(const std::string& text) { write_file(dir_ + "/steer", text); }

  // Makes the driver one that lacks these symbols: their names are spoilt in a copy of the library.
  void hide(std::initializer_list<std::string> symbols) {
    std::string library = read_file(library_);
    for (const std::string& symbol : symbols) {
      const std::string name = std::string(1, '\0') + symbol + '\0';
      size_t at = library.find(name);
      ASSERT_NE(at, std::string::npos) << symbol;
      for (; at != std::string::npos; at = library.find(name, at + 1)) library[at + 1] = 'X';
    }
    library_ = dir_ + "/libnvidia-ml.so." + std::to_string(++copies_);
    write_file(library_, library);
  }

  [[nodiscard]] Sighting probe() const { return nvml::probe(library_.c_str(), dir_ + "/root"); }

  // The devices, where there is nothing to complain of.
  [[nodiscard]] std::vector<Device> devices() const {
    Sighting sighting = probe();
    EXPECT_EQ(sighting.complaints, std::vector<std::string>{});
    return std::move(sighting.devices);
  }

  // The only device.
  [[nodiscard]] Device device() const {
    std::vector<Device> all = devices();
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? Device{} : all[0];
  }

  std::string dir_;
  std::string library_ = STANDIN_NVML_LIBRARY;
  int copies_ = 0;
};

std::string card(const std::string& number, const std::string& more = "") {
  return "card GPU-" + number + " NVIDIA Test\npci 0000:" + number + ":00.0\nmemory 24G 2G 1G\n" + more;
}

std::vector<std::string> uuids(const std::vector<Device>& devices) {
  std::vector<std::string> found;
  for (const Device& d : devices) found.push_back(d.uuid);
  return found;
}

using Words = std::vector<std::string>;

DeviceProcess on_compute(int64_t pid, std::optional<int64_t> bytes) {
  return {pid, DeviceProcess::Kind::compute, bytes};
}

// --- What a driver says ---------------------------------------------------------------------------

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

// --- Drivers of all ages --------------------------------------------------------------------------

// A structure that berth takes for longer or shorter than it is would be caught by AddressSanitizer.
TEST_F(Nvml, IsAskedInTheFirstVersionOfEveryCall) {
  steer(card("17", "process 4711 1536M\nprocess 4712 unknown\nprocess 9 20M graphics\nlink 0 gpu 0000:2a:00.0\n") +
        card("2a"));
  hide({"nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetPciInfo_v3",
        "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlDeviceGetGraphicsRunningProcesses_v2", "nvmlDeviceGetMPSComputeRunningProcesses_v3",
        "nvmlDeviceGetMPSComputeRunningProcesses_v2", "nvmlDeviceGetMPSComputeRunningProcesses", "nvmlDeviceGetMigMode",
        "nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex", "nvmlDeviceGetNvLinkRemoteDeviceType",
        "nvmlDeviceGetNvLinkRemotePciInfo_v2"});
  const std::vector<Device> found = devices();
  ASSERT_EQ(uuids(found), (Words{"GPU-17", "GPU-2a"}));
  EXPECT_EQ(found[0].pci_address, "0000:17:00.0");
  EXPECT_EQ(found[0].vram_total_bytes, 24 * gib);
  EXPECT_EQ(found[0].vram_used_bytes, 3 * gib) << "the first version does not say what the driver keeps";
  EXPECT_TRUE(found[0].processes_known);
  EXPECT_EQ(found[0].processes, (std::vector<DeviceProcess>{{9, DeviceProcess::Kind::graphics, 20 * mib},
                                                            on_compute(4711, 1536 * mib),
                                                            on_compute(4712, std::nullopt)}));
  EXPECT_EQ(found[0].peers, Words{"GPU-2a"});
}

TEST_F(Nvml, FallsBackForEachNewerSymbolThatIsMissing) {
  steer(
      card("17", "process 4711 1536M\nprocess 9 20M graphics\nprocess 10 30M mps\nutil 5\nlink 0 gpu 0000:2a:00.0\n") +
      card("2a"));
  const std::vector<Device> whole = devices();
  const std::string newest = library_;
  for (const char* symbol :
       {"nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetPciInfo_v3",
        "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlDeviceGetMPSComputeRunningProcesses_v3", "nvmlDeviceGetNvLinkRemoteDeviceType",
        "nvmlDeviceGetNvLinkRemotePciInfo_v2", "nvmlDeviceGetMigMode", "nvmlDeviceGetMemoryInfo", "nvmlShutdown"}) {
    library_ = newest;
    hide({symbol});
    EXPECT_EQ(devices(), whole) << symbol;
  }
}

TEST_F(Nvml, LeavesUnknownWhatADriverCannotBeAsked) {
  steer(card("17", "process 4711 1G\nutil 5\nmode prohibited\n"));
  hide({"nvmlDeviceGetName", "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo",
        "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetComputeMode", "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetNvLinkState"});
  Device expected;
  expected.uuid = "GPU-17";
  expected.vendor = "nvidia";
  expected.host_pids = true;
  EXPECT_EQ(device(), expected) << "no memory of the machine's either: nothing says that it has none of its own";
}

TEST_F(Nvml, ComplainsWhereNothingCanBeAsked) {
  for (const char* symbol : {"nvmlDeviceGetUUID", "nvmlInit"}) {
    steer(card("17"));
    library_ = STANDIN_NVML_LIBRARY;
    if (symbol == std::string("nvmlInit"))
      hide({"nvmlInit", "nvmlInit_v2"});
    else
      hide({symbol});
    const Sighting sighting = probe();
    EXPECT_TRUE(sighting.devices.empty());
    ASSERT_EQ(sighting.complaints.size(), 1u);
    EXPECT_TRUE(sighting.complaints[0].starts_with("NVML: Function Not Found")) << sighting.complaints[0];
  }
}

TEST_F(Nvml, SaysTheNumberWhereTheDriverHasNoWords) {
  steer("fail nvmlInit 18\n");
  hide({"nvmlErrorString"});
  EXPECT_EQ(probe().complaints, Words{"NVML: error 18"});
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

// --- Processes ------------------------------------------------------------------------------------

TEST_F(Nvml, ListsTwoHundredProcesses) {
  std::string lines;
  std::vector<DeviceProcess> expected;
  for (int64_t pid = 1000; pid < 1200; ++pid) {
    lines += "process " + std::to_string(pid) + " " + std::to_string(pid) + "M\n";
    expected.push_back(on_compute(pid, pid * mib));
  }
  steer(card("17", lines));
  EXPECT_EQ(device().processes, expected);
  steer(card("17", lines + "fail nvmlDeviceGetComputeRunningProcesses 7\n"));
  EXPECT_FALSE(device().processes_known) << "asked for more room again and again";
}

// 535.43 to 535.86 wrote 32 bytes in _v3, one driver 16, all others 24.
TEST_F(Nvml, FindsTheLengthOfAnEntry) {
  const std::string processes = "process 11 1G\nprocess 12 unknown\nprocess 13 3M\n";
  for (const char* entries : {"entries 16\n", "entries 24\n", "entries 32\n"})
    for (const char* fill : {"", "fill\n"}) {
      steer(card("17", processes) + entries + fill);
      const Device d = device();
      EXPECT_TRUE(d.processes_known) << entries << fill;
      EXPECT_EQ(d.processes, (std::vector<DeviceProcess>{on_compute(11, gib), on_compute(12, std::nullopt),
                                                         on_compute(13, 3 * mib)}))
          << entries << fill;
      // Half and three quarters of the room that is made first, and more than that.
      for (const size_t count : {1u, 32u, 48u, 64u, 70u, 150u}) {
        std::string many;
        for (size_t i = 0; i < count; ++i) many += "process " + std::to_string(100 + i) + " 1G\n";
        steer(card("17", many) + entries + fill);
        EXPECT_EQ(device().processes.size(), count) << entries << fill;
      }
    }
}

TEST_F(Nvml, DoesNotReadEntriesOfAnUnknownLength) {
  steer(card("17", "process 11 1G\nprocess 12 1G\n") + "entries 28\n");
  const Device d = device();
  EXPECT_FALSE(d.processes_known);
  EXPECT_EQ(d.processes, std::vector<DeviceProcess>{});
}

TEST_F(Nvml, MergesAProcessThatIsOnSeveralLists) {
  steer(card("17", "process 5 1G graphics mps\nprocess 5 2G compute\nprocess 6 unknown graphics\nprocess 6 3G mps\n"));
  EXPECT_EQ(device().processes, (std::vector<DeviceProcess>{on_compute(5, 2 * gib), on_compute(6, 3 * gib)}));
}

TEST_F(Nvml, SaysThatItDoesNotKnowAllProcesses) {
  struct Case {
    const char* steering;
    bool known;
  };
  for (const Case& c : {Case{"fail nvmlDeviceGetComputeRunningProcesses 3\n", false},
                        Case{"fail nvmlDeviceGetComputeRunningProcesses 4\n", false},
                        Case{"fail nvmlDeviceGetGraphicsRunningProcesses 999\n", false},
                        Case{"fail nvmlDeviceGetMPSComputeRunningProcesses 4\n", false},
                        Case{"fail nvmlDeviceGetGraphicsRunningProcesses 3\n", true},
                        Case{"fail nvmlDeviceGetMPSComputeRunningProcesses 3\n", true}}) {
    steer(card("17", "process 5 1G\n") + c.steering);
    EXPECT_EQ(device().processes_known, c.known) << c.steering;
  }
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

// --- Drivers that cannot be used ------------------------------------------------------------------

TEST_F(Nvml, SaysInTheDriversWordsWhyItDoesNotStart) {
  struct Case {
    int code;
    const char* words;
  };
  for (const Case& c : {Case{9, "NVML: Driver Not Loaded"}, Case{15, "NVML: GPU is lost"},
                        Case{18, "NVML: Driver/library version mismatch"}, Case{4, "NVML: Insufficient Permissions"}}) {
    steer(card("17") + "fail nvmlInit " + std::to_string(c.code) + "\n");
    const Sighting sighting = probe();
    EXPECT_TRUE(sighting.devices.empty());
    EXPECT_EQ(sighting.complaints, Words{c.words});
  }
}

TEST_F(Nvml, SaysNothingWhereThereIsNoDriver) {
  library_ = "libnvidia-ml-of-nobody.so.1";
  EXPECT_EQ(devices(), std::vector<Device>{});
}

TEST_F(Nvml, ComplainsOfALibraryThatCannotBeLoaded) {
  library_ = dir_ + "/libnvidia-ml.so.1";
  write_file(library_, "not a library");
  const Sighting sighting = probe();
  ASSERT_EQ(sighting.complaints.size(), 1u);
  EXPECT_TRUE(sighting.complaints[0].starts_with("NVML: ")) << sighting.complaints[0];
}

TEST_F(Nvml, ComplainsWhereCardsCannotBeCounted) {
  steer(card("17") + "fail nvmlDeviceGetCount 999\n");
  EXPECT_EQ(probe().complaints, Words{"NVML: Unknown Error"});
}

// --- Cards that cannot be used --------------------------------------------------------------------

TEST_F(Nvml, ShowsOneLostAmongFour) {
  steer(card("17") + card("2a") + card("3b", "process 5 1G\n") + card("5d") + "fail * 15 GPU-3b\n" +
        "fail nvmlDeviceGetUUID 0 GPU-3b\nfail nvmlDeviceGetPciInfo 0 GPU-3b\nfail nvmlDeviceGetName 0 GPU-3b\n");
  const std::vector<Device> found = devices();
  ASSERT_EQ(uuids(found), (Words{"GPU-17", "GPU-2a", "GPU-3b", "GPU-5d"}));
  Device lost;
  lost.vendor_index = 2;
  lost.uuid = "GPU-3b";
  lost.name = "NVIDIA Test";
  lost.host_pids = true;
  lost.vendor = "nvidia";
  lost.pci_address = "0000:3b:00.0";
  lost.trouble = "GPU is lost";
  EXPECT_EQ(found[2], lost);
  for (const size_t i : {0, 1, 3}) EXPECT_EQ(found[i].trouble, "");
}

TEST_F(Nvml, ComplainsOfALostCardThatItCannotName) {
  for (const char* call : {"nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID"}) {
    steer(card("17") + card("2a") + card("3b") + card("5d") + "order 3 2 1 0\nfail " + call + " 15 GPU-3b\n");
    const Sighting sighting = probe();
    EXPECT_EQ(uuids(sighting.devices), (Words{"GPU-17", "GPU-2a", "GPU-5d"}));
    EXPECT_EQ(sighting.complaints, Words{"NVML: GPU 1: GPU is lost"});
  }
}

TEST_F(Nvml, HasTroubleWithACardWhoseMemoryIsARiddle) {
  steer(card("17") + "fail nvmlDeviceGetMemoryInfo 999\n");
  EXPECT_EQ(device().trouble, "Unknown Error");
}

TEST_F(Nvml, HasTroubleWithACardThatIsKeptFromUs) {
  steer(card("17") + "fail nvmlDeviceGetComputeRunningProcesses 17\n");
  EXPECT_EQ(device().trouble, "GPU access blocked by the operating system");
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
