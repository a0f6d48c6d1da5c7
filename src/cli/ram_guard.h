// RamGuard: what a command that claimed memory is held to while it runs: a cgroup of its own where one can be
// made (run/ram_scope.h), and a look at what it uses.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/options.h"
#include "ledger/record.h"
#include "run/ram_scope.h"
#include "run/supervisor.h"

namespace berth {

class RamGuard {
 public:
  // `options` must outlive this. Makes the scope.
  explicit RamGuard(const RunOptions& options);

  void limit(Command& command) const;
  // nullptr where there is nothing to watch. `claimed`: how much it is by now, which berth resize may have changed;
  // none: what it was at first.
  [[nodiscard]] std::unique_ptr<Companion> companion(std::function<int64_t()> claimed = {});
  // The command runs: is it where it was put?
  void started(pid_t pid);
  // Says so where the kernel has ended some of it.
  void tell_end() const;

 private:
  const RunOptions& options_;
  int64_t claimed_bytes_ = 0;
  std::optional<RamScope> scope_;
};

// What holds a lease to the memory that it claimed, as it shows from here: "cgroup" or "watched"; "" for one
// that claims none, that no berth stays with (hold, adopt, --exec), or that is not seen.
[[nodiscard]] std::string ram_limit_seen(const PartyInfo& info, int64_t claimed_bytes);

}  // namespace berth
