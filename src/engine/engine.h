// Engine: acquire, wait and release, the one way in for every client.
//
// It holds no place of its own in any process: one Engine serves one party over one Ledger. All
// it decides, plan() decides; all it does, it does through the Ledger. What is here is the order of
// things, and the order is what is proved (docs/model).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/snapshot.h"
#include "engine/admission.h"
#include "engine/claim_change.h"
#include "engine/machine_word.h"
#include "engine/processor_choice.h"
#include "ledger/ledger.h"
#include "sched/chains.h"
#include "sched/deadlock.h"
#include "sched/plan.h"
#include "sched/reclaim.h"
#include "sched/watch.h"

namespace berth {

struct Request {
  Claim claim;
  int priority = 0;
  int priority_cap = 0;  // lowered to the pool's policy.max_priority where that is more; root: no bound
  int64_t expect_s = 0;
  int64_t ttl_us = 0;             // the place ends so long after it was given; 0: it does not end by itself
  std::optional<PartyId> parent;  // to be served out of that lease
  Way way;                        // what it says of giving way
  bool may_idle = false;          // it may come to say that it is idle
  bool pins = false;              // it is to have processors of its own, as many as it claims; see heed()
  std::optional<PartyId> with;    // that lease of ours does not end before this is seated; see Party::with
  PartyInfo info;
};

struct WaitRule {
  bool no_wait = false;
  int64_t deadline_us = -1;  // on the ledger's monotonic clock; negative: as long as it takes
};

enum class Ending {
  seated,
  busy,        // --no-wait and it is not free
  timed_out,   // the deadline passed
  cancelled,   // the caller's cancel descriptor
  impossible,  // can never be met; see shortfalls
  cycle,       // would wait for somebody who waits for a lease of its own; see cycle
};

struct Acquired {
  Ending ending = Ending::seated;
  std::vector<DeviceRef> devices;     // seated: what was granted, in the order of the claim's list
  std::vector<Shortfall> shortfalls;  // impossible
  std::vector<CycleWait> cycle;       // cycle: by index into snapshot, which has parties of every level then
  Snapshot snapshot;                  // busy, timed_out: what it was busy with
  std::vector<bool> dead;             // by index into snapshot.parties
  int self = -1;                      // index into snapshot.parties
  std::string refusal;                // busy, timed_out: what the driver had to say against it; "" if nothing
  int64_t arrival_us = 0;
  int64_t seated_us = 0;
  std::vector<ProcessorSpan> processors;  // seated: its own ones
};

// What became of a lease that was to have another claim.
struct Resized {
  bool fits = false;                  // and then it has it
  std::vector<Shortfall> shortfalls;  // it never can
  std::string refusal;                // what the driver had to say against it
};

// What a waiter says of itself whenever it has looked and has to go on waiting.
struct Waiting {
  int ahead = 0;             // how many stand before it that want something it wants
  std::string refusal;       // why the driver refuses it a device that it may use; "" if it does not
  bool asks_driver = false;  // it is its turn, and it sits down in a moment unless the driver objects
};

// What a holder finds when it looks whether it is asked to give way.
struct Asked {
  bool asked = false;              // though it may have said that it is busy, or not have heeded this before
  std::optional<PartyKey> waiter;  // for whom; none: by hand
  bool for_whole_cards = false;    // and it shares none of them
  std::vector<PartyKey> above;     // the living that wait with a higher priority than our own
  int64_t look_again_us = -1;      // before that nothing can be said of somebody who may not hear; -1: no need
  bool unsettled = false;          // the lock was not to be had: nothing is known, and nothing was changed
};

// What became of a place that was to be given away.
enum class GaveWay {
  gave,
  nobody_asks,  // any more
  not_yet,      // leases inside of it stand, or the lock is not to be had
};

class Engine {
 public:
  // `defaults`: what the pool is given when this is the first party in it; called only then.
  // `ledger` must outlive us.
  Engine(Ledger& ledger, std::function<PoolConfig()> defaults) : ledger_(ledger), defaults_(std::move(defaults)) {}

  // Whose word counts before a device is taken; must outlive us. Without one only the book counts.
  void heed(Admission& admission) { admission_ = &admission; }
  // The same of the machine itself, for a claim of memory or processors; must outlive us.
  void heed(MachineWord& machine) { machine_ = &machine; }
  // Who chooses the processors of a claim that `pins`; must outlive us.
  void heed(ProcessorChoice& processors) { processors_ = &processors; }
  void heed_nobody() {
    admission_ = nullptr;
    machine_ = nullptr;
    processors_ = nullptr;
  }

