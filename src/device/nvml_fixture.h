// A stand-in for NVIDIA's library, steered from a test (tests/standin/nvml/README.md says how).
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "device/nvml.h"

namespace berth {

inline constexpr int64_t mib = 1 << 20;
inline constexpr int64_t gib = 1 << 30;

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::string& path, const std::string& text) {
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

inline std::string card(const std::string& number, const std::string& more = "") {
  return "card GPU-" + number + " NVIDIA Test\npci 0000:" + number + ":00.0\nmemory 24G 2G 1G\n" + more;
}

inline std::vector<std::string> uuids(const std::vector<Device>& devices) {
  std::vector<std::string> found;
  for (const Device& d : devices) found.push_back(d.uuid);
  return found;
}

using Words = std::vector<std::string>;

inline DeviceProcess on_compute(int64_t pid, std::optional<int64_t> bytes) {
  return {pid, DeviceProcess::Kind::compute, bytes};
}

}  // namespace berth
