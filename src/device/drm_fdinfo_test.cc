#include "device/drm_fdinfo.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "base/text.h"
#include "tests/support/recorded.h"

namespace berth {
namespace {

constexpr int64_t kib = 1024;

std::string client_of(const std::string& lines) {
  return "pos:\t0\ndrm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t7\n" + lines;
}

TEST(DrmFdinfo, ReadsWhatEachDriverPrints) {
  struct Case {
    std::string lines;
    std::optional<int64_t> vram;
    std::optional<int64_t> ram;
  };
  const std::vector<Case> cases = {
      {"", std::nullopt, std::nullopt},
      {"drm-memory-vram:\t76 KiB\ndrm-memory-gtt: \t44 KiB\n", 76 * kib, 44 * kib},
      {"drm-total-vram:\t9 MiB\ndrm-resident-vram:\t5 MiB\ndrm-memory-vram:\t6 MiB\n", 5 * kib * kib, std::nullopt},
      {"drm-total-vram0:\t23992 KiB\ndrm-total-vram1:\t8\n", 23992 * kib + 8, std::nullopt},
      {"drm-resident-local0:\t1 GiB\ndrm-resident-stolen-local0:\t1 KiB\n", kib * kib * kib + kib, std::nullopt},
      {"drm-resident-system0:\t2 KiB\ndrm-resident-stolen:\t1 KiB\n", std::nullopt, 3 * kib},
      {"drm-resident-vram:\t0\n", 0, std::nullopt},
      {"drm-resident-vram:   12 KiB  \r\n", 12 * kib, std::nullopt},
      // What is no memory, and what is no amount.
      {"drm-resident-gds:\t4 KiB\ndrm-resident-doorbell:\t8 KiB\ndrm-resident-vramx:\t8 KiB\n", std::nullopt,
       std::nullopt},
      {"drm-resident-vram:\t-5 KiB\n", std::nullopt, std::nullopt},
      {"drm-resident-vram:\t5 furlongs\n", std::nullopt, std::nullopt},
      {"drm-resident-vram:\t\n", std::nullopt, std::nullopt},
      {"drm-resident-vram:\t99999999999999999999 KiB\n", std::nullopt, std::nullopt},
      {"drm-resident-vram:\t1152921504606846976 MiB\n", std::nullopt, std::nullopt},
      {"drm-resident-vram:\tx\ndrm-total-vram:\t3 KiB\n", 3 * kib, std::nullopt},
  };
  for (const Case& c : cases) {
    const auto client = parse_drm_fdinfo(client_of(c.lines));
    ASSERT_TRUE(client) << c.lines;
    EXPECT_EQ(client->vram_bytes, c.vram) << c.lines;
    EXPECT_EQ(client->ram_bytes, c.ram) << c.lines;
  }
}

TEST(DrmFdinfo, KnowsWhoComputes) {
  const auto computes = [](const std::string& lines) { return parse_drm_fdinfo(client_of(lines))->computes; };
  EXPECT_FALSE(computes("drm-engine-gfx:\t5 ns\n"));
  EXPECT_FALSE(computes("drm-engine-compute:\t0 ns\n"));
  EXPECT_TRUE(computes("drm-engine-compute:\t52000000 ns\n"));
  EXPECT_TRUE(computes("drm-cycles-ccs:\t99\n"));
  EXPECT_FALSE(computes("drm-total-cycles-ccs:\t99\n"));
}

TEST(DrmFdinfo, IsNothingWithoutADriverAndAPciDevice) {
  EXPECT_FALSE(parse_drm_fdinfo(""));
  EXPECT_FALSE(parse_drm_fdinfo("pos:\t0\nflags:\t02\n"));
  EXPECT_FALSE(parse_drm_fdinfo("drm-driver:\tpanfrost\ndrm-client-id:\t1\n"));
  EXPECT_FALSE(parse_drm_fdinfo("drm-pdev:\t0000:03:00.0\n"));
  EXPECT_FALSE(parse_drm_fdinfo("drm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00\n"));
}

DrmHolding holding(int64_t pid, uint64_t id, std::optional<int64_t> bytes) {
  DrmHolding out;
  out.pid = pid;
  out.client = {"xe", PciAddress{0, 3, 0, 0}, id, bytes, std::nullopt, false};
  return out;
}

std::string told(const std::vector<DeviceProcess>& processes) {
  std::string out;
  for (const DeviceProcess& p : processes)
    out += std::to_string(p.pid) + (p.kind == DeviceProcess::Kind::compute ? "c" : "g") +
           (p.vram_bytes ? std::to_string(*p.vram_bytes) : "?") + " ";
  return out;
}

TEST(DrmFdinfo, CountsAFileThatTwoProcessesShareOnce) {
  DrmScan scan;
  scan.holdings = {holding(10, 1, 100), holding(10, 2, 5), holding(20, 1, 100), holding(30, 3, 7)};
  EXPECT_EQ(told(processes_on(scan, {0, 3, 0, 0}, MemoryOf::card)), "10g105 20g0 30g7 ");
  EXPECT_EQ(told(processes_on(scan, {0, 4, 0, 0}, MemoryOf::card)), "") << "another card";
}

TEST(DrmFdinfo, WhatIsUnknownOfAPartIsUnknownOfTheWhole) {
  DrmScan scan;
  scan.holdings = {holding(10, 1, 100), holding(10, 2, std::nullopt), holding(10, 3, 5)};
  EXPECT_EQ(told(processes_on(scan, {0, 3, 0, 0}, MemoryOf::card)), "10g? ");
  scan.holdings = {holding(10, 1, 100)};
  scan.holdings.back().client.id.reset();
  EXPECT_EQ(told(processes_on(scan, {0, 3, 0, 0}, MemoryOf::card)), "10g? ") << "cannot be told from its own copies";
}

TEST(DrmFdinfo, LeavesOutWhoHasNothing) {
  DrmScan scan;
  scan.holdings = {holding(10, 1, 0), holding(20, 2, 0)};
  scan.holdings.back().client.computes = true;
  EXPECT_EQ(told(processes_on(scan, {0, 3, 0, 0}, MemoryOf::card)), "20c0 ");
}

TEST(DrmScan, IsCompleteOnlyWhereNothingCouldBeHidden) {
  EXPECT_TRUE(scan_drm_files(recorded("amd-mi210-pair")).complete);
  EXPECT_FALSE(scan_drm_files(recorded("amd-7900xtx-desktop")).complete) << "a process that cannot be read";
  EXPECT_FALSE(scan_drm_files("/nowhere").complete);

  const Recording hidden("amd-mi210-pair");
  hidden.remove("proc/1");
  EXPECT_FALSE(scan_drm_files(hidden.root()).complete) << "hidepid: PID 1 is not to be seen";

  const Recording inside("amd-mi210-pair");
  inside.remove("proc/self/ns/pid");
  inside.link("proc/self/ns/pid", "pid:[4026532201]");
  const DrmScan scan = scan_drm_files(inside.root());
  EXPECT_FALSE(scan.complete || scan.initial_pid_namespace) << "in a container";
}

// Lines that are nearly right find more than noise does.
rc::Gen<std::string> fdinfo_like() {
  const auto key = rc::gen::element<std::string>("drm-driver", "drm-pdev", "drm-client-id", "drm-resident-vram",
                                                 "drm-total-vram0", "drm-memory-gtt", "drm-resident-local0", "drm-",
                                                 "drm-engine-compute", "drm-cycles-ccs", "drm-total-", "");
  const auto value = rc::gen::oneOf(rc::gen::element<std::string>("amdgpu", "0000:03:00.0", "7", "8 KiB", "9 MiB",
                                                                  "1152921504606846976", "18446744073709551615 GiB"),
                                    rc::gen::arbitrary<std::string>());
  const auto line = rc::gen::map(rc::gen::pair(key, value), [](const std::pair<std::string, std::string>& kv) {
    return kv.first + ":\t" + kv.second + "\n";
  });
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(line), [](const std::vector<std::string>& lines) {
    std::string out;
    for (const std::string& l : lines) out += l;
    return out;
  });
}

bool within_bounds(std::optional<int64_t> bytes) { return bytes.value_or(0) >= 0 && bytes.value_or(0) <= max_amount; }

RC_GTEST_PROP(DrmFdinfo, NoGarbageDoesHarm, ()) {
  const std::string text = *rc::gen::oneOf(fdinfo_like(), rc::gen::arbitrary<std::string>());
  const auto client = parse_drm_fdinfo(text);
  if (!client) return;
  for (const auto& bytes : {client->vram_bytes, client->ram_bytes}) RC_ASSERT(within_bounds(bytes));
  DrmScan scan;
  scan.holdings = {{1, *client}, {2, *client}};
  for (const DeviceProcess& p : processes_on(scan, client->pci, MemoryOf::machine))
    RC_ASSERT(within_bounds(p.vram_bytes));
}

}  // namespace
}  // namespace berth
