// ServiceManager: the systemd manager of this user (of root: the system's), asked to put a process into a scope of
// its own that may have so much memory.
//
// A shell from a login sits in a cgroup that is not the user's: no group can be made there, and no process of it be
// moved into one that is the user's, since the group above both is the system's. The user's manager has a subtree of
// its own, and has the system's manager move whom it may not: docs/adr/0014.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "run/sd_bus.h"

namespace berth {

struct MemoryLimits {
  int64_t hard_bytes = 0;
  int64_t soft_bytes = 0;
};

// Why there is none to ask, and what to do about it; both empty where there is.
struct NoManager {
  std::string why;
  std::string mend;
};

class ServiceManager {
 public:
  // Looks at files alone. `root` stands before /proc, /run and /sys; "" for this machine's own.
  [[nodiscard]] static NoManager missing(const std::string& root);

  // nullptr where missing() says so, or where the library is missing. Talks to nobody yet.
  [[nodiscard]] static std::shared_ptr<const ServiceManager> find(const std::string& root);

  // Puts this very process into a new scope named `unit`. False where that was refused, or not done by the time that
  // `patience_us` is over: then it may still be done later. It asks for itself rather than for another because then
  // the kernel tells the manager who is meant; a number could mean somebody else where the manager looks.
  [[nodiscard]] bool enter_scope(const std::string& unit, const MemoryLimits& limits, int64_t patience_us) const;
  // Tells it of other limits, lest it puts back the old ones.
  [[nodiscard]] bool set_limits(const std::string& unit, const MemoryLimits& limits, int64_t patience_us) const;

 private:
  struct Address {
    std::string socket;
    bool is_bus;  // a message bus that it is on, or its own socket
  };
  class Talk;

  ServiceManager(std::vector<Address> addresses, std::unique_ptr<const SdBus> calls)
      : addresses_(std::move(addresses)), calls_(std::move(calls)) {}
  [[nodiscard]] static std::vector<Address> addresses(const std::string& root);

  std::vector<Address> addresses_;
  std::unique_ptr<const SdBus> calls_;
};

}  // namespace berth
