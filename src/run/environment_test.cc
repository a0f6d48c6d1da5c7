#include "run/environment.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

constexpr int64_t gib = int64_t{1} << 30;

Device card(int index, const char* vendor, int vendor_index, const char* uuid) {
  Device d;
  d.index = index;
  d.vendor = vendor;
  d.vendor_index = vendor_index;
  d.uuid = uuid;
  d.vram_total_bytes = 24 * gib;
  return d;
}

LeaseEnvironment lease_on(std::vector<Device> devices) {
  LeaseEnvironment lease;
  lease.id = "aaaaaaaaaa";
  lease.devices = std::move(devices);
  return lease;
}

// The value of a variable; "(unset)" without one.
std::string value(const std::vector<std::string>& environment, const std::string& name) {
  for (const std::string& entry : environment)
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  return "(unset)";
}

TEST(Environment, NvidiaIsShownByIndexInPciOrder) {
  const auto env = lease_environment({"CUDA_VISIBLE_DEVICES=7", "A=b"},
                                     lease_on({card(1, "nvidia", 1, "GPU-b"), card(3, "nvidia", 3, "GPU-d")}));
  EXPECT_EQ(value(env, "CUDA_VISIBLE_DEVICES"), "1,3");
  EXPECT_EQ(value(env, "CUDA_DEVICE_ORDER"), "PCI_BUS_ID");
  EXPECT_EQ(value(env, "NVIDIA_VISIBLE_DEVICES"), "GPU-b,GPU-d");
  EXPECT_EQ(value(env, "BERTH_DEVICES"), "GPU-b,GPU-d");
  EXPECT_EQ(value(env, "ROCR_VISIBLE_DEVICES"), "(unset)");
  EXPECT_EQ(value(env, "A"), "b");
}

TEST(Environment, ASliceIsShownByUuid) {
  Device slice = card(0, "nvidia", 0, "MIG-1");
  slice.mig_parent = "GPU-a";
  EXPECT_EQ(value(lease_environment({}, lease_on({slice})), "CUDA_VISIBLE_DEVICES"), "MIG-1");
}

TEST(Environment, AmdCountsOnceAndByItself) {
  LeaseEnvironment lease = lease_on({card(2, "amd", 0, "GPU-0123456789abcdef")});
  const std::vector<std::string> inherited{"HIP_VISIBLE_DEVICES=3", "CUDA_VISIBLE_DEVICES=3"};
  EXPECT_EQ(value(lease_environment(inherited, lease), "ROCR_VISIBLE_DEVICES"), "0");
  EXPECT_EQ(value(lease_environment(inherited, lease), "HIP_VISIBLE_DEVICES"), "(unset)");
  EXPECT_EQ(value(lease_environment(inherited, lease), "CUDA_VISIBLE_DEVICES"), "(unset)");
  lease.visible_by_uuid = true;
  EXPECT_EQ(value(lease_environment({}, lease), "ROCR_VISIBLE_DEVICES"), "GPU-0123456789abcdef");
  lease.devices[0].uuid = "PCI-0000:03:00.0";  // ROCr does not know it by that
  EXPECT_EQ(value(lease_environment({}, lease), "ROCR_VISIBLE_DEVICES"), "0");
}

TEST(Environment, IntelIsMasked) {
  const auto env = lease_environment({"ZE_ENABLE_PCI_ID_DEVICE_ORDER=1"}, lease_on({card(1, "intel", 1, "x")}));
  EXPECT_EQ(value(env, "ZE_AFFINITY_MASK"), "1");
  EXPECT_EQ(value(env, "ZE_ENABLE_PCI_ID_DEVICE_ORDER"), "(unset)");
}

TEST(Environment, WithoutAGpuTheVariablesAreLeftAlone) {
  const auto env = lease_environment({"CUDA_VISIBLE_DEVICES=7", "HIP_VISIBLE_DEVICES=1"}, lease_on({}));
  EXPECT_EQ(value(env, "CUDA_VISIBLE_DEVICES"), "7");
  EXPECT_EQ(value(env, "HIP_VISIBLE_DEVICES"), "1");
}

TEST(Environment, CapsAreWhatWasClaimed) {
  LeaseEnvironment lease = lease_on({card(0, "nvidia", 0, "GPU-a"), card(1, "nvidia", 1, "GPU-b")});
  EXPECT_TRUE(framework_caps({}, lease).empty());
  lease.vram_cap_bytes = 8 * gib;
  lease.compute_cap_pct = 50;
  auto caps = framework_caps({}, lease);
  EXPECT_EQ(value(caps, "XLA_PYTHON_CLIENT_MEM_FRACTION"), "0.33");
  EXPECT_EQ(value(caps, "TF_FORCE_GPU_ALLOW_GROWTH"), "true");
  EXPECT_EQ(value(caps, "PYTORCH_CUDA_ALLOC_CONF"), "per_process_memory_fraction:0.33");
  EXPECT_EQ(value(caps, "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"), "(unset)");
  lease.mps_runs = true;
  caps = framework_caps({"PYTORCH_CUDA_ALLOC_CONF=backend:native"}, lease);
  EXPECT_EQ(value(caps, "PYTORCH_CUDA_ALLOC_CONF"), "backend:native,per_process_memory_fraction:0.33");
  EXPECT_EQ(value(caps, "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"), "0=8192M,1=8192M");
  EXPECT_EQ(value(caps, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"), "50");
  EXPECT_EQ(value(lease_environment({}, lease), "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"), "50");
  lease.vram_cap_bytes = 24 * gib;
  EXPECT_EQ(value(framework_caps({}, lease), "XLA_PYTHON_CLIENT_MEM_FRACTION"), "1.00");
}

}  // namespace
}  // namespace berth
