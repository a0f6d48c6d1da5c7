// Ledger: one party's door to a pool.
//
// The engine says *what* happens; a ledger knows how a pool is stored and what death is. Three
// stand behind this interface: the local directory (local_ledger.h), a deterministic stand-in with a
// virtual clock for tests (sim_ledger.h), and, one day, etcd. One object serves one party and one thread.
//
// Protocol, in the words of docs/PROTOCOL.md: every change is made between lock() and unlock();
// whoever changes the pool rings first, then commits, then unlocks; a record is cleared before its
// life is dropped. A party changes only its own record, and reaps only what is dead.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/snapshot.h"
#include "ledger/pool_config.h"
#include "ledger/record.h"

namespace berth {

enum class Life {
  alive,     // or we lack what it takes to ask
  unknown,   // its owner lets us not ask (a directory of mode 0700, say): it counts as alive, and he is named
  survived,  // nobody holds its write end, but a process of the job that closed it still runs
  dead,      // nobody holds its write end any more. Final: ids are never used again
};

enum class LockOutcome { locked, timed_out, cancelled };

// Whether the caller's cancel descriptor ends a wait for the lock. Who has to tidy up heeds nothing.
enum class Heed { cancel, nothing };

struct Ring {
  bool answered = false;  // false: nobody holds the bell's reading end, its owner is gone
  int unread = 0;         // rings in the bell that its owner has not read, this one included
  bool full = false;      // nothing more goes in, or it lets nobody ring: silent, unless it looks by itself
  bool written = false;   // this one stands in the bell now
};

struct Wake {
  bool cancelled = false;     // the caller's cancel descriptor has something to say
  bool timed_out = false;     // nothing happened until the deadline
  bool answered = false;      // the caller's other descriptor is readable
  bool nothing_else = false;  // with `cancelled`: no bell, no death, no answer
};

class Ledger {
 public:
  virtual ~Ledger() = default;

  // Takes the pool's lock. `deadline_us` is on monotonic_us()'s clock; negative: wait as long as it
  // takes. Inside, signals are blocked. Errors: the pool was removed (lost), or cannot be used.
  virtual Result<LockOutcome> lock(int64_t deadline_us, Heed heed = Heed::cancel) = 0;
  // Gives the lock back; after leave() it also drops the life and the bell.
  virtual void unlock() = 0;

  // One atomic look. Under the lock it is the truth; without it, a true picture of a moment ago.
  // Includes the dead: that a record stands says nothing of its life.
  virtual Result<Snapshot> read() = 0;

  // True if nobody stands in line. One look like read(), cheaper.
  virtual Result<bool> line_is_empty() = 0;

  // Requires the lock. Makes life and bell and publishes `record`, whose id must be new and whose
  // dir is filled in; a nested one comes with its parent's. On error nothing is left behind.
  virtual Result<> enter(Record& record) = 0;
  // Requires the lock and an entered record. All or nothing. Error `lost`: it is no longer there.
  virtual Result<> change(const Record& record) = 0;
  // Of an entered party: whether its record, life and bell are where it made them.
  [[nodiscard]] virtual bool entries_stand() = 0;
  // Requires the lock and an entered party of which not all entries stand. Publishes it again; where its life
  // or bell is gone it gets new ones, in the pool as it is now. On error nothing is left behind.
  virtual Result<> restore(Record& record) = 0;
  // Requires the lock. Clears the own record; life and bell go at unlock(). Never fails: what
  // cannot be removed is dead once the life is dropped, and somebody reaps it.
  virtual void leave() = 0;

  // For who cannot have the lock: drops the life and the bell and forgets the record, which stays. That is
  // a death like any other: whoever watches hears of it, and once the last copy of the life is closed
  // the record counts as nothing and may be reaped.
  virtual void abandon() = 0;

  // True if the party's directory belongs to our own uid.
  [[nodiscard]] virtual bool ours(const Party& party) const = 0;
  // Where our next record will stand, as far as that is known before it does: what others will plan with.
  [[nodiscard]] virtual std::string own_dir() const = 0;
  // Rings a party. Never blocks.
  virtual Ring ring(const Party& party) = 0;
  // How its bell stands, without ringing it.
  virtual Ring bell(const Party& party) = 0;
  // Asks the kernel whether a party lives.
  virtual Life life(const Party& party) = 0;
  // Requires the lock. Removes a dead party's entries after asking once more. False: it lives, or is
  // another uid's, which the sticky bit keeps us from.
  virtual bool reap(const Party& party) = 0;
  // True if reap() could remove this party's entries, were it dead.
  [[nodiscard]] virtual bool may_reap(const Party& party) const = 0;

  // Watches the lives of exactly these parties from now on (keeping what is already watched) and
  // returns the indices into `snapshot` of those that are dead.
  virtual std::vector<int> watch(const Snapshot& snapshot, const std::vector<int>& parties) = 0;
  // Sleeps until the bell rings, a watched party dies, the caller cancels, the time comes or `answer_fd`
  // is readable (negative: none). `deadline_us` as in lock(). Spurious returns are allowed.
  virtual Wake wait(int64_t deadline_us, int answer_fd) = 0;

  // Requires the lock. Writes the pool's capacities and policy.
  virtual Result<> write_config(const PoolConfig& config) = 0;
  // The config as of the last read(); nullopt when the pool has none yet.
  [[nodiscard]] virtual const PoolConfig* config() const = 0;
  // Why config() is null although something stands there: garbled, or not to be believed. "" if fine.
  [[nodiscard]] virtual std::string config_complaint() const = 0;
  // Requires the lock. Removes the record of any party, alive or not, and tells that party beforehand that
  // this is meant. `not_yours` where the file system says so.
  virtual Result<> evict(const Party& party) = 0;
  // Requires the lock. Puts `record`, of the same id and state, in the place of that party's; what people are
  // told of it stays. All or nothing. `not_yours` as for evict().
  virtual Result<> replace(const Party& party, const Record& record) = 0;
  // What our uid's ended leases had, as the last of them wrote it (sched/fair_share.h); "" if there is none.
  virtual std::string use_account() = 0;
  // Requires the lock. What fails costs no more than that.
  virtual void write_use_account(const std::string& text) = 0;
  // Removes what crashes left of this uid's: lives and bells without a record. Requires the lock.
  virtual void sweep_orphans() = 0;

  // The clocks, so that a stand-in can turn them by hand.
  virtual int64_t now_wall_us() = 0;
  virtual int64_t now_monotonic_us() = 0;
  // Ten random characters for a new party.
  virtual PartyId new_id() = 0;
};

}  // namespace berth
