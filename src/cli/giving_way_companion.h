// Gives way for one seat beside its command: listens, does what run/giving_way.h says, and tells the pool.
#pragma once

#include <poll.h>

#include <optional>
#include <string>
#include <vector>

#include "base/own_child.h"
#include "base/own_fd.h"
#include "cli/place.h"
#include "engine/memory_proof.h"
#include "run/giving_way.h"
#include "run/hook.h"
#include "run/supervisor.h"

namespace berth {

// What a hook finds in its environment: as the command, but for the life, which it does not get.
[[nodiscard]] std::vector<std::string> hook_environment(LeaseEnvironment lease);

class GivingWayCompanion : public Companion {
 public:
  // `environment`: what a hook finds. All must outlive it.
  GivingWayCompanion(Place& place, Seat& seat, std::vector<std::string> environment);

  // The process that gets --reclaim-signal.
  void stands_for(pid_t pid) { command_ = OwnChild(pid); }
  [[nodiscard]] int fd() const override { return events_.get(); }
  [[nodiscard]] int64_t due_us() const override;
  // True: the command is to be ended (--preemptible).
  [[nodiscard]] bool act() override;
  [[nodiscard]] bool owns(pid_t pid) const override;

  // What may be ended (--preemptible) is, though the command itself went of its signal and left it behind.
  [[nodiscard]] bool command_ended(const Finished& finished) override;
  // Whether the command has ended because it was asked to give way.
  [[nodiscard]] bool ended_command() const { return ended_command_; }
  // What is known of its devices by now.
  void set_idle(bool idle);
  void set_load_told(bool told);
  // Why, for the history.
  [[nodiscard]] const std::string& reason() const { return reason_; }
  // The same of one that was asked last and kept its place; "" where that is not so.
  [[nodiscard]] const std::string& kept_its_place() const { return kept_its_place_; }

 private:
  [[nodiscard]] bool ended_by_it(const Finished& finished) const;
  [[nodiscard]] Way published() const;
  [[nodiscard]] bool not_just_now() const;
  Way decide(const Asked& asked, bool anew, GivingWay::Deeds& deeds);
  void look();
  void perform(const GivingWay::Deeds& deeds);
  void perform(GivingWay::Deed deed);
  void send_signal();
  void start_hook();
  void hear_hooks();
  void try_to_give();
  void gave();
  void look_for_seat();
  void back(Acquired acquired);
  void lose(const Error& error);
  void listen();
  [[nodiscard]] std::string asker() const;

  Place& place_;
  Seat& seat_;
  std::vector<std::string> environment_;
  GivingWay way_;
  OwnChild command_;
  OwnFd events_;  // an epoll of all that may have something to say
  OwnFd span_;    // open while work is in flight
  std::optional<HookRun> hook_;
  std::optional<HookRun> return_hook_;
  std::optional<MemoryProof> proof_;
  std::optional<PartyKey> waiter_;  // for whom we were asked last
  bool for_whole_cards_ = false;
  bool ended_command_ = false;
  int64_t began_us_ = -1;  // to be about it, the last time
  std::string reason_;
  std::string kept_its_place_;
  bool by_hand_ = false;
  bool unheeded_by_hand_ = false;  // by nobody else: then it is shown until it is asked again
  bool idle_ = false;
  bool doubtful_ = false;  // since it did not give way, until it does
  bool load_told_;
  std::vector<PartyKey> unheeded_for_;
  int64_t gave_in_vain_until_us_ = -1;
  bool lost_ = false;
  int64_t next_look_us_ = 0;
  int64_t next_give_us_ = -1;
};

}  // namespace berth