  // Called whenever a look ended in waiting, without the lock, and once more at the time that it returns, on
  // the ledger's monotonic clock; negative: not before the next look.
  void on_waiting(std::function<int64_t(const Waiting&)> notice) { on_waiting_ = std::move(notice); }

  // Gets the place. On anything but `seated` nothing of ours is left in the pool that lives.
  [[nodiscard]] Result<Acquired> acquire(const Request& request, const WaitRule& rule);

  // Enters as a holder of all of the claim's devices and counters, whether they are free or not: for what
  // is in use already. Errors as acquire().
  [[nodiscard]] Result<Acquired> adopt(const Request& request);

  // What acquire() with no_wait would come to just now: takes no lock, enters nothing, rings nobody.
  [[nodiscard]] Result<Acquired> preview(const Request& request);

  // Gives the place back. Idempotent. `still_used` is asked under the lock: where it says true
  // nothing is changed and false is returned, for the job's other processes keep the place.
  //
  // Where the lock is not to be had within two seconds it is given back by dying, and true is returned:
  // our copy of the life is closed without the lock, and `still_used` is not asked. The record stays.
  // From the moment that nobody has the life any more (a job that kept it keeps the place until then)
  // it is a dead one to everybody: those who watch it wake, and whoever may removes it.
  [[nodiscard]] Result<bool> release(const std::function<bool()>& still_used = {});

  // ---- giving way, for a seat that said it may be asked (engine_reclaim.cc) ----

  // Looks under the lock whether this seat is meant, and publishes what `decide` makes of it: `lost` where
  // somebody has removed our record. Who is rung and does not look under the lock may look too early.
  [[nodiscard]] Result<Asked> heed_requests(const std::function<Way(const Asked&)>& decide);
  enum class Return {
    to_the_same_devices,  // a command runs on that knows only these
    anywhere,             // nothing runs any more; then it does not matter whether anybody asks
  };
  // Gives the place away and stands in line again, by its old arrival, but behind those for whom it gives way.
  [[nodiscard]] Result<GaveWay> give_way(Return how);
  // Waits for a place again that was given away; as acquire().
  [[nodiscard]] Result<Acquired> come_back(const WaitRule& rule) { return wait_for_seat(rule); }
  // The same beside other work: one look. nullopt: not yet; then sleep until one of the ledger's or the
  // admission's descriptors says something, or until wake_due_us(), and look again if woken() says so.
  [[nodiscard]] Result<std::optional<Acquired>> look_for_seat();
  [[nodiscard]] int64_t wake_due_us() const;
  [[nodiscard]] bool woken();
  // Leaves the line, if it gave way and does not have its place again.
  void leave_line_if_away() {
    if (!seated_) leave_in_time();
  }

  // For a waiter that is about to be stopped, called from a cancelled wait's handler: steps aside so
  // that those behind do not have to find out, and back. See on_cancel().
  [[nodiscard]] Result<> step_aside();
  void step_back();

  // What becomes of a wait that was cancelled.
  enum class OnCancel {
    give_up,
    look,      // go on, but what one knew may be old
    sleep_on,  // it was nothing: no look at the pool
  };
  // Called, without the lock, when the wait was cancelled. Without one a cancelled wait gives up.
  void on_cancel(std::function<OnCancel()> decide) { on_cancel_ = std::move(decide); }

  [[nodiscard]] const Record& record() const { return record_; }
  // Those that living leases have for their own, but for us, those inside of us and those around us: as of the last
  // look.
  [[nodiscard]] ProcessorSet processors_of_others();
  [[nodiscard]] bool seated() const { return seated_; }

  // Changes capacities and policy and wakes whom it helps. `edit` is given the config as it stands.
  [[nodiscard]] Result<> configure(const std::function<Result<>(PoolConfig&)>& edit);
  enum class Standing {
    stands,   // our record is there
    again,    // it was gone, and has been published again
    taken,    // it is gone, and others have what it held
    nowhere,  // it is gone, and so is the lease that it was inside of
    locked,   // it is gone, and the pool's lock was not to be had in time: to be tried again
  };
  // For a holder whose record somebody removed without meaning to end the lease: enters it again, as it was,
  // if what it held is free. Waiters do not count: the job runs there already.
  [[nodiscard]] Result<Standing> stand_again();

  // Reads our record again: its owner may have changed what it has (berth resize) and has rung. False where
  // there is none. What acquire() gave in `devices` stays what it was.
  bool refresh();
  // Whether our record still stands. False once somebody released it.
  [[nodiscard]] Result<bool> still_ours();

