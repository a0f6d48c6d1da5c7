#include "device/sysfs.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "device/pci_name.h"
#include "device/probe.h"
#include "tests/support/recorded.h"

namespace berth {
namespace {

TEST(PciAddress, IsReadAsTheKernelWritesIt) {
  const auto round = [](const std::string& text) {
    const auto address = PciAddress::parse(text);
    return address ? address->text() : "no";
  };
  for (const char* text : {"0000:17:00.0", "0001:c1:1f.7", "10000:e1:00.0"}) EXPECT_EQ(round(text), text);
  for (const char* text : {"", "0000:17:00", "17:00.0", "0000:17:00.8", "0000:17:20.0", "0000:17:00.0 ", "0000:1g:00.0",
                           "000:17:00.0", "card0", "0000:17:00.0/x", ":::::::::", "0x00:17:00.0"})
    EXPECT_EQ(round(text), "no") << text;
}

TEST(PciIds, NamesTheDeviceOfTheVendorThatIsMeant) {
  const std::string ids =
      "# comment\n1002  AMD\n\t744c  Navi 31 [Radeon RX]\n\t\t1002 744d  Not a device\n10de  NVIDIA\n\t744d  Other\n";
  EXPECT_EQ(name_in_pci_ids(ids, 0x1002, 0x744c), "Radeon RX");
  EXPECT_EQ(name_in_pci_ids(ids, 0x1002, 0x744d), "");
  EXPECT_EQ(name_in_pci_ids(ids, 0x10de, 0x744d), "Other");
  EXPECT_EQ(name_in_pci_ids(ids, 0x8086, 0x744c), "");
}

RC_GTEST_PROP(PciIds, NoGarbageDoesHarm, (const std::string& text)) {
  const std::string file = "1002  A\n\t744c  " + text + "\n744C," + text + ",C8,x\n";
  for (const std::string& name : {name_in_pci_ids(file, 0x1002, 0x744c), name_in_amdgpu_ids(file, 0x744c, 0xc8)})
    RC_ASSERT(name.find('\n') == std::string::npos);
}

// Each file in turn is gone, empty, or holds what nobody would expect there.
TEST(Probes, NoGarbageInAnyFileDoesHarm) {
  const std::vector<std::string> garbage = {"",
                                            "\n\n\n",
                                            "-1\n",
                                            "18446744073709551615\n",
                                            "99999999999999999999999\n",
                                            std::string("\0\xff\x80:\t[]", 7),
                                            std::string(10000, 'A'),
                                            std::string(5000, '\n') + "drm-pdev:"};
  for (const char* name : {"amd-mi210-pair", "amd-7900xtx-desktop", "intel-a770-xe"}) {
    const Recording machine(name);
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(machine.root()))
      if (!entry.is_symlink() && entry.is_regular_file())
        files.push_back(std::filesystem::relative(entry.path(), machine.root()).string());
    ASSERT_FALSE(files.empty());
    for (const std::string& file : files) {
      const auto original = read_text(machine.root() + "/" + file);
      ASSERT_TRUE(original) << file;
      for (size_t i = 0; i <= garbage.size(); ++i) {
        machine.remove(file);
        if (i < garbage.size()) machine.write(file, garbage[i]);
        for (const Sighting& seen : {probe_amd(machine.root()), probe_intel(machine.root())})
          for (const Device& d : seen.devices)
            EXPECT_FALSE(d.uuid.empty() || d.name.empty() || d.vram_total_bytes < 0) << file << " " << i;
      }
      machine.write(file, *original);
    }
  }
}

}  // namespace
}  // namespace berth
