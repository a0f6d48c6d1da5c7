"""What the options of `run` do to a command, beside where it sits."""
import os
import re
import signal
import subprocess
import sys
import time

from berthtest import Pool, berth, check, children, job_of, kill, main, proc_state, wait_exit, wait_until

SLOT = ["run", "-r", "slot=1"]


def shown(pool, *words, **kw):
    """What a command says that ends well and of which berth says nothing."""
    done = pool.run(*words, **kw)
    check(done.returncode == 0 and done.stderr == "", f"berth {' '.join(map(str, words))}: {done}")
    return done.stdout


def hold(pool, *words):
    holder = pool.spawn("run", *words, "--", "sleep", "100")
    pool.wait_for(held=1)
    return holder


# ---------------------------------------------------------------- --exec

def test_exec_leaves_no_wrapper():
    with Pool(slot=1) as pool:
        job = pool.spawn(*SLOT, "--exec", "--", "sleep", "100")
        pool.wait_for(held=1)
        wait_until(lambda: os.readlink(f"/proc/{job.pid}/exe").endswith("sleep"), 10, "it to become sleep", pool)
        check(not children(job.pid), "somebody stays beside it")
        with open(f"/proc/{job.pid}/status", encoding="ascii") as f:
            masks = dict(re.findall(r"^(Sig\w+):\s+(\w+)$", f.read(), re.M))
        check(int(masks["SigBlk"], 16) == 0 and int(masks["SigCgt"], 16) == 0, f"{masks}")
        check(pool.run(*SLOT, "--no-wait", "true").returncode == 75, "the place is not held")
        kill(job.pid, signal.SIGTERM)
        check(wait_exit(job) == -signal.SIGTERM, "its own end")
        check(pool.run(*SLOT, "--timeout", "5", "true").returncode == 0, "not free")


def test_exec_fits_the_other_options():
    with Pool(slot=1) as pool:
        script = "nice; echo $OMP_NUM_THREADS; [ -n \"$BERTH_LIFE_FD\" ] && [ -e /proc/self/fd/$BERTH_LIFE_FD ] && echo life"
        said = shown(pool, *SLOT, "--exec", "--nice", "5", "--threads", "3", "--", "nice", "-n", "0", "sh", "-c", script)
        check(said == f"{os.nice(0) + 5}\n3\nlife\n", said)
        check(not pool.run(*SLOT, "true").returncode, "not free")


# ---------------------------------------------------------------- --limit, --grace

def test_limit_is_term_first():
    with Pool(slot=1) as pool:
        begun = time.monotonic()
        script = "trap 'echo told; exit 9' TERM; while :; do sleep 0.01; done"
        done = pool.run(*SLOT, "--limit", "1s", "--", "sh", "-c", script)
        took = time.monotonic() - begun
        check(done.returncode == 9 and done.stdout == "told\n" and 1 <= took < 6, f"{took}: {done}")
        done = pool.run(*SLOT, "--limit", "100ms", "--", "sleep", "100")
        check(done.returncode == 128 + signal.SIGTERM, f"{done}")
        check(not pool.leases(), "still held")