  // Gives a lease that is held another claim, its own party's or that of root's choice, and rings that party.
  // What it gives up is free at once; more it gets only where somebody who came now would get that. Errors:
  // not_found, not_yours, usage (with what to do instead).
  [[nodiscard]] Result<Resized> resize(const PartyKey& who, const ClaimWish& wish);

  // Ends another party's lease: wakes whom it helps, removes the record and rings the party itself.
  // Its job runs on. `not_found`, `not_yours`.
  [[nodiscard]] Result<> evict(const PartyKey& who);

 private:
  static constexpr int64_t first_pace_us = 250'000;  // at which who refused us is asked again

  // How the last rings of an entitled waiter went, so that only unanswered time passes it over.
  struct Patience {
    int unread = 0;
    int64_t since_us = 0;
    int64_t last_look_us = 0;
  };
  // One look under the lock: the snapshot, who does not count in it, and what the plan says.
  struct Look {
    Snapshot snapshot;
    int self = -1;
    std::vector<bool> dead;       // by index
    std::vector<bool> silent;     // waiters passed over for unanswered time
    std::vector<int> newly_dead;  // found so by this very look
    Plan plan;
    int64_t look_again_us = -1;
    int contending_ahead = 0;
    OrdinalMask veto_before = 0;  // as published
    OrdinalMask veto = 0;         // as it should be
    bool out_before = false;      // the same of Party::out. In `snapshot` we are not out until that is settled
    bool out = false;
    bool asks_driver = false;               // the plan seats us, and the driver has not been asked since it does
    bool impossible = false;                // even if the driver refused us nothing
    std::string refusal;                    // of the devices in `veto`, one reason; or of being out
    int refused_ahead = 0;                  // waiters before us that their driver refuses something as well
    bool gives_way = false;                 // the plan seats us, and one of those may be let in by now
    bool by_time = false;                   // nobody rang: it is a safety tick
    std::vector<ProcessorSpan> processors;  // the plan seats us, and these we get for our own

    [[nodiscard]] Verdict verdict() const { return plan.verdict_of(self); }
  };

