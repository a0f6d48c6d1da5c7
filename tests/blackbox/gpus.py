"""Jobs on cards whose driver is believed: strangers, memory that is still to come or lingers, who is to blame."""
import os
import random
import time

from berthtest import Witness, berth, check, job_of, kill, main, pid_ended, seed, wait_exit, wait_until
from gpukit import HOLD, Card, end, job, leave, machine, notes, says, seated, sees_everybody, still_waits, stranger, waits

A, B = "GPU-aaaaaaaa-0001", "GPU-bbbbbbbb-0002"
GIB = 1 << 30


def one():
    return [Card(A, "0000:17:00.0")]


def two():
    return [Card(A, "0000:17:00.0"), Card(B, "0000:2a:00.0")]


# ---------------------------------------------------------------- memory that is still to come

def test_two_at_once_and_only_one_fits():
    """Each looks at an empty card and loads slowly. Whoever is second must see the first's claim."""
    rnd = random.Random(seed())
    with machine(*one()) as (_, pool):
        witness = Witness(pool)
        most, whole, eleven = ["--vram", "14G"], ["--gpus", "1"], ["--vram", "11G"]
        pairs = [(most, most), (most, eleven), (whole, most), (whole, whole), (eleven, whole)]
        for turn in range(25):
            load = f"sleep {rnd.choice([0, 0.01, 0.05])}; {HOLD} hold {A} 14G; sleep 0.03"
            started = [pool.spawn("run", *claim, "--", *witness.job("gpu", tag=f"{turn}.{i}", command=["sh", "-c", load]))
                       for i, claim in enumerate(rnd.choice(pairs))]
            for process in started:
                status = wait_exit(process, 30, pool)
                check(status == 0, f"exit {status}: {pool.err(process)!r}; {witness.violations()}")
        witness.check()
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")
    return "25 pairs"


def test_a_stranger_and_one_that_has_not_loaded_yet():
    with machine(*one()) as (gpus, pool):
        other = stranger(pool, gpus, A, "10G")
        first = job(pool, "--vram", "8G", "--label", "slow-loader")
        check(seated(pool, first) == [0], "8 GiB fit beside 10")
        free = pool.status()["devices"][0]["vram_free"]
        check(free == 6 * GIB, f"{free / GIB} GiB are left by book and driver")
        second = job(pool, "--vram", "14G")
        lease = waits(pool, second)
        still_waits(pool, second, 0.5)
        if sees_everybody():
            check(str(other.pid) in lease["reason"] or "slow-loader" in lease["reason"], f"{lease['reason']!r}")
        leave(other)
        check(seated(pool, second) == [0], "14 fit beside 8")
        check((end(second), end(first)) == (0, 0), "both ended well")


def test_loaded_memory_is_not_counted_twice():
    if not sees_everybody():
        return "skipped: the driver's pids mean nothing here"
    with machine(*one()) as (_, pool):
        first = job(pool, "--vram", "14G", script=f"hold {A} 13G")
        seated(pool, first)
        wait_until(lambda: pool.status()["devices"][0]["vram_used"] == 13 * GIB, 10, "the driver to show it", pool)
        done = pool.run("run", "--no-wait", "--vram", "10G", "--", "true")
        check(done.returncode == 0, f"10 GiB beside 14, of which 13 are loaded: {done.returncode} {done.stderr!r}")
        check(pool.run("run", "--no-wait", "--vram", "11G", "--", "true").returncode == 75, "11 do not fit")
        check(pool.status()["devices"][0]["unleased"] == [], "no stranger here")
        end(first)
    return ""


# ---------------------------------------------------------------- strangers

def test_an_exclusive_claim_goes_to_the_other_card():
    with machine(*two()) as (gpus, pool):
        for uuid, free in ((A, 1), (B, 0)):
            other = stranger(pool, gpus, uuid, "21G")
            for _ in range(3):
                first = job(pool, "--gpus", "1")
                check(seated(pool, first) == [free], f"not on GPU {free}")
                end(first)
            done = pool.run("run", "--no-wait", "--gpus", "2", "--", "true")
            check(done.returncode == 75, f"both of them: {done.returncode} {done.stderr!r}")
            leave(other)
        check(pool.run("run", "--no-wait", "--gpus", "2", "--", "true").returncode == 0, "both when all are gone")


