"""What a waiter is told: for what it waits, who has that, how long it should take, how many are ahead."""
import json
import os
import signal
import re
import time

from berthtest import Pool, berth, check, descendants, kill, main, proc_state, wait_exit, wait_until

SLOT = ["run", "-r", "slot=1"]


def hold(pool, *words):
    before = len(pool.leases("held"))
    process = pool.spawn("run", *words, "--", "sleep", "1000")
    pool.wait_for(held=before + 1)
    return process


def said(pool, process, pattern, timeout=10):
    """Waits until what a process has said matches; the match."""
    return wait_until(lambda: re.search(pattern, pool.err(process)), timeout, f"{pattern!r} in {process.args[1:]}", pool)


def switches(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.M).group(1))


def wait_behind(pool, *words):
    before = len(pool.leases("waiting"))
    process = pool.spawn(*words)
    pool.wait_for(waiting=before + 1)
    return process


def test_a_waiter_says_who_has_it_for_how_long_and_who_is_ahead():
    with Pool(slot=1, sim_gpus="2x24G") as pool:
        hold(pool, "-r", "slot=1", "--expect", "2h", "--label", "train-llama")
        user = pool.leases()[0]["user"]
        first = wait_behind(pool, *SLOT, "--expect", "10m", "--", "true")
        said(pool, first, rf"^berth: waiting for 1 slot: slot is held by train-llama \({user}, (2 h|119 min|1 h 59 min) left\), about (2 h|1 h 59 min|119 min)\n$")
        second = wait_behind(pool, *SLOT, "--", "true")
        said(pool, second, r"about 2 h( 9 min| 10 min); 1 ahead of you\n$")
        third = wait_behind(pool, *SLOT, "--", "true")
        said(pool, third, r"no telling how long; 2 ahead of you\n$")
        # A card is called by its number, and a command by its first word.
        hold(pool, "--gpus", "1")
        hold(pool, "--vram", "20G", "--expect", "1h")
        share = wait_behind(pool, "run", "--vram", "8G", "--", "true")
        said(pool, share, rf"waiting for 8 GiB on 1 GPU: GPU 1 is held by sleep \({user}, \d+ min left\); GPU 0 by sleep \({user}\), about \d+ min\n$")
        for process in (first, second, third, share):
            check(pool.err(process).count("\n") == 1, f"said once: {pool.err(process)!r}")


def test_status_and_json_tell_when():
    with Pool(slot=1, inner=1) as pool:
        hold(pool, "-r", "slot=1", "--expect", "1h")
        wait_behind(pool, *SLOT, "--expect", "30m", "--label", "one", "--", "true")
        wait_behind(pool, *SLOT, "--label", "two", "--", "true")
        wait_behind(pool, *SLOT, "--label", "three", "--", "true")
        told = {lease["label"]: lease for lease in pool.leases("waiting")}
        check(3500 <= told["one"]["eta_s"] <= 3600, f"{told['one']}")
        check(5300 <= told["two"]["eta_s"] <= 5400, f"{told['two']}")
        check(told["three"]["eta_s"] is None, f"{told['three']}")
        check([told[w]["position"] for w in ("one", "two", "three")] == [1, 2, 3], f"{told}")
        lines = pool.run("status").stdout
        check(re.search(r"waits, 1 .*~(1 h|59 min|60 min) .*one", lines) and re.search(r"waits, 3  \S+ \S+ +- .*three", lines), lines)
        done = pool.run(*SLOT, "--no-wait", "--expect", "1m", "--", "true")
        busy = json.loads(done.stderr)
        check(done.returncode == 75 and busy["eta_s"] is None, f"behind three: {busy}")
    with Pool(slot=1) as pool:
        hold(pool, "-r", "slot=1", "--expect", "1h")
        busy = json.loads(pool.run(*SLOT, "--no-wait", "--", "true").stderr)
        check(3500 <= busy["eta_s"] <= 3600 and busy["holders"][0]["remaining_s"] <= 3600, f"{busy}")


def test_inside_a_lease_the_siblings_count():
    with Pool(slot=2) as pool:
        b = berth()
        pool.spawn("run", "-r", "slot=2", "--label", "around", "--", "sh", "-c",
                   f"{b} run -r slot=2 --expect 1h --label brother -- sleep 1000 & "
                   f"while [ $({b} status --json | grep -c brother) = 0 ]; do :; done; {b} run -r slot=1 --label sister -- true & "
                   f"while [ $({b} status --json | grep -c sister) = 0 ]; do :; done; {b} run -r slot=1 --dry-run > {pool.tmp}/dry; "
                   f"mv {pool.tmp}/dry {pool.tmp}/told; sleep 1000")
        pool.wait_for(held=2, waiting=1)
        sister = [lease for lease in pool.leases() if lease["label"] == "sister"][0]
        check(3500 <= sister["eta_s"] <= 3600 and sister["position"] == 1, f"{sister}")
        wait_until(lambda: os.path.exists(f"{pool.tmp}/told"), 10, "the dry run", pool)
        with open(f"{pool.tmp}/told", encoding="utf-8") as f:
            told = f.read()
        check(re.fullmatch(r"would wait for 1 slot: slot is held by brother \(\w+, \d+ min left\), about (\d+ min|1 h); 1 ahead of you\n", told), told)