  // One look of a waiter, with what came of it.
  struct Turn {
    std::optional<Acquired> done;
    bool ask_first = false;  // the driver, before it can be said whether the place is free now
    bool again = false;      // nothing was looked at: the wait for the lock was cut short
    Look last;
    int64_t next_us = 0;
    Waiting waiting;
  };
  Result<Acquired> wait_for_seat(const WaitRule& rule);
  Result<Turn> turn(const WaitRule& rule, int64_t lock_until_us);
  Result<Turn> turn_without_lock(const WaitRule& rule, LockOutcome why);
  [[nodiscard]] Acquired own_seat() const;
  // With what a caller wants to know who did not get its place.
  Acquired leave_unseated(Look look, Ending ending);
  void begin(const Request& request);
  Result<Look> look();
  Result<> find_self(Look& look);
  [[nodiscard]] std::string own_dir(const Snapshot& snapshot) const;
  void owe(Look& look);
  void charge_own_use();
  void charge_unseen_use(const Look& look, const Party& dead);
  void settle(Look& look);
  void heed_driver(Look& look, const std::function<void(Look&)>& replan);
  static bool find_own_record(Look& look, const PartyKey& who);
  // A look without a plan: that party's rivals, and who of them is known to be dead. `gone`: it is not there.
  Result<Look> find_there(Snapshot all, const PartyKey& who, Error gone);
  // Takes the lock however long it takes; an error where the caller cancels.
  Result<> lock_for_long();
  void refuse(Look& look, const Eligible& device, bool seated);
  void note_departures(const Look& look);
  static void count_refused_ahead(Look& look);
  bool gives_way(Look& look);
  void heed_machine(Look& look);
  std::string machine_refusal(Look& look);
  void note_processors(const Snapshot& all);
  [[nodiscard]] std::vector<PartyKey> leases_with(const Snapshot& all) const;
  void forget_dead_owners();
  [[nodiscard]] ProcessorSet taken_processors() const;
  bool lacks_processors();
  std::string find_processors(Look& look);
  [[nodiscard]] Record as_seated(const Look& look) const;
  void stay_out(Look& look);
  bool gives_way_to_the_refused(Look& look);
  [[nodiscard]] bool driver_answered_lately() const;
  bool ask_now();
  Wake sleep(const Look& look, int64_t next_us);
  // nullopt: the wait was cancelled, and is given up.
  std::optional<Wake> sleep_and_tell(const Look& look, const Waiting& waiting, int64_t next_us);
  [[nodiscard]] OnCancel ask_caller() const { return on_cancel_ ? on_cancel_() : OnCancel::give_up; }
  void before_sleep(const Look& look);
  std::optional<Wake> nap(int64_t next_us, int64_t until_us);
  bool look_deeply(Look& look, const Watch& watched);
  bool supervise(Look& look, const std::vector<int>& entitled);
  void recall_the_dead(Look& look) const;
  bool bury(Look& look, int index);
  void sample_the_dead(Look& look);
  // Ring, then commit: `commit` makes the own change, after the dead are gone from the pool.
  Result<> change_pool(Look& look, PartyState self_after, bool self_gone, const std::function<Result<>()>& commit);
  // What the pool looked like to others before a change: whom they watch follows from it.
  struct Before {
    Plan plan;
    Chains chains;
  };
  void become(Look& look, PartyState state) const;
  void ring_for(Look& look, std::vector<int> rings, const Before& before, const std::vector<int>& changed,
                bool self_gone);
  Result<Resized> seat_growth(const Look& look, const Record& now, const ClaimChange& change,
                              std::vector<uint16_t>& more);
  void ring_for_change(Look& look, const Record& after, bool grows);
  bool take_over(const Snapshot& all);
  static bool nobody_contends(const Look& look);
  Result<> sit_down(Look& look);
  Result<> stand_in_line(Look& look);
  Result<bool> closes_cycle(Acquired& out);
  void leave_the_line();
  void mend(Look& look);
  Result<> shift_locked(PartyState state);
  void leave_in_time();
  void die();
  void ring_concerned_by_newcomer(Look& look, PartyState self_after, bool nobody_else_changed);
  void heed_time(Look& look, const Watch& watched);
  void ring_entitled(const Look& look);
  Asked whether_asked(Look& look, std::vector<Reclaim>& asked);
  void bury_the_dead(Look& look);
  bool hears(const Party& party, const Ring& bell, int rung, int64_t& look_again_us);
  void ring_reclaims(Look& look, PartyState self_after, bool self_gone);
  Result<Snapshot> read_config_first();
  // Of all parties, those that compete with us.
  Result<Snapshot> rivals(Snapshot all);
  [[nodiscard]] PartyKey own_key() const { return PartyKey::of(record_.id, record_.dir); }
  [[nodiscard]] int64_t next_look_us(const Look& look, const WaitRule& rule);

  Ledger& ledger_;
  std::function<PoolConfig()> defaults_;
  std::function<int64_t(const Waiting&)> on_waiting_;
  std::function<OnCancel()> on_cancel_;
  Record record_;
  int priority_cap_ = 0;
  bool entered_ = false;
  bool asked_for_cycle_ = false;  // whether our waiting closes a cycle of hold-and-wait: asked once
  bool seated_ = false;
  Admission* admission_ = nullptr;
  MachineWord* machine_ = nullptr;
  ProcessorChoice* processors_ = nullptr;
  struct OwnedProcessors {
    Party party;
    ProcessorSet set;
    bool around = false;  // our command runs in it, though it is not it that serves us
  };
  std::vector<OwnedProcessors> owned_processors_;
  ProcessorSet around_processors_;  // of the nearest lease that serves us and has some
  int64_t machine_pace_us_ = first_pace_us;
  // Of each device of the claim, by ordinal: who lived on it at the last look, and when somebody was last
  // seen to have left it. An answer that was asked for before says nothing of what he left behind.
  struct DeviceBook {
    std::vector<PartyKey> holders;
    int64_t left_us = 0;
  };
  std::vector<DeviceBook> device_books_;
  std::string refusal_;        // why the driver refused what is vetoed, in its last words
  int64_t ask_again_us_ = -1;  // of a driver that refused us something
  int64_t ask_pace_us_ = 0;
  bool come_back_ = false;       // stepped aside, and to stand in line again at the next look
  bool deep_ = false;            // the next look asks the kernel about everybody that stands in the way
  OrdinalMask elsewhere_ = 0;    // devices of the claim that are of no use, see Return; vetoed while we wait
  int64_t sleep_until_us_ = -1;  // of a seat that is waited for beside other work
  std::map<PartyKey, Patience> patience_;
  std::map<PartyKey, Patience> ears_;       // the same of holders that are asked to give way
  std::map<PartyKey, int64_t> courtesies_;  // until when we wait for one that was refused to look again
  std::set<PartyKey> known_dead_;           // dead, but not ours to reap: no news any more
};

}  // namespace berth
