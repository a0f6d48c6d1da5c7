// The help texts. Each fits a screen of 80 by 24 where it can, and shows examples.
#include "cli/commands.h"

namespace berth {

std::string help_text(const std::string& verb) {
  if (verb.empty()) {
    return R"help(berth gives every job on this machine its place: GPUs, a share of a GPU's
memory, CPU slots, RAM, any named quantity. It waits its turn, runs, and the
place is free the moment its last process is gone.

  berth run --gpus 1 --vram 8G --expect 2h -- python train.py

  run       get the place, run a command in it, give it back
  hold      the same place without a command, for as long as a process lives
  status    who holds what, who waits, and why
  set       capacity of named resources:  berth set cpu=12 license=2
  unset     forget one, or go back to what the machine has
  release   end a lease of one's own
  doctor    what is wrong with this pool or machine, and the mend
  demo      a minute's show on simulated GPUs, in a pool of its own

berth VERB --help tells more; man berth tells all.
The pool is $BERTH_POOL, else /run/berth, else /dev/shm/berth.
)help";
  }
  if (verb == "run") {
    return R"help(berth run [CLAIM] [WAIT] [HOLD] [--] CMD [ARG...]   (after CMD all is CMD's)
CLAIM, all or nothing (none: --gpus 1)
  -g, --gpus N         N whole GPUs; shared with --vram SIZE or --compute PCT
  --only LIST, --exclude LIST, --min-free SIZE, --max-util PCT    which of them
  --cpu N, --ram SIZE, -r, --resource NAME=N     (see berth set --help)
WAIT (none: as long as it takes, in turn)
  --no-wait            exit 75 if it is not free now
  --timeout DUR        exit 124 after DUR; --on-timeout run: run all the same
  -p, --priority N     more is sooner; default 0
  --expect DUR         how long it will take
  -l, --label TEXT     a name for people
  --dry-run            only say whether it would start now: exit 0, 75 or 3
HOLD
  --limit DUR          TERM after DUR, KILL after --grace DUR (30s) more
  --until command      the place ends with CMD, not with all that it started
  --exec               become CMD: no berth process stays
  --threads N, --nice N, --idle-io, --visible index|uuid
SIZE: 8G, 512M, 8GB (= 8,000,000,000 bytes); bare: MiB. DUR: 90, 5m, 1h30m.
Exit: CMD's own; 128+N by signal N; 2 wrong call; 3 can never be met; 4 no GPU
read; 75 busy; 76 lost; 124 timed out; 125 berth could not; 126, 127 as sh.
  berth run --cpu 1 -- xz -9 bigfile
  berth run --vram 8G --label chat --no-wait -- python serve.py
)help";
  }
  if (verb == "hold") {
    return R"help(berth hold [CLAIM] [WAIT] --for PID [--ttl DUR] [--print WHAT]
A place without a command, until process PID is gone, DUR has passed, or it is
released. CLAIM and WAIT as for run. A keeper is left in the background.

      --for PID      whose life counts; $$ is this shell's. Default: the parent
      --ttl DUR      not longer than that
      --print WHAT   id (default); the granted GPUs by index or uuid; or env, for
                     eval: on failure it prints (exit N), so that eval fails too

  eval "$(berth hold --for $$ --gpus 1 --print env)" || exit
  gpu=$(berth hold --for $$ --gpus 1 --print index) || exit
  berth release        gives it back before the script ends
)help";
  }
  if (verb == "doctor") {
    return R"help(berth doctor
Looks at the pool and the machine and says what is wrong, each with the mend.
Changes nothing. Exit 0 if all is well, 1 if anything is not.
)help";
  }
  if (verb == "status") {
    return R"help(berth status [--json] [--short]
The pool: each resource and GPU, who holds what, who waits and why.
Takes no lock and changes nothing. Any user may ask. Exit 0.

  berth status --short
  berth status --json | jq '.leases[] | select(.state=="held") | .label'
)help";
  }
  if (verb == "set") {
    return R"help(berth set NAME=AMOUNT...
Capacity of the pool's named resources; makes those that are new. Waiters that
now fit start at once; holders keep what they hold. For the pool's owner and
root; others: exit 77.

  berth set cpu=12 license=2
  berth set ram=96G
  berth set policy.max_priority=5   lowers any higher --priority (root's not)
  berth set policy.age=30m          what a point of priority is worth in waiting
)help";
  }
  if (verb == "unset") {
    return R"help(berth unset NAME...
Forgets a named resource. cpu and ram go back to what the machine has, a policy
to its default.

  berth unset license
)help";
  }
  if (verb == "release") {
    return R"help(berth release [ID | --label TEXT]
Ends a lease of one's own (root: anyone's). Its command runs on, unplaced.
ID is what status shows, or a unique prefix; without one, the lease that this
shell runs in. Exit 1: no such lease; 77: not yours.

  berth release k7q2
  berth release --label chat
)help";
  }
  if (verb == "demo") {
    return R"help(berth demo
Shows what berth does, on simulated GPUs, in a pool of its own that it removes
afterwards. Takes about fifteen seconds and touches nothing else.
)help";
  }
  return "";
}

}  // namespace berth
