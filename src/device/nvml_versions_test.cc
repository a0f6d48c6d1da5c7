// Drivers of all ages: each call has versions, and none of them is everywhere.
#include "device/nvml_fixture.h"

namespace berth {
namespace {

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

}  // namespace
}  // namespace berth
