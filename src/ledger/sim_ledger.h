// SimLedger: one party's door to a simulated pool (sim_world.h). Behaves as local_ledger.h does as
// far as an engine can tell; what differs between file systems, users and kernels is not here.
#pragma once

#include <string>
#include <vector>

#include "ledger/ledger.h"
#include "ledger/sim_world.h"

namespace berth {

class SimLedger final : public Ledger {
 public:
  SimLedger(SimWorld& world, SimParty& self) : world_(world), self_(self) {}

  // The job at work, or a test that lets time pass: a step, and then `us` of virtual time.
  void pause(int64_t us);
  // As SIGSTOP to oneself.
  void stop_myself(int64_t us);
  // Reads the cancel descriptor empty.
  void forget_cancel() { self_.cancelled = false; }
  [[nodiscard]] const SimParty& party() const { return self_; }

  Result<LockOutcome> lock(int64_t deadline_us, Heed heed = Heed::cancel) override;
  void unlock() override;
  Result<Snapshot> read() override;
  Result<bool> line_is_empty() override;
  Result<> enter(Record& record) override;
  Result<> change(const Record& record) override;
  [[nodiscard]] bool entries_stand() override { return world_.entry(self_.id) != nullptr; }
  Result<> restore(Record& record) override;
  void leave() override;
  void abandon() override;
  Ring ring(const Party& party) override;
  Ring bell(const Party& party) override;
  Life life(const Party& party) override;
  bool reap(const Party& party) override;
  [[nodiscard]] bool ours(const Party& party) const override;
  [[nodiscard]] std::string own_dir() const override;
  [[nodiscard]] bool may_reap(const Party& party) const override;
  std::vector<int> watch(const Snapshot& snapshot, const std::vector<int>& parties) override;
  Wake wait(int64_t deadline_us, int answer_fd) override;
  Result<> write_config(const PoolConfig& config) override;
  [[nodiscard]] const PoolConfig* config() const override { return &world_.config_; }
  [[nodiscard]] std::string config_complaint() const override { return ""; }
  Result<> evict(const Party& party) override;
  Result<> replace(const Party& party, const Record& record) override;
  std::string use_account() override;
  void write_use_account(const std::string& text) override;
  void sweep_orphans() override;
  int64_t now_wall_us() override { return world_.now_us(); }
  int64_t now_monotonic_us() override { return world_.now_us(); }
  PartyId new_id() override;

 private:
  void step(std::string_view call) { world_.step(self_, call); }
  void must_hold_lock(std::string_view call);
  void erase(const PartyId& id);

  SimWorld& world_;
  SimParty& self_;
  bool leaving_ = false;
};

}  // namespace berth
