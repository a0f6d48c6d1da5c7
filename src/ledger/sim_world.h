// SimWorld: a pool, its parties and their clock, all inside one test.
//
// What lives on a machine as processes lives here as fibers that run the very same engine over a
// SimLedger. Every call to that ledger is a step: there, and only there, the world may let another
// party go first, kill this one or stop it. Nothing else is random and nothing is real, so a seed
// and the fates that a test deals out give the same run every time.
//
//   A killed party's lock is released, its bell falls silent and its life ends (later, where a child
//   keeps it); its record stays. A stopped party keeps all three and does nothing. As under SIGKILL,
//   no more of its code has any effect: the ledger unwinds it with SimKilled.
//   Steps take no time. When nobody can move, the clock goes to the next deadline.
//
// The world judges by itself, without plan(), that no more is granted than there is; and it measures
// with plan() how long a live, running waiter sat while it was entitled to a seat.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/snapshot.h"
#include "ledger/pool_config.h"
#include "ledger/sim_fiber.h"

namespace berth {

class SimLedger;

// Unwinds a killed party. Private to the world: nobody but a fiber's end catches it.
struct SimKilled {};

// What befalls a party at a step, before the call has any effect.
struct SimFate {
  enum Kind { live, die, stop } kind = live;
  int64_t for_us = 0;  // stop: until it is continued; die: how long a child of it keeps its life
};

// One record as it lies in the pool.
struct SimEntry {
  PartyId id;
  std::string name;
  std::string target;
  int uid = 0;
};

// A party as its neighbours can know it, and as the scheduler needs it.
struct SimParty {
  enum class Blocked { no, lock, bell, clock };

  int index = 0;
  int uid = 0;
  PartyId id;  // once entered
  int steps = 0;
  bool life = false;         // the write end is held, by it or a child
  bool bell = false;         // somebody listens
  int unread = 0;            // rings in the bell
  bool cancelled = false;    // its cancel descriptor is readable
  bool heeds_cancel = true;  // in lock()
  bool killed = false;
  int64_t stopped_until_us = -1;
  std::set<PartyId> watched;
  Blocked blocked = Blocked::no;
  int64_t deadline_us = -1;  // of what it is blocked in
  int64_t blocked_since_us = 0;
  int64_t idle_us = 0;  // entitled, live, running and not seated for so long by now
  int idle_stops = 0;   // the most waiters that were stopped in that time
  std::unique_ptr<SimLedger> ledger;
  std::unique_ptr<Fiber> fiber;

  [[nodiscard]] bool stopped() const { return stopped_until_us >= 0; }
  [[nodiscard]] bool done() const { return fiber->done(); }
};

// What a run has shown.
struct SimReport {
  std::string broken;  // the first promise that was broken; "" if none
  int steps = 0;
  int64_t ended_us = 0;  // virtual time from the first step to the last
  // The longest that anybody was entitled and idle while at most that many waiters were stopped.
  std::vector<int64_t> idle_us = std::vector<int64_t>(4, 0);
  int rescues = 0;                 // safety ticks that went off while somebody entitled had been forgotten
  std::vector<std::string> trace;  // where it was asked for
};

class SimWorld {
 public:
  SimWorld(PoolConfig config, uint64_t seed);
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  // A party and what it does: a process, whose life and bell go when `body` returns.
  int add(int uid, std::function<void(SimLedger&)> body);
  // Asked at every step of every party: the party, its how-many-eth step (from 1) and the call.
  std::function<SimFate(const SimParty&, int nth, std::string_view call)> fate;
  // `what` happens when the clock comes to `at_us`, between two steps.
  void at(int64_t at_us, std::function<void()> what) { events_.emplace(at_us, std::move(what)); }
  void keep_trace() { tracing_ = true; }

  // A party that a test plays by hand, outside run(): its calls take effect at once, and waiting turns
  // the clock.
  SimLedger& by_hand(int uid) {
    return *parties_[static_cast<size_t>(add(uid, [](SimLedger&) {}))]->ledger;
  }

  // Runs until everybody is done or nobody will ever move again.
  SimReport run();

  // What a test may do from an event, or look at when all is over.
  void kill(int party, int64_t child_lives_us = 0);
  void stop(int party, int64_t for_us);
  void cancel(int party) { parties_[static_cast<size_t>(party)]->cancelled = true; }
  [[nodiscard]] const std::vector<SimEntry>& entries() const { return entries_; }
  [[nodiscard]] const SimParty& party(int index) const { return *parties_[static_cast<size_t>(index)]; }
  [[nodiscard]] int64_t now_us() const { return now_us_; }
  [[nodiscard]] bool lives(const PartyId& id) const;
  void complain(const std::string& what);

 private:
  friend class SimLedger;
  static constexpr int nobody = -1;
  static constexpr int64_t epoch_us = 1'000'000'000;

  // For the ledger. step() returns false instead of throwing where the caller must not throw.
  void step(SimParty& self, std::string_view call);
  bool quiet_step(SimParty& self, std::string_view call) noexcept;
  void block(SimParty& self, SimParty::Blocked in, int64_t deadline_us);
  Snapshot snapshot();
  [[nodiscard]] bool somebody_died(const SimParty& p) const;  // of those it watches
  SimEntry* entry(const PartyId& id);
  SimParty* owner(const PartyId& id);
  void check_grants();

  [[nodiscard]] bool ready(const SimParty& p) const;
  bool pass_time();
  void measure_idleness(int64_t passed_us);
  void continue_the_stopped();

  std::mt19937_64 random_;
  PoolConfig config_;
  std::vector<SimEntry> entries_;
  std::vector<std::unique_ptr<SimParty>> parties_;
  std::map<PartyId, int> owners_;        // every id that ever was, to the party that had it
  std::map<int, std::string> accounts_;  // by uid: what his ended leases had
  std::multimap<int64_t, std::function<void()>> events_;
  int lock_holder_ = nobody;
  int64_t now_us_ = epoch_us;
  bool running_ = false;
  bool tracing_ = false;
  SimReport report_;
};

}  // namespace berth
