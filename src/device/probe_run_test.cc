#include "device/probe_run.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <rapidcheck/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "device/probe.h"

namespace berth {
namespace {

Device some_device(int n) {
  Device d;
  d.index = n;
  d.vendor_index = n / 2;
  d.uuid = "GPU-" + std::to_string(n);
  d.name = "NVIDIA H100 80GB HBM3";
  d.vendor = "nvidia";
  d.pci_address = "0000:17:00.0";
  d.vram_total_bytes = int64_t{80} << 30;
  return d;
}

TEST(ProbeRun, APictureComesThroughThePipeAsItWas) {
  Picture picture;
  picture.complaints = {"NVML: Driver/library version mismatch"};
  picture.devices = {some_device(0), some_device(1)};
  Device& d = picture.devices[1];
  d.vram_used_bytes = 0;
  d.util_pct = 97;
  d.unified_memory = true;
  d.mig_parent = "GPU-0";
  d.compute_mode = ComputeMode::exclusive_process;
  d.numa_node = 1;
  d.peers = {"GPU-0", "GPU-7"};
  d.host_pids = true;
  d.processes_known = true;
  d.processes = {{4242, DeviceProcess::Kind::compute, int64_t{8} << 30},
                 {17, DeviceProcess::Kind::graphics, std::nullopt}};
  d.trouble = "GPU is lost";
  picture.processes[4242] = {17, 1000, 1795234567123456, "python", "python train.py", true, "k7q2mbxd4a", false};
  picture.processes[17] = {1, 0, 5, "sshd", "sshd: alice", false, "", true};
  EXPECT_EQ(decode_picture(encode_picture(picture)), picture);
}

RC_GTEST_PROP(ProbeRun, AnythingAtAllIsReadWithoutHarm, (const std::string& text)) {
  (void)decode_picture(text);
  (void)decode_picture("device x\n" + text + "\nprocess " + text);
}

TEST(ProbeRun, AForeignNameCannotForgeALine) {
  Picture picture;
  picture.devices = {some_device(0)};
  picture.devices[0].name = "evil\nused 5\ndevice GPU-9";
  const Picture read = decode_picture(encode_picture(picture));
  ASSERT_EQ(read.devices.size(), 1U);
  EXPECT_FALSE(read.devices[0].vram_used_bytes.has_value());
}

TEST(ProbeRun, SimulatedDevicesNeedNoDriver) {
  const auto picture = probe_devices("2x24G,48G", "/nonexistent");
  ASSERT_TRUE(picture.ok());
  ASSERT_EQ(picture->devices.size(), 3U);
  EXPECT_EQ(picture->devices[2].uuid, "SIM-2");
  EXPECT_EQ(picture->devices[2].vram_total_bytes, int64_t{48} << 30);
  EXPECT_FALSE(probe_devices("2y24G", "").ok());
}

TEST(ProbeRun, AMachineWithoutDriversHasNoDevices) {
  const auto picture = probe_devices(nullptr, "/nonexistent");
  ASSERT_TRUE(picture.ok()) << picture.error().message;
  for (const Device& d : picture->devices) EXPECT_EQ(d.vendor, "nvidia");  // of the machine the test runs on
  EXPECT_GE(picture->taken_us, picture->begun_us);
}

bool leave_somebody_behind = false;

TEST(ProbeRun, AnAnswerIsCompleteWhoeverKeepsThePipe) {
  const auto in_the_child = [] {
    if (!leave_somebody_behind || ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) != 0) return;
    for (const int fd : {0, 1, 2}) ::close(fd);
    ::sleep(5);
    ::_exit(0);
  };
  ASSERT_EQ(::pthread_atfork(nullptr, nullptr, in_the_child), 0);
  leave_somebody_behind = true;
  auto run = ProbeRun::start("/nonexistent");
  ASSERT_TRUE(run.ok());
  bool complete = false;
  for (int tries = 0; tries < 300 && !complete; ++tries, ::usleep(10'000)) complete = run->take_in();
  ASSERT_TRUE(complete);
  EXPECT_TRUE(run->finish().ok());
}

}  // namespace
}  // namespace berth