def test_limit_is_kill_after_the_grace():
    with Pool(slot=1) as pool:
        begun = time.monotonic()
        done = pool.run(*SLOT, "--limit", "300ms", "--grace", "300ms", "--", "sleep", "100",
                        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
        took = time.monotonic() - begun
        check(done.returncode == 128 + signal.SIGKILL and 0.6 <= took < 5, f"{took}: {done}")


def test_limit_ends_a_stopped_command():
    with Pool(slot=1) as pool:
        job = pool.spawn(*SLOT, "--limit", "300ms", "--", "sleep", "100")
        sleep = job_of(job)
        wait_until(lambda: os.readlink(f"/proc/{sleep}/exe").endswith("sleep"), 10, "sleep to run", pool)
        kill(sleep, signal.SIGSTOP)
        check(wait_exit(job) == 128 + signal.SIGTERM, f"exit {job.returncode}")


def test_a_limit_ends_the_whole_tree_and_says_so():
    with Pool(slot=1) as pool:
        # A shell ends of TERM at once; what it waits for, and what left its session, is told as well.
        script = "setsid sh -c 'echo $$ >>pids; exec sleep 100' & sh -c 'echo $$ >>pids; exec sleep 100'; :"
        done = pool.run(*SLOT, "--limit", "1s", "--", "sh", "-c", script, cwd=pool.tmp)
        check(done.returncode == 128 + signal.SIGTERM, done)
        check(done.stderr == "berth: it has run for 1 s (--limit), so it is ended\n", done.stderr)
        pids = open(os.path.join(pool.tmp, "pids")).read().split()
        check(len(pids) == 2 and not any(os.path.exists("/proc/" + pid) for pid in pids), pids)
        check(not pool.leases(), "still held")


# 400 processes that end of TERM, below a shell that does.
CROWD = """
import os, signal
for _ in range(400):
    if os.fork() == 0: signal.pause()
open("all-there", "w").close()
signal.pause()
"""


def test_a_limit_tells_all_of_a_large_tree():
    with Pool(slot=1) as pool:
        begun = time.monotonic()
        done = pool.run(*SLOT, "--limit", "3s", "--grace", "60s", "--", sys.executable, "-c", CROWD, cwd=pool.tmp)
        took = time.monotonic() - begun
        check(os.path.exists(os.path.join(pool.tmp, "all-there")), "they were not made in time")
        check(done.returncode == 128 + signal.SIGTERM and took < 30, f"{took}: {done}")
        check("it is killed" not in done.stderr, done.stderr)


def test_who_outlives_the_command_has_the_rest_of_the_grace():
    with Pool(slot=1) as pool:
        # The one that hears TERM ends in its own time, the one that does not is killed.
        script = ("sh -c 'trap \"sleep 0.2; echo saved; exit\" TERM; while :; do sleep 0.01; done' & "
                  "sh -c 'trap : TERM; echo $$ >deaf; while :; do sleep 0.01; done' & wait")
        begun = time.monotonic()
        done = pool.run(*SLOT, "--limit", "500ms", "--grace", "1s", "--", "sh", "-c", script, cwd=pool.tmp)
        took = time.monotonic() - begun
        check(done.returncode == 128 + signal.SIGTERM and done.stdout == "saved\n" and 1.5 <= took < 6, f"{took}: {done}")
        said = [line for line in done.stderr.splitlines() if line.startswith("berth: ")]  # a shell speaks as well
        check(said == ["berth: it has run for 500 ms (--limit), so it is ended",
              "berth: it still runs 1 s after it was told to end (--grace), so it is killed"], done.stderr)
        check(not os.path.exists("/proc/" + open(os.path.join(pool.tmp, "deaf")).read().strip()), "the deaf one runs")
        check(not pool.leases(), "still held")


def test_a_limit_is_of_the_run_not_of_the_wait():
    with Pool(slot=1) as pool:
        holder = hold(pool, "-r", "slot=1")
        job = pool.spawn(*SLOT, "--limit", "400ms", "--", "sh", "-c", "exit 6")
        pool.wait_for(held=1, waiting=1)
        time.sleep(0.5)  # the wait has to be longer than the limit: nothing else to await
        kill(holder.pid, signal.SIGTERM)
        check(wait_exit(job) == 6, f"exit {job.returncode}")


# ---------------------------------------------------------------- --on-timeout run

def test_on_timeout_run():
    with Pool(slot=1, sim_gpus="1x24G") as pool:
        holder = hold(pool, "-r", "slot=1", "--cpu", "1")
        script = "nice; echo $OMP_NUM_THREADS $MKL_NUM_THREADS; ionice; echo [$BERTH_ID$BERTH_LEASE$BERTH_LIFE_FD]; exit 8"
        done = pool.run(*SLOT, "--cpu", "1", "--timeout", "100ms", "--on-timeout", "run", "--nice", "7", "--idle-io", "--",
                        "sh", "-c", script)
        check(done.stdout.splitlines() == [str(os.nice(0) + 7), "1 1", "idle", "[]"], f"{done}")
        check(done.returncode == 8 and "running without one" in done.stderr, f"{done}")
        # Nobody's card is seen by it.
        done = pool.run("run", "-r", "slot=1", "--gpus", "1", "--timeout", "100ms", "--on-timeout", "run", "--limit", "200ms", "--",
                        "sh", "-c", "echo [$BERTH_DEVICES]; exec sleep 100")
        check(done.returncode == 128 + signal.SIGTERM and done.stdout == "[]\n", f"{done}")
        check(pool.run(*SLOT, "--timeout", "50ms", "--on-timeout", "fail", "true").returncode == 124, "fail")
        pool.wait_for(held=1, waiting=0)
        kill(holder.pid, signal.SIGTERM)
        # In time, it is a place like any other.
        wait_exit(holder)
        check("BERTH_ID=" in shown(pool, *SLOT, "--timeout", "9", "--on-timeout", "run", "env"), "no place")


# ---------------------------------------------------------------- --until

def test_until_tree_and_command():
    with Pool(slot=1) as pool:
        for until, status in (("tree", 75), ("command", 0)):
            job = pool.spawn(*SLOT, "--until", until, "--", "sh", "-c", "sleep 100 & echo $!")
            check(wait_exit(job) == 0, pool.err(job))
            left = int(pool.out(job))
            check(("stays taken" in pool.err(job)) == (until == "tree"), pool.err(job))
            check(pool.run(*SLOT, "--no-wait", "true").returncode == status, f"--until {until}")
            check(proc_state(left) == "S", "what it left running was touched")
            kill(left)
            check(pool.run(*SLOT, "--timeout", "5", "true").returncode == 0, "not free")


# ---------------------------------------------------------------- politeness and threads

def test_nice_adds_to_the_callers():
    with Pool(slot=1) as pool:
        base = os.nice(0)
        for n, expected in ((0, base), (5, base + 5), (19, 19)):
            check(shown(pool, *SLOT, "--nice", n, "--", "nice") == f"{expected}\n", f"--nice {n}")
        check(shown(pool, *SLOT, "--nice", 5, "nice", preexec_fn=lambda: os.nice(3)) == f"{base + 8}\n", "on top of the caller's")
        job = pool.spawn(*SLOT, "--nice", "9", "--", "sleep", "100")
        job_of(job)
        check(os.getpriority(os.PRIO_PROCESS, job.pid) == base, "berth itself has to hand the place on at once")


def test_idle_io():
    with Pool(slot=1) as pool:
        check(shown(pool, *SLOT, "--idle-io", "--", "ionice") == "idle\n", "ionice")


def test_thread_caps():
    with Pool(cpu=2, slot=1) as pool:
        names = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
        names = [n + ("_THREADS" if "MAXIMUM" in n else "_NUM_THREADS") for n in names]
        env = dict(pool.env, OMP_NUM_THREADS="64")

        def caps(*words):
            said = dict(line.split("=", 1) for line in shown(pool, "run", *words, "env", env=env).splitlines())
            return [said.get(name) for name in names]

        check(caps("--cpu", "2") == ["2"] * 5, "a cpu claim implies it")
        check(caps("--cpu", "2", "--threads", "7") == ["7"] * 5, "--threads says otherwise")
        check(caps("-r", "slot=1", "--threads", "3") == ["3"] * 5, "--threads alone")
        check(caps("-r", "slot=1") == ["64", None, None, None, None], "nothing asked")


# ---------------------------------------------------------------- --visible

def test_visible():
    with Pool(sim_gpus="3x24G", slot=1) as pool:
        names = ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "BERTH_DEVICES"]

        def seen(*words, **env):
            said = dict(line.split("=", 1) for line in shown(pool, "run", *words, "env", env=dict(pool.env, **env)).splitlines())
            return [said.get(name) for name in names]

        both = ["SIM-1,SIM-2", "SIM-1,SIM-2"]
        check(seen("--gpus", "2", "--only", "1,2") == ["1,2", "PCI_BUS_ID", *both], "indices")
        check(seen("--gpus", "2", "--only", "1,2", "--visible", "index") == ["1,2", "PCI_BUS_ID", *both], "indices")
        check(seen("--gpus", "2", "--only", "1,2", "--visible", "uuid") == ["SIM-1,SIM-2", "PCI_BUS_ID", *both], "uuids")
        check(seen("--gpus", "1", CUDA_VISIBLE_DEVICES="2")[0] == "2", "an inherited one narrows")
        check(seen("-r", "slot=1", CUDA_VISIBLE_DEVICES="2") == ["2", None, None, None], "without a GPU in the claim: left alone")


