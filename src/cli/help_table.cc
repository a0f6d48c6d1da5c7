// The table itself. Rows of one screen: 80 columns, and 24 lines where that can be.
#include "cli/help.h"

namespace berth {

namespace {

constexpr OptionHelp claim_options[] = {
    {"-g, --gpus N", "N whole GPUs; shared ones with the next two",
     "Alone each of them is exclusive. Without any CLAIM it is --gpus 1."},
    {"--vram SIZE, --compute PCT", "that much of each, beside others",
     "SIZE of the memory, PCT of the 100 shares of compute. Without --gpus: of one."},
    {"--only LIST, --exclude LIST, --min-free SIZE, --max-util PCT", "which of them",
     "LIST is of indices, UUIDs or unique prefixes of UUIDs, separated by commas; said twice, both are meant. What is "
     "free and the load are the "
     "driver's word. Until it says so the job waits. An inherited CUDA_VISIBLE_DEVICES narrows the choice as well."},
    {"--cpu N, --ram SIZE, -r, --resource NAME=AMOUNT", "repeatable",
     "CPU slots, memory, and any named resource of the pool (berth set)."},
};

constexpr OptionHelp wait_options[] = {
    {"--no-wait", "exit 75 if it is not free now",
     "On stderr there is one JSON line then: {\"error\":\"busy\",\"holders\":[...],\"eta_s\":N}, null where nobody "
     "knows."},
    {"--timeout DUR", "exit 124 if its turn has not come after DUR", ""},
    {"-p, --priority N", "more is sooner; default 0",
     "May be negative. Values above the pool's policy.max_priority (10) are lowered to it, root's are not. One point "
     "outweighs "
     "policy.age (an hour) of waiting."},
    {"--expect DUR|learned", "how long it will take",
     "Who says so may be let past larger jobs that wait, where it will be gone before they can start. It is not "
     "stopped when the time is over, but nothing is planned on its end any more. learned: as long as three in four of "
     "the last 20 runs of this label that ended well, else of this command; of fewer than three nothing is learned, "
     "and nothing is said, as with none, the default. It is read in the home of whoever asks."},
    {"-l, --label TEXT, --name TEXT", "a name for people", ""},
};

// Those of WAIT that only a command can follow.
constexpr OptionHelp run_wait_options[] = {
    wait_options[0],
    wait_options[1],
    {"--on-timeout run", "after --timeout, run all the same",
     "Without a place, but with the same thread caps and politeness. --on-timeout fail is the default."},
    wait_options[2],
    wait_options[3],
    wait_options[4],
    {"--dry-run", "say whether it would start now: exit 0, 75 or 3",
     "Where, or who has what it is short of, how long it should take and how many are ahead. It does not run and does "
     "not stand in line; CMD may be left away."},
};

constexpr OptionHelp run_hold_options[] = {
    {"--limit DUR, --grace DUR", "TERM after DUR, KILL after the grace (30s) more",
     "To CMD and all that it started. 0 is no limit."},
    {"--until tree|command", "",
     "What ends the place: all that CMD started, or CMD. tree is the default: berth exits with CMD and says who stays, "
     "and the place stays taken until the last of them "
     "is gone."},
    {"--exec", "",
     "Become CMD: no berth process stays. Not with --limit, --until command, --over-use term, --on-lost term or "
     "--reclaimable. --ram is then only booked where no cgroup can be made; see MEMORY."},
    {"--turn", "",
     "In place of a CLAIM for a command inside of a lease: all compute of that lease's cards, in turn. Without a CMD "
     "it "
     "serves turns to a process that stays. See INSIDE A LEASE."},
    {"--cap env", "",
     "Tells frameworks to keep to what was claimed, and prints what it sets: XLA_PYTHON_CLIENT_MEM_FRACTION, "
     "TF_FORCE_GPU_ALLOW_GROWTH, PYTORCH_CUDA_ALLOC_CONF; where MPS runs, its limits. Advice that the job's own "
     "libraries follow, not a fence; an old PyTorch refuses to start with it."},
    {"--over-use warn|term", "",
     "What becomes of CMD when it uses more of a GPU's memory, or of RAM, than it claimed: a word on stderr (the "
     "default), or "
     "its end besides, as by --limit."},
    {"--idle DUR", "",
     "Where the driver has shown no activity on its GPUs for so long there is a word on stderr, and status says it. "
     "The load is the card's, whoever shares it. With --reclaimable=idle it is asked to give way only while it is so; "
     "where no driver tells the load, never, and there is a word at the start."},
    {"--on-lost warn|term", "",
     "Where its lease is removed from the pool behind its back (a wiped directory, an rm by root), berth enters it "
     "again if its place is free. If others have it by then: a word on stderr (the default), or the end of CMD and "
     "exit 76. berth release is no such loss."},
    {"--reclaimable[=idle]", "",
     "It may be asked to give way to a job of higher priority that waits, where its going is what that one needs. How, "
     "and what comes of it, the next ones say. A job that does not give way within the --grace is shown so, and keeps "
     "its place. Only who waits asks: --no-wait does not. berth busy keeps it from being asked for a while, "
     "--reclaimable=idle for as long as its GPUs do something (--idle)."},
    {"--on-reclaim CMD", "",
     "Run by sh when it is asked: the job lets go of what it has, and runs on. Its place is given away once the driver "
     "shows the GPU memory free; where there is none, once CMD has ended with 0. It is queued at its old place in "
     "line, "
     "but behind those it gave way to, and has its place back by itself."},
    {"--on-return CMD", "", "Run by sh when it has its place back, or was let off after --on-reclaim."},
    {"--reclaim-signal SIG", "",
     "Without --on-reclaim it is sent to CMD; unless it is said, TERM, to CMD and all that it started. With one it is "
     "sent only where it is said, after a hook that did not help. If CMD ends within the --grace, run exits 76, "
     "whatever "
     "its own status."},
    {"--preemptible", "",
     "When the --grace is over it is ended for it, as by --limit: TERM, and KILL after the grace."},
    {"--requeue", "",
     "A CMD that ended by the reclaim signal, or by --preemptible, is queued again at its old place in line and "
     "started "
     "anew, also if it ended with 0: it must be safe to repeat."},
    {"--threads N", "", "Sets OMP_NUM_THREADS and the like for CMD; --cpu N implies it."},
    {"--pin", "",
     "With --cpu N: N processors that no other such lease has, beside its GPUs (NUMA), together, on whole cores. Who "
     "does "
     "not pin and starts after it keeps off them for its life, where enough are left; who runs already does not. CMD "
     "finds them in BERTH_PROCESSORS, as 0-3,8. "
     "Where the others have all that this shell may use it waits, and holds up nobody."},
    {"--nice N, --idle-io", "", "Politeness towards others."},
    {"--visible index|uuid", "",
     "How CUDA_VISIBLE_DEVICES names the cards. Indices, the default, are read by every program."},
};

constexpr HelpSection run_sections[] = {
    {"CLAIM", "all or nothing; none: --gpus 1", claim_options},
    {"WAIT", "none: as long as it takes, in turn", run_wait_options},
    {"HOLD", "", run_hold_options},
};

constexpr OptionHelp hold_options[] = {
    {"--for PID", "whose life counts: $$ is this shell; else the parent",
     "In $(...) too $$ is the shell itself, and that is what is wanted; $BASHPID is not. The parent may be a subshell "
     "that ends at once, so there is a warning where stdout is a pipe."},
    {"--ttl DUR", "not longer; warns with a tenth left (5s to 5m)",
     "Where there is no --expect it is taken for one. When a tenth of it is left, but no less than 5s and no more than "
     "5m, there is a word on the terminal that stderr was, unless it is not longer than that; berth resize ID --ttl "
     "DUR moves the end."},
    {"--print WHAT", "id (default), index, uuid: of the GPUs; env: for eval",
     "env prints what a shell's eval takes; where there is no place it prints (exit N), so that eval fails as well, "
     "even if the hold is killed while it waits. Leave 2>&1 away there: eval would run the messages."},
    {"--idle DUR", "", "As for run; but the word is on the terminal that stderr was."},
    {"--reclaimable[=idle], --on-reclaim CMD, --on-return CMD, --grace DUR", "",
     "As for run; but nothing is sent a signal or ended. Without --on-reclaim status shows that it is asked, and the "
     "process that it is held for may release it."},
    {"--visible index|uuid", "", "As for run."},
    {"--cap env", "", "As for run."},
    {"--pin", "", "As for run. A berth run inside of it runs there; what else does is yours to see to: taskset -c "
     "\"$BERTH_PROCESSORS\" CMD."},
};
constexpr HelpSection hold_sections[] = {{"", "", hold_options}};

constexpr OptionHelp status_options[] = {
    {"--json", "for programs", "One line, {\"version\":1,...}, which only ever grows."},
    {"--short", "one line", ""},
};
constexpr HelpSection status_sections[] = {{"", "", status_options}};

constexpr OptionHelp history_options[] = {
    {"--json", "for programs", "One line, {\"version\":1,\"jobs\":[...]}, which only ever grows."},
    {"-l, --label TEXT, --name TEXT", "those with that label", ""},
    {"-u, --user NAME", "those of that user", "A name or a number; of others only what a machine-wide history has."},
    {"--since WHEN", "2h, 2026-11-21, \"2026-11-21 10:30\" or @UNIX_S",
     "Those that ended within the last 2h, or since that local day or time."},
    {"-n, --limit N", "the last N", ""},
};
constexpr HelpSection history_sections[] = {{"", "", history_options}};

constexpr OptionHelp policy_rows[] = {
    {"policy.max_priority=N", "lowers any higher --priority (root's not); 10", ""},
    {"policy.age=DUR", "what a point of priority is worth in waiting; 1h", ""},
    {"policy.share=fair", "who had less lately goes first; fifo",
     "Among equal priorities: of what a job wants its user's use counts, that of his jobs that run and wait "
     "too, so that who queues a hundred takes turns with one who queues one."},
    {"policy.half_life=DUR", "after so long, use counts half; 1d", ""},
    {"policy.max_debt=DUR", "how far use puts one back in line; policy.age",
     "No wait grows by more than this. Where lines are hours long, a day is fairer; but a point of priority "
     "outweighs only policy.age of it."},
    {"policy.max.gpus_per_user=N", "the most that one user's leases have together",
     "So for any resource: policy.max.ram_per_user=64G. A share of a card counts as a card. Who would have more waits, "
     "keeps its place in line and holds up nobody but its user's own; a claim above it can never run. Root's leases "
     "count like anybody's."},
};
constexpr HelpSection set_sections[] = {{"POLICY", "", policy_rows}};

constexpr OptionHelp release_options[] = {
    {"-l, --label TEXT, --name TEXT", "all leases of one's own with that label", ""},
};
constexpr HelpSection release_sections[] = {{"", "", release_options}};

constexpr OptionHelp adopt_options[] = {
    {"--expect DUR", "how much longer it will take", ""},
    {"-l, --label TEXT, --name TEXT", "a name for people", ""},
};
constexpr OptionHelp adopt_claim_options[] = {
    {"-g, --gpus N", "N whole GPUs; shared ones with the next two", ""},
    {"--vram SIZE, --compute PCT", "that much of each", ""},
    {"--only LIST, --exclude LIST", "which of them", ""},
    {"--cpu N, --ram SIZE, -r, --resource NAME=AMOUNT", "repeatable", ""},
};
constexpr HelpSection adopt_sections[] = {{"CLAIM", "none: what the driver says", adopt_claim_options},
                                          {"", "", adopt_options}};

constexpr OptionHelp resize_options[] = {
    {"-g, --gpus N", "N in all; fewer: the last ones go",
     "More: as much of each as it has of those. Not together with --vram or --compute."},
    {"--vram SIZE, --compute PCT", "that much of each of its GPUs",
     "Of a whole card, which is then shared with others: what is not named stays all of it."},
    {"--cpu N, --ram SIZE, -r, --resource NAME=AMOUNT", "repeatable", "Not the --cpu of a lease with --pin."},
    {"--ttl DUR", "from now on, for a hold that had one", ""},
};
constexpr HelpSection resize_sections[] = {{"CLAIM", "what is not named stays", resize_options}};

constexpr VerbHelp table[] = {
    {"run", "get the place, run a command in it, give it back",
     "run [CLAIM] [WAIT] [HOLD] [--] CMD [ARG...]   (after CMD all is CMD's)", "", run_sections,
     "SIZE: 8G, 512M, 8GB (= 8,000,000,000 bytes); bare: MiB. DUR: 90, 5m, 1h30m.\n"
     "Exit: CMD's own; 128+N by signal N; 2 wrong call; 3 can never be met; 4 no GPU\n"
     "read; 75 busy; 76 lost; 124 timed out; 125 berth could not; 126, 127 as sh.\n",
     "berth run --vram 8G --label chat --no-wait -- python serve.py\n"},
    {"hold", "the same place without a command, for as long as a process lives",
     "hold [CLAIM] [WAIT] --for PID [--ttl DUR] [--print WHAT]",
     "A place without a command, until process PID is gone, DUR has passed, or it is\n"
     "released. CLAIM and WAIT as for run, but for --dry-run. A keeper is left in\n"
     "the background; it has none of the caller's descriptors.\n",
     hold_sections, "Not local gpu=$(...) or export gpu=$(...) on one line: that loses the failure.\n",
     "eval \"$(berth hold --for $$ --gpus 1 --print env)\" || exit\n"
     "gpu=$(berth hold --for $$ --gpus 1 --print index) || exit\n"
     "berth release        gives it back before the script ends, after eval\n"},
    {"status", "who holds what, who waits, and why", "status [--json] [--short]",
     "The pool: each resource and GPU, who holds what, who waits and why. LEFT is how\n"
     "long a holder should still stay, or a waiter (~) still wait, by what was said\n"
     "with --expect; - where nobody knows. Takes no lock and changes nothing. Any user\n"
     "may ask. Exit 0.\n",
     status_sections, "",
     "berth status --short\n"
     "berth status --json | jq '.leases[] | select(.state==\"held\") | .label'\n"},
    {"set", "capacity of named resources:  berth set cpu=12 license=2", "set NAME=AMOUNT...",
     "Capacity of the pool's named resources; makes those that are new. Waiters that\n"
     "now fit start at once; holders keep what they hold. For the pool's owner and\n"
     "root; others: exit 77.\n",
     set_sections, "",
     "berth set cpu=12 license=2\n"
     "berth set ram=96G\n"
     "berth set policy.max_priority=5 policy.age=30m\n"
     "berth set policy.share=fair policy.max.gpus_per_user=2\n"},
    {"unset",
     "forget one, or go back to what the machine has",
     "unset NAME...",
     "Forgets a named resource. cpu and ram go back to what the machine has, a policy\n"
     "to its default.\n",
     {},
     "",
     "berth unset license\n"},
    {"release", "end a lease of one's own", "release [ID | --label TEXT]",
     "Ends a lease of one's own (root: anyone's). Its command runs on, unplaced.\n"
     "ID is what status shows, or a unique prefix; without one, the lease that this\n"
     "shell is in, by run or by eval of hold. Exit 1: no such lease; 77: not yours.\n",
     release_sections, "",
     "berth release k7q2\n"
     "berth release --label chat\n"},
    {"resize", "another amount for a lease of one's own", "resize ID [CLAIM] [--ttl DUR]",
     "What is named in CLAIM becomes that much, all else stays. Less is given back at\n"
     "once, and wakes who fits. More it gets if it could be had by one who came now:\n"
     "else exit 75, and nothing has changed. A running command's own view of its GPUs\n"
     "and its thread caps stay. Exit 1: no such lease; 3: never; 77: not yours.\n",
     resize_sections, "",
     "berth resize k7q2 --vram 6G\n"
     "berth resize k7q2 --cpu 2 --ram 4G\n"},
    {"reclaim",
     "ask a reclaimable lease to give way",
     "reclaim ID",
     "Asks a lease of one's own (root: anyone's) that is --reclaimable to give way, as\n"
     "if somebody of higher priority waited. It then stands behind those who wait; if\n"
     "nobody does, it has its place back at once. Does not wait for what comes of it.\n"
     "Exit 1: no such lease, or not reclaimable; 77: not yours.\n",
     {},
     "",
     "berth reclaim k7q2\n"},
    {"busy",
     "do not ask this lease to give way while a command runs",
     "busy -- CMD [ARG...]",
     "Inside a --reclaimable lease: runs CMD, and until it and what it started have\n"
     "ended the lease is not asked to give way. What was begun before is not stopped.\n"
     "Spans may overlap. Outside of a lease it just runs CMD. Exit: CMD's own.\n",
     {},
     "",
     "berth busy -- curl -sf localhost:8080/generate -d @prompt.json\n"},
    {"adopt", "book what a running process uses already", "adopt PID [CLAIM]",
     "Books what an already running process of one's own uses, for as long as it\n"
     "lives. It never waits: what does not fit is shown as over-committed. Without a\n"
     "CLAIM it is what the driver says that it uses; without the driver's word, --only\n"
     "says which GPU, and all of it is booked if no more is said. Prints the lease's\n"
     "ID. Exit 2: no such process; 77: not yours.\n",
     adopt_sections, "",
     "berth adopt 4242\n"
     "berth adopt 4242 --only 0\n"
     "berth adopt $(pgrep -o ollama) --vram 14G --label ollama\n"
     "berth adopt 4242 --cpu 4 --ram 8G\n"},
    {"history", "what ran: waited, held, asked, peak used, how it ended",
     "history [--json] [--label TEXT] [--user NAME] [--since WHEN] [--limit N]",
     "What has ended, newest last: jobs that ran, and waits that were given up. The\n"
     "table has the last 40, or what the filters say; JSON has all. Kept are 20,000,\n"
     "in $XDG_STATE_HOME/berth/history.db or, where an admin has made that, in\n"
     "/var/lib/berth/history.db. A berth that was killed leaves no word.\n",
     history_sections, "",
     "berth history --since 2d --label train\n"
     "berth history --json | jq '.jobs[] | select(.status!=0) | .cmd'\n"},
    {"doctor",
     "what is wrong with this pool or machine, and the mend",
     "doctor",
     "Looks at the pool and the machine and says what is wrong, whose it is, and the\n"
     "mend: a command where there is one, after # if it is not for this shell alone.\n"
     "Changes nothing. Exit 0 if all is well, 1 if anything is not.\n",
     {},
     "",
     "berth doctor\n"
     "BERTH_POOL=/dev/shm/other berth doctor\n"},
    {"demo",
     "a short show on simulated GPUs, in a pool of its own",
     "demo",
     "Shows what berth does, on simulated GPUs, in a pool of its own that it removes\n"
     "afterwards. Takes about ten seconds and touches nothing else.\n",
     {},
     "",
     "berth demo\n"},
};

}  // namespace

std::span<const VerbHelp> all_verbs() { return table; }

}  // namespace berth
