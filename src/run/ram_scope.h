// RamScope: a cgroup of a command's own that may not have more memory than was claimed, so that who takes more
// is ended alone. Made where this process may make groups below or beside its own with the memory controller
// on: root, a container with its own hierarchy, a delegated subtree. Version 2 or 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/own_fd.h"

namespace berth {

class RamScope {
 public:
  // nullopt where it cannot be made. `root` as in own_memory_cgroup(). Also removes what berths that were killed
  // left there.
  [[nodiscard]] static std::optional<RamScope> make(const std::string& root, int64_t claimed_bytes);

  RamScope(RamScope&& other) noexcept
      : path_(std::exchange(other.path_, {})), version_(other.version_), procs_(std::move(other.procs_)) {}
  RamScope& operator=(RamScope&&) = delete;
  RamScope(const RamScope&) = delete;
  RamScope& operator=(const RamScope&) = delete;
  ~RamScope();

  // Whoever writes "0" to it is in it.
  [[nodiscard]] int procs_fd() const { return procs_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  // What its processes have and the kernel could not drop.
  [[nodiscard]] std::optional<int64_t> used_bytes() const;
  // For another claim than it was made for (berth resize). False where the kernel does not take it.
  [[nodiscard]] bool limit(int64_t claimed_bytes) const;
  // Whether the kernel has ended somebody in it for want of memory.
  [[nodiscard]] bool ran_out() const;

 private:
  RamScope(std::string path, int version) : path_(std::move(path)), version_(version) {}

  std::string path_;
  int version_;
  OwnFd procs_;
};

// What the scope of a claim may have: a claim is of data, and code, stacks and page tables come on top.
[[nodiscard]] int64_t hard_limit_bytes(int64_t claimed_bytes);
[[nodiscard]] int64_t soft_limit_bytes(int64_t claimed_bytes);

}  // namespace berth
