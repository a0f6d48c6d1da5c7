// A recorded machine of tests/data, as it is or as a copy that a test may change.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace berth {

inline std::string recorded(const std::string& name) { return std::string(BERTH_TEST_DATA) + "/" + name; }

class Recording {
 public:
  // A copy of tests/data/`name`; "" for a machine without anything.
  explicit Recording(const std::string& name) {
    std::string path = (std::filesystem::temp_directory_path() / "berth-recorded-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    root_ = path;
    using Options = std::filesystem::copy_options;
    if (!name.empty()) std::filesystem::copy(recorded(name), root_, Options::recursive | Options::copy_symlinks);
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  [[nodiscard]] const std::string& root() const { return root_; }

  void write(const std::string& path, const std::string& text) const {
    const std::string at = root_ + "/" + path;
    std::filesystem::create_directories(std::filesystem::path(at).parent_path());
    std::ofstream(at, std::ios::binary | std::ios::trunc) << text;
  }
  void link(const std::string& path, const std::string& target) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    std::filesystem::create_symlink(target, root_ + "/" + path);
  }
  void remove(const std::string& path) const { std::filesystem::remove_all(root_ + "/" + path); }

 private:
  std::string root_;
};

}  // namespace berth