# ---------------------------------------------------------------- --dry-run

def entries(pool):
    """All that lies in the pool, but for the list of a holder's processes: it comes a moment after the seat."""
    return [entry for entry in pool.entries() if not entry.endswith(".c")]


def test_dry_run_says_and_changes_nothing():
    with Pool(slot=2, sim_gpus="2x24G") as pool:
        before = entries(pool)
        ran = pool.tmp + "/ran"
        check(shown(pool, *SLOT, "--dry-run", "touch", ran) == "would start now\n", "free")
        check(shown(pool, "run", "--gpus", "2", "--dry-run", "touch", ran) == "would start now on GPU 0, 1\n", "where")
        done = pool.run("run", "-r", "slot=3", "--dry-run", "touch", ran)
        check(done.returncode == 3 and done.stdout == "" and "can never run here" in done.stderr, f"{done}")
        check(entries(pool) == before, f"{before} became {entries(pool)}")
        holder = hold(pool, "-r", "slot=2", "--label", "nightly")
        before = entries(pool)
        for words in (["-r", "slot=1"], ["-r", "slot=1", "--no-wait"], ["-r", "slot=1", "--timeout", "9"]):
            done = pool.run("run", *words, "--dry-run", "touch", ran)
            check(done.returncode == 75 and re.search("would wait .*nightly", done.stdout) and not done.stderr, f"{done}")
        check(entries(pool) == before and not os.path.exists(ran), "it changed something")
        kill(holder.pid, signal.SIGTERM)


