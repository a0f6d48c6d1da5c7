// RamScope: a cgroup of a command's own that may not have more memory than was claimed, so that who takes more
// is ended alone. Made where this process may make groups below or beside its own with the memory controller
// on: root, a container with its own hierarchy, a delegated subtree. Version 2 or 1. Elsewhere it is one that the
// user's service manager made (run/service_manager.h).
#pragma once

#include <sys/types.h>

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

  // Whether make() could, as far as can be told without doing it.
  [[nodiscard]] static bool can_be_made(const std::string& root);

  // The one that a service manager made as `unit`, if `pid` is in it by now and it limits. It goes when nobody is
  // left in it, and takes with it what it could have told: see events_fd().
  [[nodiscard]] static std::optional<RamScope> joined(const std::string& root, pid_t pid, const std::string& unit);

  RamScope(RamScope&& other) noexcept
      : path_(std::exchange(other.path_, {})),
        version_(other.version_),
        whose_(other.whose_),
        procs_(std::move(other.procs_)),
        events_(std::move(other.events_)) {}
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
  // Readable when ran_out() may have changed; -1 where that can still be asked at the end.
  [[nodiscard]] int events_fd() const { return events_.get(); }
  void quiet_events() const;
  // The most that was in it at once, less what of it now is files that the kernel could drop.
  [[nodiscard]] std::optional<int64_t> peak_bytes() const;

 private:
  enum class Whose { ours, managers };
  RamScope(std::string path, int version, Whose whose) : path_(std::move(path)), version_(version), whose_(whose) {}

  std::string path_;
  int version_;
  Whose whose_;
  OwnFd procs_;   // of ours alone
  OwnFd events_;  // inotify on memory.events
};

// What the scope of a claim may have: a claim is of data, and code, stacks and page tables come on top.
[[nodiscard]] int64_t hard_limit_bytes(int64_t claimed_bytes);
[[nodiscard]] int64_t soft_limit_bytes(int64_t claimed_bytes);

// Of the group that this process is in, if it is called `unit`: when one in it is to be ended, all are.
void end_own_group_as_one(const std::string& root, const std::string& unit);

}  // namespace berth