def test_who_is_refused_waits_in_its_place_and_holds_nobody_up():
    with machine(*one()) as (gpus, pool):
        other = stranger(pool, gpus, A, "21G")
        whole = job(pool, "--gpus", "1", "--label", "whole")
        lease = waits(pool, whole, "GPU 0")
        if sees_everybody():
            for words in (str(other.pid), "sleep", "21 GiB"):
                check(words in lease["reason"], f"no {words} in {lease['reason']!r}")
                says(pool, whole, words)
        else:
            check("21 GiB" in lease["reason"], f"{lease['reason']!r}")
        check(lease["position"] == 1, f"its position is {lease['position']}")
        small = job(pool, "--vram", "2G", "--label", "small")
        check(seated(pool, small) == [0], "a small one fits beside")
        cpu = pool.run("run", "--no-wait", "--cpu", "1", "--", "true")
        check(cpu.returncode == 0, f"a CPU claim: {cpu.returncode} {cpu.stderr!r}")
        late = job(pool, "--gpus", "1", "--label", "late")
        check(waits(pool, late)["position"] == 2, "the late one stands behind")
        check(waits(pool, whole)["position"] == 1, "the first kept its place")
        leave(other)
        still_waits(pool, whole, 0.3)
        small_late = None
        # Once it has noticed that the stranger is gone it waits for the small one, and those behind for it.
        waits(pool, whole, "held by small", timeout=15)
        small_late = job(pool, "--vram", "2G", "--label", "small-late")
        waits(pool, small_late)
        end(small)
        seated(pool, whole)
        check(waits(pool, late)["position"] == 1, "then the late one")
        end(whole)
        seated(pool, late, 15)
        end(late)
        seated(pool, small_late, 15)
        check(end(small_late) == 0, "all ended well")


def test_who_was_refused_for_long_is_not_overtaken():
    """By now it looks every few seconds. The newcomer has looked just now, and tells it."""
    with machine(*one()) as (gpus, pool):
        other = stranger(pool, gpus, A, "21G")
        whole = job(pool, "--gpus", "1", "--label", "whole")
        waits(pool, whole)
        time.sleep(5)
        leave(other)
        late = job(pool, "--vram", "14G")
        seated(pool, whole, 2)
        waits(pool, late, "held by whole")
        end(whole)
        seated(pool, late)
        end(late)


def test_what_a_job_leaves_lingers_and_is_waited_for():
    for more in ([], ["--vram", "10G"]):
        with machine(*one()) as (gpus, pool):
            gpus.lines = ["linger 1500"]
            gpus.write()
            first = job(pool, "--gpus", "1", script=f"hold {A} 20G")
            seated(pool, first)
            wait_until(lambda: pool.status()["devices"][0]["vram_used"], 10, "it to load", pool)
            second = job(pool, *more)
            waits(pool, second, "held by")
            end(first)
            ended = time.monotonic()
            lease = waits(pool, second, "20 GiB", "no process")
            check(lease["position"] == 1, "still the first in line")
            used = any("20 GiB" in note and "no process" in note for note in notes(pool))
            check(used, f"status does not show whose it is: {notes(pool)}")
            seated(pool, second)
            after = time.monotonic() - ended
            check(after > 1.3, f"seated after {after:.2f} s, while the driver still showed it full")
            check(after < 5, f"seated after {after:.2f} s")
            end(second)


def test_a_process_that_outlives_its_lease_is_a_stranger():
    if not sees_everybody():
        return "skipped: the driver's pids mean nothing here"
    with machine(*one()) as (_, pool):
        script = f"(hold() {{ echo \"$1 $2\" >\"$STANDIN_HOLDERS/$3\"; }}; sleep 1000 <&- >&- 2>&- & hold {A} 9G $!; echo $!); exit 0"
        done = pool.run("run", "--until", "command", "--", "sh", "-c", script)
        check(done.returncode == 0, f"{done}")
        pid = int(done.stdout)
        [unleased] = pool.status()["devices"][0]["unleased"]
        check((unleased["pid"], unleased["vram"], unleased["cmd"]) == (pid, 9 * GIB, "sleep 1000"), f"{unleased}")
        check(any("left it behind" in note for note in notes(pool)), f"{notes(pool)}")
        short = pool.run("status", "--short").stdout
        check("GPU 0/1 free; 1 process without a lease;" in short and short.count("\n") == 1, short)
        check(pool.run("run", "--no-wait", "--", "true").returncode == 75, "its memory counts")
        kill(pid)
        pid_ended(pid)
        check(pool.run("run", "--no-wait", "--", "true").returncode == 0, "free again")
    return ""


