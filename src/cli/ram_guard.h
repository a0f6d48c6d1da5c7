// RamGuard: what a command that claimed memory is held to while it runs: a cgroup of its own where one can be
// made (run/ram_scope.h) or had of the user's service manager (run/service_manager.h), and a look at what it uses.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/options.h"
#include "ledger/record.h"
#include "run/ram_scope.h"
#include "run/service_manager.h"
#include "run/supervisor.h"

namespace berth {

class RamGuard {
 public:
  // `options` must outlive this. Makes the scope, where this process can.
  explicit RamGuard(const RunOptions& options);

  // For one start of it: finds who may make the scope. This must outlive the start.
  void limit(Command& command);
  // nullptr where there is nothing to watch. `claimed`: how much it is by now, which berth resize may have changed;
  // none: what it was at first; asked until tell_end(). This must outlive it.
  [[nodiscard]] std::unique_ptr<Companion> companion(std::function<int64_t()> claimed = {});
  // The command runs: is it where it was put?
  void started(pid_t pid);
  // Says so where the kernel has ended some of it, or where it had more than was noticed. `largest_bytes`: the most
  // that a single process of it had.
  void tell_end(int64_t largest_bytes);
  // The most that it was seen to have, or nullopt. `largest_bytes` as above.
  [[nodiscard]] std::optional<int64_t> peak_bytes(int64_t largest_bytes) const;

  // What follows is for the companion.

  // nullptr where there is none, or not yet.
  [[nodiscard]] const RamScope* scope() const { return scope_ ? &*scope_ : nullptr; }
  [[nodiscard]] int64_t claimed_now();
  // The service manager may have been late.
  void look_for_scope();
  // False where the kernel does not take it.
  [[nodiscard]] bool set_limit(int64_t claimed_bytes);
  void heed_events();
  void note_use(int64_t used_bytes);
  void note_spoken_of() { spoken_of_ = true; }

 private:
  void tell_if_only_booked() const;

  const RunOptions& options_;
  int64_t claimed_bytes_ = 0;
  bool is_free_ = false;            // to have a scope of its own
  int64_t most_claimed_bytes_ = 0;  // at any time
  std::function<int64_t()> claimed_;
  std::optional<RamScope> scope_;
  std::shared_ptr<const ServiceManager> manager_;
  std::string unit_;  // what it is asked to make
  int starts_ = 0;
  pid_t pid_ = 0;
  bool ran_out_ = false;
  bool spoken_of_ = false;
  int64_t most_bytes_ = 0;
};

// What holds a lease to the memory that it claimed, as it shows from here.
struct RamLimitSeen {
  std::string by;             // "cgroup" or "watched"; "booked" where nothing does (hold, adopt, --exec without a
                              // cgroup); "" for one that claims none, or that is not seen
  bool in_outer_one = false;  // it has no cgroup, but runs in that of a lease around it, which limits them together
};
[[nodiscard]] RamLimitSeen ram_limit_seen(const PartyInfo& info, int64_t claimed_bytes);

}  // namespace berth
