// Who computes on a card. The length of an entry differs from driver to driver.
#include "device/nvml_fixture.h"

namespace berth {
namespace {

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

}  // namespace
}  // namespace berth