# ---------------------------------------------------------------- leases and their processes

def test_a_glutton_is_named():
    if not sees_everybody():
        return "skipped: the driver's pids mean nothing here"
    with machine(*one()) as (_, pool):
        first = job(pool, "--vram", "4G", "--label", "glutton", script=f"hold {A} 15G")
        seated(pool, first)
        wait_until(lambda: any("glutton" in n and "15 GiB" in n and "4 GiB" in n for n in notes(pool)), 10, "it to be named", pool)
        check(pool.status()["devices"][0]["vram_free"] == 9 * GIB, "what it uses counts")
        second = job(pool, "--vram", "12G")
        lease = waits(pool, second)
        check("glutton" in lease["reason"] or "more than it claimed" in lease["reason"], f"{lease['reason']!r}")
        says(pool, second, "more than it claimed")
        end(first)
        seated(pool, second, 15)
        check(end(second) == 0, "well")
    return ""


def test_a_killed_wrapper_leaves_no_stranger():
    if not sees_everybody():
        return "skipped: the driver's pids mean nothing here"
    with machine(*two()) as (_, pool):
        first = job(pool, "--vram", "10G", "--only", "0", script=f"hold {A} 9G")
        seated(pool, first)
        command = job_of(first)
        wait_until(lambda: pool.status()["devices"][0]["vram_used"], 10, "it to load", pool)
        first.kill()
        first.wait(10)
        device = pool.status()["devices"][0]
        check(device["unleased"] == [], f"its command is a stranger: {device}")
        check(device["vram_free"] == 14 * GIB, f"{device}")
        done = pool.run("run", "--no-wait", "--vram", "14G", "--only", "0", "--", "true")
        check(done.returncode == 0, f"14 GiB beside it: {done.returncode} {done.stderr!r}")
        kill(command)
        pid_ended(command)
        done = pool.run("run", "--gpus", "2", "--timeout", "10s", "--", "true")
        check(done.returncode == 0, f"all of it afterwards: {done.returncode} {done.stderr!r}")
    return ""


def test_a_child_that_left_the_tree_is_found_by_its_environment():
    if not sees_everybody():
        return "skipped: the driver's pids mean nothing here"
    with machine(*one()) as (gpus, pool):
        # setsid and a parent that is gone: nothing but BERTH_ID leads back.
        first = job(pool, "--vram", "10G", script="(setsid sleep 1000 & echo $! >\"$STANDIN_HOLDERS/.daemon\")")
        seated(pool, first)
        daemon = int(wait_until(lambda: _text(gpus, ".daemon"), 10, "the daemon", pool))
        gpus.hold(daemon, A, "9G")
        device = pool.status()["devices"][0]
        check(device["unleased"] == [] and device["vram_free"] == 14 * GIB, f"{device}")
        end(first)
        device = pool.status()["devices"][0]
        check(device["unleased"] == [] and device["vram_free"] == 14 * GIB, f"its place stays taken, and is its own: {device}")
        kill(daemon)
        check(pool.run("run", "--timeout", "10s", "--", "true").returncode == 0, "free at last")
    return ""


