// Drivers and cards that cannot be used.
#include "device/nvml_fixture.h"

namespace berth {
namespace {

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

}  // namespace
}  // namespace berth