def test_dry_run_makes_no_pool():
    with Pool() as pool:
        done = pool.run("run", "--cpu", "1", "--dry-run", "true")
        check((done.returncode, done.stdout) == (0, "would start now\n"), f"{done}")
        check(os.listdir(pool.root) == ["tmp"], f"it left {os.listdir(pool.root)}")
        done = pool.run("run", "--cpu", "1", "--dry-run", "true", env=dict(pool.env, BERTH_POOL=pool.tmp + "/no/pool"))
        check(done.returncode == 125 and "/no/pool" in done.stderr, f"{done}")


# ---------------------------------------------------------------- names, and whose an option is

def test_label_and_name():
    with Pool(slot=1) as pool:
        for words in (["--label", "night run"], ["--name", "night run"], ["-l", "night run"], ["--name=night run"], ["-lnight run"]):
            holder = hold(pool, "-r", "slot=1", *words)
            check(pool.leases()[0]["label"] == "night run", f"{words}: {pool.leases()}")
            kill(holder.pid, signal.SIGTERM)
            wait_exit(holder)


def test_options_after_the_command_are_the_commands():
    with Pool(slot=1) as pool:
        for before in ([], ["--"]):
            words = ["--exec", "--limit", "1ms", "--nice", "19", "--dry-run", "--", "--until", "command", "-g", "9"]
            check(shown(pool, *SLOT, *before, "echo", *words) == " ".join(words) + "\n", f"{before}")


def test_an_option_may_stand_anywhere_before_the_command():
    with Pool(slot=1) as pool:
        line = f"{berth()} run --nice=4 -rslot=1 --label x --until=command -- nice"
        done = subprocess.run(line.split(), env=pool.env, capture_output=True, text=True, timeout=10, check=False)
        check(done.stdout == f"{os.nice(0) + 4}\n", f"{done}")


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