def _text(gpus, name):
    try:
        with open(os.path.join(gpus.holders, name), encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return ""


def test_inside_a_lease_the_parents_memory_is_no_objection():
    with machine(*two()) as (_, pool):
        script = (f"{HOLD} hold $BERTH_DEVICES 20G; "
                  f"{berth()} run --no-wait --gpus 1 -- sh -c 'echo in $CUDA_VISIBLE_DEVICES' && "
                  f"{berth()} run --no-wait --vram 22G -- sh -c 'echo in $CUDA_VISIBLE_DEVICES' && "
                  f"{berth()} run --dry-run --gpus 1 -- true && "
                  f"env -u CUDA_VISIBLE_DEVICES {berth()} run --no-wait --gpus 2 -- true; echo $?")
        done = pool.run("run", "--only", "0", "--", "sh", "-c", script)
        check(done.stdout.splitlines() == ["in 0", "in 0", "would start now on GPU 0", "0"], f"{done}")


# ---------------------------------------------------------------- what is asked of the driver

def test_min_free_and_max_util():
    with machine(*two()) as (gpus, pool):
        gpus.cards[0].used = "10G"
        gpus.cards[0].util = 10
        gpus.cards[1].util = 90
        gpus.write()
        tell = lambda *w: pool.run("run", "--dry-run", "--vram", "1G", *w, "--", "true")
        for words, where in ((["--min-free", "20G"], 1), (["--max-util", "50"], 0)):
            done = tell(*words)
            check((done.returncode, done.stdout) == (0, f"would start now on GPU {where}\n"), f"{words}: {done}")
        for words, why in ((["--min-free", "20G", "--max-util", "50"], "--m"), (["--min-free", "20G", "--only", "0"], "14 GiB free"),
                           (["--max-util", "50", "--exclude", "0"], "90 % busy")):
            done = tell(*words)
            check(done.returncode == 75 and why in done.stdout, f"{words}: {done}")
        waiter = job(pool, "--vram", "1G", "--max-util", "50", "--only", B)
        lease = waits(pool, waiter)
        check("driver" in lease["reason"] and "GPU 1" in lease["reason"], f"{lease['reason']!r}")
        says(pool, waiter, "90 % busy")
        gpus.cards[1].util = 20
        gpus.write()
        check(seated(pool, waiter) == [1], "idle enough now")
        end(waiter)
        done = pool.run("run", "--min-free", "25G", "--", "true")
        check(done.returncode == 3, f"no card has that much: {done}")


def test_only_and_exclude():
    with machine(*two()) as (_, pool):
        tell = lambda *w: pool.run("run", "--dry-run", *w, "--", "true")
        for words, where in ((["--only", "1"], 1), (["--only", B], 1), (["--only", "GPU-b"], 1), (["--exclude", "0"], 1),
                             (["--exclude", "GPU-bbbb"], 0), (["--only", "0,1", "--exclude", A], 1)):
            check(tell(*words).stdout == f"would start now on GPU {where}\n", f"{words}: {tell(*words)}")
        for words in (["--only", "2"], ["--only", "GPU-"], ["--only", "GPU-c"]):
            check(tell(*words).returncode == 2, f"{words}: {tell(*words)}")
        check(tell("--only", "0", "--exclude", "0").returncode == 3, "nothing left")


def test_compute_modes():
    with machine(*two()) as (gpus, pool):
        gpus.cards[0].mode = "prohibited"
        gpus.write()
        tell = lambda *w: pool.run("run", "--dry-run", *w, "--", "true")
        check(tell("--gpus", "1").stdout == "would start now on GPU 1\n", f"{tell('--gpus', '1')}")
        done = tell("--gpus", "1", "--only", "0")
        check(done.returncode == 75 and "prohibited" in done.stdout, f"{done}")
        gpus.cards[0].mode = "exclusive"
        gpus.write()
        first = job(pool, "--vram", "2G", "--only", "0")
        seated(pool, first)
        check(tell("--vram", "2G").stdout == "would start now on GPU 1\n", "a card that takes one process at a time has one")
        done = tell("--vram", "2G", "--only", "0")
        check(done.returncode == 75 and "one process at a time" in done.stdout, f"{done}")
        end(first)
        check(tell("--vram", "2G", "--only", "0").returncode == 0, "free again")
        other = stranger(pool, gpus, A, "1G")
        check(tell("--vram", "2G", "--only", "0").returncode == 75, "a stranger is on it")
        leave(other)


# ---------------------------------------------------------------- drivers that change their mind

def test_the_drivers_order_means_nothing():
    with machine(*two()) as (gpus, pool):
        for order in ("order 0 1", "order 1 0"):
            gpus.lines = [order]
            gpus.write()
            for index, uuid in enumerate((A, B)):
                done = pool.run("run", "--only", index, "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES $BERTH_DEVICES")
                check(done.stdout.split() == [str(index), uuid], f"{order}: {done}")
        first = job(pool, "--only", "0")
        seated(pool, first)
        gpus.lines = ["order 1 0"]
        gpus.write()
        check(pool.status()["devices"][0]["vram_held"] == 24 * GIB, "held by UUID")
        check(pool.run("run", "--dry-run", "--", "true").stdout == "would start now on GPU 1\n", "the other is free")
        # Moved to another slot: the card keeps its identity, not its number.
        gpus.cards[0].pci = "0000:c1:00.0"
        gpus.write()
        status = pool.status()
        check([(d["uuid"], d["vram_held"]) for d in status["devices"]] == [(B, 0), (A, 24 * GIB)], f"{status['devices']}")
        end(first)


def test_a_gpu_is_lost_while_jobs_wait():
    with machine(*two()) as (gpus, pool):
        holders = [job(pool, "--gpus", "1") for _ in (0, 1)]
        on = [seated(pool, h)[0] for h in holders]
        waiters = []
        for i in (0, 1):
            waiters.append(job(pool, "--gpus", "1", "--label", f"w{i}"))
            waits(pool, waiters[i])
        gpus.lines = [f"fail {call} 15 {A}" for call in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses")]
        gpus.write()
        devices = {d["uuid"]: d for d in pool.status()["devices"]}
        check(len(devices) == 2, f"the lost one is not shown: {devices}")
        check("GPU is lost" in (devices[A]["trouble"] or ""), f"{devices[A]}")
        check(any("GPU is lost" in n for n in pool.run("status").stdout.splitlines()), "the table says so")
        end(holders[on.index(0)])
        still_waits(pool, waiters[0], 0.5)
        end(holders[on.index(1)])
        at = seated(pool, waiters[0])
        check(at == [devices[B]["index"]], f"seated on {at}")
        lease = waits(pool, waiters[1])
        check("GPU is lost" in pool.err(waiters[0]) + pool.err(waiters[1]) + lease["reason"], "nobody says why")
        end(waiters[0])
        seated(pool, waiters[1])
        end(waiters[1])
        done = pool.run("run", "--no-wait", "--gpus", "2", "--", "true")
        check(done.returncode == 75 and "lost" in done.stderr, f"both: {done}")


def test_a_gpu_that_the_driver_does_not_even_name_any_more():
    with machine(*two()) as (gpus, pool):
        holder = job(pool, "--gpus", "2")
        seated(pool, holder)
        waiter = job(pool, "--gpus", "2")
        waits(pool, waiter)
        gpus.lines = [f"fail * 15 {A}"]
        gpus.write()
        check("GPU is lost" in str(pool.status()["complaints"]), f"{pool.status()}")
        end(holder)
        wait_until(lambda: "GPU is lost" in pool.err(waiter), 10, "it to say why", pool)
        lease = waits(pool, waiter, "GPU is lost")
        check(lease["position"] == 1, f"{lease}")
        done = pool.run("run", "--", "sh", "-c", "echo $BERTH_DEVICES")
        check(done.stdout == B + "\n", f"who needs one gets the other: {done}")
        # Whether CUDA still counts it nobody knows: no number is believed, and none is handed on.
        done = pool.run("run", "--only", B, "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
        check(done.stdout == B + "\n", f"by UUID: {done}")
        for words, env in ((["--only", "0"], {}), (["--exclude", "1"], {}), ([], {"CUDA_VISIBLE_DEVICES": "1"})):
            done = pool.run("run", *words, "--", "true", env={**pool.env, **env})
            check(done.returncode == 4 and "GPU is lost" in done.stderr, f"{words}, {env}: {done}")
        gpus.lines = []
        gpus.write()
        seated(pool, waiter)
        end(waiter)


# ---------------------------------------------------------------- odd cards

def test_two_hundred_processes():
    if not sees_everybody():
        return "skipped: the driver's pids mean nothing here"
    with machine(*one()) as (gpus, pool):
        others = [stranger(pool, gpus) for _ in range(20)]
        gpus.cards[0].used = f"{200 * 64}M"
        gpus.cards[0].processes = [f"{p.pid} 64M" for p in others] + [f"{4_000_000 + i} 64M" for i in range(180)]
        gpus.write()
        device = pool.status()["devices"][0]
        check(len(device["unleased"]) == 20, f"{len(device['unleased'])} strangers that live")
        check(device["vram_free"] == 24 * GIB - 200 * (64 << 20), f"{device['vram_free']}")
        check(pool.run("run", "--no-wait", "--vram", "11G", "--", "true").returncode == 0, "11 fit")
        check(pool.run("run", "--no-wait", "--vram", "12G", "--", "true").returncode == 75, "12 do not")
    return ""


def test_unknown_memory_is_not_nothing():
    with machine(*one()) as (gpus, pool):
        other = stranger(pool, gpus)
        # Each process unknown, the sum known (WSL, some containers).
        gpus.cards[0].used = "20G"
        gpus.cards[0].processes = [f"{other.pid} unknown"]
        gpus.write()
        device = pool.status()["devices"][0]
        check(device["vram_free"] == 4 * GIB, f"{device}")
        if sees_everybody():
            check(device["unleased"][0]["vram"] is None, f"{device['unleased']}")
        check(pool.run("run", "--no-wait", "--", "true").returncode == 75, "not alone")
        check(pool.run("run", "--no-wait", "--vram", "4G", "--", "true").returncode == 0, "4 are left")
        check(pool.run("run", "--no-wait", "--vram", "5G", "--", "true").returncode == 75, "5 are not")
        # A stranger alone on the card, whose size nobody knows, though little is in use.
        gpus.cards[0].used = "100M"
        gpus.write()
        if sees_everybody():
            check(pool.run("run", "--no-wait", "--", "true").returncode == 75, "a stranger of unknown size is one")
        # No amounts at all: the book alone counts, and the stranger is still seen.
        gpus.lines = [f"fail nvmlDeviceGetMemoryInfo 4 {A}"]
        gpus.write()
        device = pool.status()["devices"][0]
        check(device["vram_used"] is None, f"{device}")
        if sees_everybody():
            check(pool.run("run", "--no-wait", "--", "true").returncode == 75, "the stranger is still seen")
        leave(other)


def test_unified_memory():
    with machine(Card(A, total=None, util=None)) as (_, pool):
        device = pool.status()["devices"][0]
        with open("/proc/meminfo", encoding="ascii") as f:
            total = int(f.readline().split()[1]) * 1024
        check(device["vram_total"] == total and device["vram_used"] is not None and device["util_pct"] is None, f"{device}")
        check(pool.run("run", "--no-wait", "--vram", "1G", "--", "true").returncode == 0, "a share of it")
        done = pool.run("run", "--no-wait", "--gpus", "1", "--", "true")
        check(done.returncode == 0, f"all of it, though the machine itself uses some: {done}")
        check(pool.run("run", "--vram", "100T", "--", "true").returncode == 3, "more than there is")


# ---------------------------------------------------------------- no wait

def test_no_wait_and_dry_run_say_why():
    with machine(*one()) as (gpus, pool):
        other = stranger(pool, gpus, A, "21G")
        done = pool.run("run", "--no-wait", "--", "true")
        check(done.returncode == 75 and done.stdout == "", f"{done}")
        check('"error":"busy"' in done.stderr and "21 GiB" in done.stderr, f"{done.stderr!r}")
        done = pool.run("run", "--dry-run", "--", "true")
        check(done.returncode == 75 and done.stdout.startswith("would wait for 1 GPU: GPU 0") and "21 GiB" in done.stdout, f"{done}")
        check(pool.leases() == [] and pool.leftovers() == [], "nothing stays")
        done = pool.run("run", "--timeout", "1s", "--", "true")
        check(done.returncode == 124 and "21 GiB" in done.stderr, f"{done}")
        leave(other)
        check(pool.run("run", "--dry-run", "--", "true").returncode == 0, "free")


def test_hold_heeds_the_driver_too():
    with machine(*two()) as (gpus, pool):
        other = stranger(pool, gpus, A, "21G")
        done = pool.run("hold", "--for", os.getpid(), "--ttl", "60s", "--print", "index", "--gpus", "1")
        check(done.stdout == "1\n", f"{done}")
        check(pool.run("hold", "--for", os.getpid(), "--no-wait", "--gpus", "1").returncode == 75, "no other")
        if sees_everybody():
            # What this very process uses is the lease's, for it is whom the lease is for.
            gpus.hold(os.getpid(), B, "5G")
            check(pool.status()["devices"][1]["unleased"] == [], f"{pool.status()['devices'][1]}")
        check(pool.run("release", pool.leases()[0]["id"]).returncode == 0, "released")
        leave(other)


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