def test_dry_run_says_the_same_and_needs_no_command():
    with Pool(slot=1, sim_gpus="1x24G") as pool:
        done = pool.run(*SLOT, "--dry-run")
        check((done.returncode, done.stdout) == (0, "would start now\n"), f"{done}")
        hold(pool, "-r", "slot=1", "--expect", "1h", "--label", "nightly")
        user = pool.leases()[0]["user"]
        wait_behind(pool, *SLOT, "--expect", "30m", "--", "true")
        done = pool.run(*SLOT, "--dry-run")
        wanted = rf"would wait for 1 slot: slot is held by nightly \({user}, \d+ min left\), about (89 min|1 h 30 min); 1 ahead of you\n"
        check(done.returncode == 75 and re.fullmatch(wanted, done.stdout) and not done.stderr, f"{done}")
        done = pool.run(*SLOT, "-p", "1", "--dry-run")
        check(done.returncode == 75 and "ahead" not in done.stdout, f"{done}")
        check(pool.run("run", "-r", "slot=2", "--dry-run").returncode == 3, "never")
        check(pool.run("run").returncode == 2, "a command is still needed to run")


def test_inside_a_lease_only_the_first_speaks_and_that_late():
    with Pool(slot=2) as pool:
        b = berth()
        around = pool.spawn("run", "-r", "slot=2", "--label", "around", "--", "sh", "-c",
                            f"for i in 1 2 3 4 5; do {b} run -r slot=2 --label in$i -- sleep 1000 & done; wait")
        pool.wait_for(held=2, waiting=4)
        began = time.monotonic()
        said(pool, around, "waiting for 2 slot", timeout=20)
        check(time.monotonic() - began > 8, "the siblings' turns are not spoken of")
        check(re.fullmatch(r"berth: waiting for 2 slot: slot is held by in\d \(\w+\), no telling how long\n", pool.err(around)), pool.err(around))


def test_a_quota_is_named_and_not_those_who_hold():
    with Pool(slot=9) as pool:
        pool.run("set", "policy.max.slot_per_user=1")
        hold(pool, "-r", "slot=1", "--expect", "1h")
        waiter = wait_behind(pool, *SLOT, "--", "true")
        said(pool, waiter, r"waiting for 1 slot: held back by policy.max.slot_per_user=1, about \d+ (min|h)\n$")


def test_nothing_is_done_for_who_does_not_hear():
    with Pool(slot=1) as pool:
        hold(pool, "-r", "slot=1")
        with open("/dev/null", "wb") as null:
            deaf = pool.spawn(*SLOT, "--", "true", stderr=null)
        pool.wait_for(waiting=1)
        wait_until(lambda: proc_state(deaf.pid) == "S", 10, "it to sleep", pool)
        before = switches(deaf.pid)
        time.sleep(0.6)
        check(switches(deaf.pid) == before, f"{switches(deaf.pid) - before} wake-ups")
        hears = wait_behind(pool, *SLOT, "--", "true")
        before = switches(hears.pid)
        said(pool, hears, "waiting for 1 slot")
        check(switches(hears.pid) > before, "the figure means nothing")


def test_a_wait_of_a_moment_is_not_spoken_of():
    with Pool(slot=1) as pool:
        done = pool.run("run", "-r", "slot=1", "--", "sh", "-c",
                        f"for i in 1 2 3 4 5 6 7 8; do {berth()} run -r slot=1 -- sleep 0.1 & done; wait")
        check(done.returncode == 0 and done.stderr == "", f"{done}")
        holder = hold(pool, "-r", "slot=1")
        waiter = wait_behind(pool, *SLOT, "--", "true")
        kill(holder.pid, signal.SIGTERM)
        wait_exit(waiter)
        check(pool.err(waiter) == "", f"it was over at once: {pool.err(waiter)!r}")


def test_it_takes_no_lock_to_speak():
    with Pool(slot=1) as pool:
        import fcntl
        hold(pool, "-r", "slot=1")
        waiter = wait_behind(pool, *SLOT, "--", "true")
        fd = os.open(pool.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        check(pool.err(waiter) == "", "too early for this test")
        said(pool, waiter, "waiting for 1 slot: slot is held by sleep")
        os.close(fd)


def test_the_stopped_and_the_killed_lose_nothing():
    with Pool(slot=1) as pool:
        holder = hold(pool, "-r", "slot=1")
        one = wait_behind(pool, *SLOT, "--label", "one", "--", "sleep", "1000")
        two = wait_behind(pool, *SLOT, "--label", "two", "--", "sleep", "1000")
        said(pool, two, "1 ahead of you")
        kill(one.pid, signal.SIGSTOP)
        kill(holder.pid, signal.SIGTERM)
        wait_until(lambda: [l["label"] for l in pool.leases("held")] == ["two"], 10, "the second to pass the stopped one", pool)
        kill(one.pid, signal.SIGCONT)
        kill(two.pid, signal.SIGTERM)
        wait_until(lambda: [l["label"] for l in pool.leases("held")] == ["one"], 10, "the first to get it", pool)
        check(not descendants(two.pid), "gone")


def main_tests():
    return [f for name, f in globals().items() if name.startswith("test_")]


main(main_tests())
