// LocalLedger: a party's door to a pool that is a directory on this machine.
//
// Where things lie in the pool:
//   pool                 symlink: capacities and policy                       (pool_config.h)
//   h1,... w1,... a1,... symlink: a record, one a party                       (record.h)
//   u<DIR>/              0755, one a uid, so that nobody else can touch what is in it:
//   u<DIR>/<ID>.l        FIFO 0644: the life. The party and its job's tree hold the write end
//   u<DIR>/<ID>.b        FIFO 0622: the bell. The party alone holds the read end
//   u<DIR>/use           symlink: what the user's ended leases had, where policy.share asks for it
// FIFOs stay out of the pool's own directory so that a scan reads one entry a party and not three.
#pragma once

#include <poll.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/own_fd.h"
#include "ledger/ledger.h"
#include "ledger/local_pool.h"
#include "ledger/pool_lock.h"
#include "ledger/survivor.h"

namespace berth {

// The name of one of a party's files in its directory: its life (".l"), its bell (".b") and so on.
[[nodiscard]] std::string fifo_name(const PartyId& id, const char* suffix);

class LocalLedger final : public Ledger {
 public:
  // `pool` must outlive this object. `cancel_fd`: poll() readable cancels wait() and lock(); -1 none.
  explicit LocalLedger(LocalPool& pool, int cancel_fd = -1);
  ~LocalLedger() override;
  LocalLedger(const LocalLedger&) = delete;
  LocalLedger& operator=(const LocalLedger&) = delete;

  void on_slow_lock(PoolLock::Notice notice) { lock_.on_slow(std::move(notice)); }
  void set_cancel_fd(int fd) { cancel_fd_ = fd; }

  // The descriptor that keeps the party alive; -1 before enter(). Whoever inherits a copy keeps the
  // place. Owned by this object.
  [[nodiscard]] int life_fd() const { return life_.get(); }
  // Every descriptor this object needs, for who closes all others. The pool's own is not among them.
  [[nodiscard]] std::vector<int> descriptors() const {
    return {own_dir_.get(), life_.get(), bell_.get(), spare_.get()};
  }
  // Reads the bell empty, for an owner that sleeps elsewhere than in wait().
  void quiet_bell() { (void)drain_bell(); }
  // Readable when the party was rung. Owned by this object.
  [[nodiscard]] int bell_fd() const { return bell_.get(); }
  // Requires an entered record. Writes down processes of the job that keep its place though they may have
  // closed its life: in place of those written down before. What fails costs no more than that.
  void note_processes(const std::vector<pid_t>& pids);
  // Those of a party that were written down and still run.
  [[nodiscard]] std::vector<pid_t> survivors(const PartyKey& who) { return find_survivors(who).pids; }
  // Whether its record, life and bell are where they were.
  [[nodiscard]] bool entries_stand() override;
  // True once somebody has rung to say that he ends this lease; see evict().
  [[nodiscard]] bool told_to_leave() const;
  // True if somebody has read the bell and nobody has asked about it since, and asking.
  [[nodiscard]] bool was_rung() const { return rung_; }
  bool forget_ring() { return std::exchange(rung_, false); }
  // What wait() would sleep on.
  [[nodiscard]] std::vector<pollfd> waited_for() const;

  // ---- giving way (local_ledger_way.cc) ----
  // Invalid, or the end of a FIFO that hangs up when no work is in flight inside of us any more.
  [[nodiscard]] OwnFd open_span();
  // Whether work is in flight inside of another party, as far as we may ask: it is for its owner and root to see.
  [[nodiscard]] bool is_in_span(const Party& party);
  // Begins such a span inside of another party; it lasts for as long as anybody has the descriptor.
  [[nodiscard]] Result<OwnFd> begin_span(const Party& party);
  // Whether we were asked by hand since the last time; and asking another.
  [[nodiscard]] bool take_request();
  [[nodiscard]] Result<> request(const Party& party);

