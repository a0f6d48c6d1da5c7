#include "cli/doctor_gpu.h"

#include <gtest/gtest.h>

#include "tests/support/recorded.h"

namespace berth {
namespace {

Picture complaining(const std::string& words) { return {{}, {words}, 0, 0}; }

// "sentence -> mend", or the sentence alone where nothing is wrong; one line each.
std::string said(const GpuSurroundings& around, const Result<Picture>& picture = Picture{}) {
  std::string out;
  for (const GpuFinding& f : gpu_findings(around, picture))
    out += f.sentence + (f.mend.empty() ? "" : " -> " + f.mend) + "\n";
  return out;
}

bool has(const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; }

GpuSurroundings with(const char* vendor, const char* driver, std::vector<GpuNode> nodes = {}) {
  GpuSurroundings around;
  around.cards = {{"0000:17:00.0", vendor, driver}};
  around.nodes = std::move(nodes);
  return around;
}

TEST(DoctorGpu, SaysNothingWhereNothingIs) {
  EXPECT_EQ(said({}), "");
  EXPECT_EQ(said(with("amd", "amdgpu", {{"/dev/kfd", "render", true}, {"/dev/dri/renderD128", "render", true}})), "");
}

TEST(DoctorGpu, ALibraryWithoutACardIsOnlyWorthKnowing) {
  const std::string text = said({}, complaining("NVML: Driver Not Loaded"));
  EXPECT_TRUE(has(text, "no card of theirs")) << text;
  EXPECT_FALSE(has(text, "->")) << text;
}

TEST(DoctorGpu, ADriverThatIsNotLoaded) {
  const Picture picture = complaining("NVML: Driver Not Loaded");
  EXPECT_TRUE(has(said(with("nvidia", ""), picture), "-> as root: modprobe nvidia "));
  EXPECT_TRUE(has(said(with("nvidia", "nouveau"), picture), "-> nouveau has the card at 0000:17:00.0"));
  GpuSurroundings container = with("nvidia", "nvidia");
  container.container = true;
  EXPECT_TRUE(has(said(container, picture), "docker run --gpus all"));
}

TEST(DoctorGpu, AnUpgradeWithoutAReboot) {
  GpuSurroundings around = with("nvidia", "nvidia");
  around.nvidia_module_version = "535.129.03";
  const std::string text = said(around, complaining("NVML: Driver/library version mismatch"));
  EXPECT_TRUE(has(text, "still loaded (535.129.03): reboot, or")) << text;
  EXPECT_TRUE(has(text, "rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia; modprobe nvidia")) << text;
}

TEST(DoctorGpu, ACardWithoutItsLibrary) {
  EXPECT_TRUE(has(said(with("nvidia", "nvidia")), "no libnvidia-ml.so.1 -> install"));
  GpuSurroundings container = with("nvidia", "nvidia");
  container.container = true;
  EXPECT_TRUE(has(said(container), "in this container -> give the container its GPUs"));
  Device seen;
  seen.vendor = "nvidia";
  EXPECT_EQ(said(with("nvidia", "nvidia"), Picture{{seen}, {}, 0, 0, {}}), "");
}

TEST(DoctorGpu, AnotherGroupsNodes) {
  const std::string text =
      said(with("amd", "amdgpu", {{"/dev/kfd", "render", false}, {"/dev/dri/renderD128", "video", true}}));
  EXPECT_EQ(text,
            "you may not open /dev/kfd, which is for the group render -> as root: usermod -aG render USER, then log in "
            "anew (in a container: --group-add)\n");
}

TEST(DoctorGpu, NodesThatAreNotThere) {
  GpuSurroundings container = with("amd", "amdgpu");
  container.container = true;
  const std::string text = said(container);
  EXPECT_TRUE(has(text, "no /dev/kfd in this container -> give")) << text;
  EXPECT_TRUE(has(text, "no /dev/dri in this container -> give")) << text;
  EXPECT_TRUE(has(said(with("intel", "xe")), "no /dev/dri -> dmesg"));
  EXPECT_TRUE(has(said(with("amd", "amdgpu", {{"/dev/dri/renderD128", "render", true}})), "ROCm cannot\n"));
  EXPECT_TRUE(has(said(with("amd", "")), "modprobe amdgpu"));
}

TEST(DoctorGpu, ACardInTroubleAndADriverThatHangs) {
  Device lost;
  lost.name = "NVIDIA Test";
  lost.vendor = "nvidia";
  lost.trouble = "GPU is lost";
  EXPECT_TRUE(has(said({}, Picture{{lost}, {}, 0, 0, {}}), "GPU 0 (NVIDIA Test) cannot be used: GPU is lost -> dmesg"));
  EXPECT_TRUE(has(said({}, Error{ErrorKind::probe, 0, "a GPU driver has not answered"}), "a reboot helps"));
  EXPECT_TRUE(has(said({}, Error{ErrorKind::usage, 0, "BERTH_SIM_GPUS"}), "unset BERTH_SIM_GPUS"));
}

TEST(DoctorGpu, ReadsWhatTheKernelShows) {
  const Recording machine("");
  machine.write("sys/bus/pci/devices/0000:17:00.0/class", "0x030200\n");
  machine.write("sys/bus/pci/devices/0000:17:00.0/vendor", "0x10de\n");
  machine.link("sys/bus/pci/devices/0000:17:00.0/driver", "../../drivers/nouveau");
  machine.write("sys/bus/pci/devices/0000:18:00.0/class", "0x020000\n");
  machine.write("sys/bus/pci/devices/0000:18:00.0/vendor", "0x10de\n");
  machine.write("sys/module/nvidia/version", "535.129.03\n");
  for (const char* node : {"nvidia0", "nvidiactl", "nvidia-uvm", "kfd", "dri/renderD128", "dri/card0"})
    machine.write(std::string("dev/") + node, "");
  const GpuSurroundings around = gpu_surroundings(machine.root());
  ASSERT_EQ(around.cards.size(), 1U);
  EXPECT_EQ(around.cards[0].address + around.cards[0].vendor + around.cards[0].driver, "0000:17:00.0nvidianouveau");
  EXPECT_EQ(around.nvidia_module_version, "535.129.03");
  std::string nodes;
  for (const GpuNode& node : around.nodes) nodes += node.path + " ";
  EXPECT_EQ(nodes, "/dev/kfd /dev/nvidia0 /dev/nvidiactl /dev/dri/renderD128 ");
  EXPECT_TRUE(gpu_surroundings("/nonexistent").cards.empty());
}

}  // namespace
}  // namespace berth