  // Requires the lock. Drops our own copy of the life and says whether anybody else still has one.
  [[nodiscard]] bool life_goes_on_without_us();

  Result<LockOutcome> lock(int64_t deadline_us, Heed heed = Heed::cancel) override;
  void unlock() override;
  Result<Snapshot> read() override;
  Result<bool> line_is_empty() override;
  Result<> enter(Record& record) override;
  Result<> change(const Record& record) override;
  Result<> restore(Record& record) override;
  void leave() override;
  void abandon() override;
  [[nodiscard]] bool ours(const Party& party) const override;
  [[nodiscard]] std::string own_dir() const override;
  Ring ring(const Party& party) override;
  Ring bell(const Party& party) override;
  Life life(const Party& party) override;
  bool reap(const Party& party) override;
  [[nodiscard]] bool may_reap(const Party& party) const override;
  std::vector<int> watch(const Snapshot& snapshot, const std::vector<int>& parties) override;
  Wake wait(int64_t deadline_us, int answer_fd) override;
  Result<> write_config(const PoolConfig& config) override;
  [[nodiscard]] const PoolConfig* config() const override { return pool_.config(); }
  [[nodiscard]] std::string config_complaint() const override { return pool_.config_complaint(); }
  Result<> evict(const Party& party) override;
  Result<> replace(const Party& party, const Record& record) override;
  std::string use_account() override;
  void write_use_account(const std::string& text) override;
  void sweep_orphans() override;
  int64_t now_wall_us() override;
  int64_t now_monotonic_us() override;
  PartyId new_id() override;

 private:
  static constexpr char usual_ring = '!';
  static constexpr char leave_ring = 'e';  // its record goes now, and that is meant

  // A life's reading end, or a survivor's pidfd.
  struct Watched {
    OwnFd fd;
    short events = 0;
  };

  [[nodiscard]] Error newer_record(const std::string& name) const;
  Result<> open_own_dir(const std::string& wanted);
  [[nodiscard]] Result<OwnFd> open_if_ours(const std::string& name) const;
  bool find_own_name();
  [[nodiscard]] Result<struct stat> stat_to_change(const std::string& name) const;
  [[nodiscard]] Error cannot_change(int failed) const;
  Result<OwnFd> make_fifo(const std::string& name, mode_t mode, int flags);
  Watched open_life(const Party& party, Life& life);
  OwnFd open_life_fifo(const Party& party, Life& life);
  [[nodiscard]] StillRunning find_survivors(const PartyKey& who);
  OwnFd open_dir_of(const PartyKey& who);
  int open_beneath(const std::string& path, int flags);
  int open_in_pool(const std::string& path, int flags);
  Ring ring_with(const Party& party, char byte);
  bool drain_bell();
  void remove_reaped_fifos();
  void remove_way_entries();

  LocalPool& pool_;
  PoolLock lock_;
  int cancel_fd_;
  OwnFd own_dir_;
  std::string own_dir_name_;  // without the 'u'
  OwnFd life_;
  OwnFd bell_;
  OwnFd spare_;       // given up when there is no descriptor left to ring with, or to look whether somebody lives
  std::string name_;  // of the own record; empty before enter() and after leave()
  PartyId id_;
  bool leaving_ = false;
  int64_t told_to_leave_us_ = -1;
  bool rung_ = false;  // the bell was read
  bool may_yield_ = false;
  bool noted_ = false;    // processes were written down
  bool scanned_ = false;  // under this very lock, by line_is_empty()
  bool rang_ = false;     // under this very lock
  std::map<PartyKey, Watched> watched_;
  std::vector<OwnFd> watched_before_;  // no longer watched; closed at unlock()
  std::vector<PartyKey> reaped_;       // whose FIFOs go at unlock()
};

// The uid as root sees itself, and whether it may do as root does.
[[nodiscard]] bool acts_as_root();
// Root of the machine, not of a user namespace: whom no policy bounds.
[[nodiscard]] bool is_root();

}  // namespace berth
