"""Giving way: who is asked and who is not, what the hook says and what the driver says, and whatever befalls either."""
import json
import os
import random
import re
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import (Pool, Witness, check, children, descendants, is_running, job_of, kill, main, seed, slower,  # noqa: E402
                       wait_exit, wait_until)
from faultkit import as_user, public_berth  # noqa: E402
from gpukit import Card, machine, seated  # noqa: E402

HIGH = ("-p", "5")


def server(pool, *options, claim=("-r", "slot=1"), command=("sleep", "600"), label="server", **kw):
    """A holder that may be asked, once it holds."""
    process = pool.spawn("run", *claim, "-l", label, "--reclaimable", *options, "--", *command, **kw)
    wait_until(lambda: (pool.lease_of(process) or {}).get("state") == "held", what=f"{label} to hold", pool=pool)
    return process


def stubborn(pool, *options, script="trap '' TERM; {ready}; while :; do sleep 0.1; done"):
    """A server whose command has its traps set; unless `script` says else, it heeds no TERM."""
    ready = os.path.join(pool.tmp, "deaf")
    process = server(pool, *options, command=("sh", "-c", script.replace("{ready}", f"touch {ready}")))
    wait_until(lambda: os.path.exists(ready), what="the command to have its traps", pool=pool)
    return process


def high(pool, *command, claim=("-r", "slot=1"), priority="5", label="high"):
    return pool.spawn("run", *claim, "-p", priority, "-l", label, "--", *(command or ("sleep", "600")))


def holds(pool, process):
    wait_until(lambda: (pool.lease_of(process) or {}).get("state") == "held", what=f"{process.pid} to hold", pool=pool)


def lines(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read().split("\n")[:-1]
    except FileNotFoundError:
        return []


def cmdline(pid):
    """The words of a process, each ended by a NUL; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()
    except OSError:
        return b""


def hook(pool, name, more="true"):
    """A hook that leaves a line a run, and where it does."""
    path = os.path.join(pool.tmp, name)
    return f"echo run $(id -u) $BERTH_ID $BERTH_POOL >>{path}; {more}", path


def whys(pool, process):
    return (pool.lease_of(process) or {}).get("reason") or ""


def history(pool, label):
    done = pool.run("history", "--json", "--label", label)
    return json.loads(done.stdout)["jobs"]


def finish(process):
    """Ends a job's command, as it might end by itself."""
    kill(job_of(process), signal.SIGKILL)
    return wait_exit(process)


def test_a_server_gives_way_and_comes_back_by_itself():
    with Pool(slot=1) as pool:
        unload, unloaded = hook(pool, "unloaded")
        load, loaded = hook(pool, "loaded")
        one = server(pool, "--on-reclaim", unload, "--on-return", load)
        command = job_of(one)
        other = high(pool)
        holds(pool, other)
        check(len(lines(unloaded)) == 1 and not lines(loaded), (lines(unloaded), lines(loaded)))
        lease = pool.lease_of(one)
        check(lease["state"] == "waiting" and "gave way" in lease["reason"], lease)
        check(lines(unloaded)[0] == f"run {os.getuid()} {lease['id']} {pool.path}", lines(unloaded))
        finish(other)
        holds(pool, one)
        wait_until(lambda: lines(loaded), what="its return")
        check(is_running(command), "it is the same command all the time")
        check(len(lines(unloaded)) == 1 and len(lines(loaded)) == 1, "each hook ran once")
        jobs = history(pool, "server")
        check([j["how"] for j in jobs] == ["reclaimed"] and "gave way to high" in jobs[0]["reason"], jobs)
        finish(one)
        check([j["how"] for j in history(pool, "server")] == ["reclaimed", "signal"], history(pool, "server"))
        check(not pool.leftovers(), pool.leftovers())


def test_nobody_is_asked_by_equals_or_in_vain_or_one_too_many():
    with Pool(slot=3) as pool:
        told = [hook(pool, f"told{i}") for i in range(2)]
        servers = [server(pool, "--on-reclaim", words, label=f"s{i}") for i, (words, _) in enumerate(told)]
        firm = pool.spawn("run", "-r", "slot=1", "--", "sleep", "600")
        holds(pool, firm)
        equal = high(pool, priority="0", label="equal")
        vain = high(pool, claim=("-r", "slot=3"), priority="9", label="vain")
        pool.wait_for(waiting=2)
        time.sleep(0.5)  # for what must not happen
        check(not any(lines(path) for _, path in told), "asked for nothing")
        kill(vain.pid, signal.SIGTERM)
        wait_exit(vain)
        one = high(pool)
        holds(pool, one)
        asked = [len(lines(path)) for _, path in told]
        check(sorted(asked) == [0, 1], asked)
        check(asked == [0, 1], "who sat down last has least to lose")
        check(pool.lease_of(equal)["state"] == "waiting", "an equal was let in")
        for process in (*servers, firm, equal, one):
            kill(process.pid, signal.SIGTERM)


def test_two_waiters_at_once_and_no_over_grant():
    with Pool(slot=3) as pool:
        witness = Witness(pool)
        # The locks are a server's while it has its place: the hook makes it let go of them.
        told = [hook(pool, f"told{i}") for i in range(3)]
        servers = [server(pool, "--on-reclaim", words, label=f"s{i}") for i, (words, _) in enumerate(told)]
        pair = [high(pool, *witness.job("slot:2", 1500, f"h{i}"), label=f"h{i}") for i in range(2)]
        for process in pair:
            holds(pool, process)
        check(sum(len(lines(path)) for _, path in told) == 2, [lines(path) for _, path in told])
        check(len(pool.leases("held")) == 3, pool.leases())
        for process in pair:
            check(wait_exit(process) == 0, "a job")
        for process in servers:
            holds(pool, process)
        witness.check()


def test_who_ignores_it_is_shown_and_keeps_its_place():
    with Pool(slot=1) as pool:
        one = stubborn(pool, "--grace", "300ms")
        other = high(pool)
        wait_until(lambda: "did not" in whys(pool, one), what="it to be shown", pool=pool)
        lease = pool.lease_of(one)
        check(lease["state"] == "held" and lease["reclaimable"] and lease["reclaim_requested"], lease)
        check("has not given way to high" in pool.err(one), pool.err(one))
        check(pool.err(one).count("SIGTERM") == 1, pool.err(one))
        time.sleep(0.8)  # it is not asked again
        check(pool.err(one).count("SIGTERM") == 1, pool.err(one))
        kill(other.pid, signal.SIGTERM)
        wait_exit(other)
        wait_until(lambda: not pool.lease_of(one)["reclaim_requested"], what="the request to be over", timeout=15,
                   pool=pool)
        kill(one.pid, signal.SIGKILL)


def test_beside_one_that_did_not_heed_the_others_are_asked_when_it_has_gone():
    with Pool(slot=2) as pool:
        one = stubborn(pool, "--grace", "300ms")
        told, path = hook(pool, "told")
        other = server(pool, "--on-reclaim", told, label="other")
        for waiter in range(2):
            both = high(pool, claim=("-r", "slot=2"), label=f"both{waiter}")
            wait_until(lambda n=waiter: pool.err(one).count("keeps its place") == n + 1, what="it to stay", pool=pool)
            wait_until(lambda: whys(pool, one).endswith("and did not"), what="it to be shown", pool=pool)
            kill(both.pid, signal.SIGTERM)
            wait_exit(both)
            wait_until(lambda: not pool.lease_of(one)["reclaim_requested"], what="the request to be over", timeout=15,
                       pool=pool)
            check(pool.lease_of(other)["state"] == "held" or waiter == 0, "it has its place again")
            wait_until(lambda: pool.lease_of(other)["state"] == "held", what="the other one to be back", pool=pool)
            if waiter == 0:
                before = len(lines(path))
        check(len(lines(path)) == before <= 1, f"it gave way in vain, though it was known: {lines(path)}")
        both = high(pool, claim=("-r", "slot=2"), label="last")  # and now it heeds
        wait_until(lambda: pool.err(one).count("SIGTERM") == 3, what="it to be asked", pool=pool)
        check(len(lines(path)) == before, "the other one was asked beside it")
        kill(job_of(one))
        wait_exit(one)
        holds(pool, both)
        check(len(lines(path)) == before + 1, lines(path))
        for process in (other, both):
            kill(process.pid, signal.SIGTERM)


def test_who_ignores_a_hand_is_shown_and_may_be_asked_by_a_waiter():
    with Pool(slot=1) as pool:
        one = stubborn(pool, "--grace", "300ms")
        ident = pool.lease_of(one)["id"]
        check(pool.run("reclaim", ident).returncode == 0, "reclaim")
        said = "was asked by hand to give way and did not"
        wait_until(lambda: said in whys(pool, one), what="it to be shown", pool=pool)
        time.sleep(6)  # it looks by itself, and is not let off
        lease = pool.lease_of(one)
        check(lease["reason"] == said and lease["reclaim_requested"], lease)
        check(said in pool.run("status").stdout, pool.run("status").stdout)
        check(pool.err(one).count("SIGTERM") == 1, pool.err(one))
        check(pool.run("reclaim", ident).returncode == 0, "once more")
        wait_until(lambda: pool.err(one).count("SIGTERM") == 2, what="it to be asked again", pool=pool)
        wait_until(lambda: pool.err(one).count("keeps its place") == 2, what="its time to be over", pool=pool)
        other = high(pool)
        wait_until(lambda: pool.err(one).count("SIGTERM") == 3, what="the waiter to ask", timeout=1.5, pool=pool)
        wait_until(lambda: whys(pool, one) == "was asked to give way and did not", what="it to be shown", pool=pool)
        kill(other.pid, signal.SIGTERM)
        wait_exit(other)
        kill(job_of(one))
        wait_exit(one)
        job = history(pool, "server")[-1]
        check(job["how"] == "signal" and "did not give way to high" in job["reason"], job)
        check("signal 9 (KILL), did not give way to high" in pool.run("history").stdout, pool.run("history").stdout)
        # And of a hold.
        done = pool.run("hold", "-r", "slot=1", "--for", str(os.getpid()), "-l", "kept", "--reclaimable", "--grace", "300ms")
        check(done.returncode == 0 and pool.run("reclaim", done.stdout.strip()).returncode == 0, done)
        wait_until(lambda: said in (pool.leases()[0]["reason"] or ""), what="it to be shown", pool=pool)
        check(pool.run("release", done.stdout.strip()).returncode == 0, "release")
        wait_until(lambda: history(pool, "kept"), what="its history", pool=pool)
        check(history(pool, "kept")[-1]["reason"] == "did not give way, asked by hand", history(pool, "kept"))


def test_a_signal_ends_it_and_run_says_76():
    with Pool(slot=1) as pool:
        one = server(pool)
        other = high(pool, "true")
        check(wait_exit(one) == 76, pool.err(one))
        check(wait_exit(other) == 0, "the job")
        job = history(pool, "server")[-1]
        check(job["how"] == "reclaimed" and job["status"] == 76 and "gave way to high" in job["reason"], job)
        one = stubborn(pool, "--reclaim-signal", "USR1",
                       script="trap 'echo saved; exit 0' USR1; {ready}; while :; do sleep 0.05; done")
        other = high(pool, "true")
        check(wait_exit(one) == 76 and pool.out(one) == "saved\n", pool.err(one))
        check(wait_exit(other) == 0, "the job")


def test_preemptible_is_ended_with_its_tree_after_the_grace():
    with Pool(slot=1) as pool:
        one = stubborn(pool, "--grace", "300ms", "--preemptible",
                       script="trap '' TERM; sleep 600 & {ready}; while :; do sleep 0.1; done")
        begun = time.monotonic()
        other = high(pool, "true")
        check(wait_exit(one) == 76, pool.err(one))
        check(time.monotonic() - begun > 0.55, "it did not have its two graces")
        check(wait_exit(other) == 0, "the job")
        check("so it is ended (--preemptible)" in pool.err(one) and "killed" in pool.err(one), pool.err(one))


def test_requeue_starts_it_again_at_its_old_place():
    with Pool(slot=1) as pool:
        path = os.path.join(pool.tmp, "starts")
        script = f"echo start >>{path}; if [ $(wc -l <{path}) = 1 ]; then sleep 600; else echo again; fi"
        one = server(pool, "--requeue", command=("sh", "-c", script))
        behind = pool.spawn("run", "-r", "slot=1", "-l", "behind", "--", "sh", "-c", f"echo behind >>{path}")
        pool.wait_for(waiting=1)
        other = high(pool, "sh", "-c", f"echo high >>{path}; sleep 0.5")
        check(wait_exit(other) == 0 and wait_exit(one) == 0 and wait_exit(behind) == 0, pool.err(one))
        check(lines(path) == ["start", "high", "start", "behind"], lines(path))
        check(pool.out(one) == "again\n", pool.out(one))
        check([j["how"] for j in history(pool, "server")] == ["reclaimed", "exited"], history(pool, "server"))


def test_who_is_told_to_end_is_not_started_again():
    with Pool(slot=1) as pool:
        one = server(pool, "--requeue", "--on-reclaim", "sleep 603")
        other = high(pool)
        wait_until(lambda: pool.lease_of(one)["reclaim_requested"], what="the request", pool=pool)
        kill(one.pid, signal.SIGTERM)
        check(wait_exit(one) == 128 + 15, pool.err(one))
        holds(pool, other)
        one = server(pool, "--requeue", "--limit", "1s", "--on-reclaim", "sleep 603", claim=("--cpu", "1"))
        check(wait_exit(one) == 128 + 15, pool.err(one))


def test_hooks_that_fail_hang_or_print_garbage():
    with Pool(slot=1) as pool:
        for words, said in (("exit 3", "--on-reclaim ended with 3"), ("sleep 601; true", "and is killed"),
                            ("no-such-program-at-all", "ended with 127")):
            one = server(pool, "--grace", "300ms", "--on-reclaim", words)
            other = high(pool)
            wait_until(lambda: "did not" in whys(pool, one), what=f"{words} to fail", pool=pool)
            check(said in pool.err(one), pool.err(one))
            check(pool.lease_of(one)["state"] == "held", "it lost its place")
            check(not [p for p in descendants(one.pid) if b"601" in cmdline(p)], "a hook was left behind")
            for process in (other, one):
                kill(process.pid, signal.SIGTERM)
                wait_exit(process)
        noisy = "head -c 300000 /dev/urandom; i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; printf '\\033[31m'"
        one = server(pool, "--on-reclaim", noisy)
        other = high(pool)
        holds(pool, other)
        check("\033" not in pool.err(one) and pool.err(one).count("\n") < 130, len(pool.err(one)))
        check("it says more" in pool.err(one), pool.err(one)[-200:])


def test_a_hook_has_nothing_that_keeps_the_place():
    with Pool(slot=1) as pool:
        path = os.path.join(pool.tmp, "fds")
        one = server(pool, "--on-reclaim", f"ls -l /proc/self/fd >{path}; env | grep BERTH >>{path}")
        other = high(pool)
        holds(pool, other)
        text = "\n".join(lines(path))
        check(".l" not in text and "BERTH_LIFE_FD" not in text, text)
        check("BERTH_LEASE=" in text and f"BERTH_POOL={pool.path}" in text, text)
        kill(one.pid, signal.SIGTERM)


def test_the_need_is_gone_before_the_hook_has_ended():
    with Pool(slot=1) as pool:
        go = os.path.join(pool.tmp, "go")
        load, loaded = hook(pool, "loaded")
        one = server(pool, "--on-reclaim", f"while [ ! -e {go} ]; do sleep 0.02; done", "--on-return", load)
        for end in (signal.SIGTERM, signal.SIGKILL):
            before = len(lines(loaded))
            other = high(pool)
            wait_until(lambda: pool.lease_of(one)["reclaim_requested"], what="the request", pool=pool)
            kill(other.pid, end)
            wait_exit(other)
            with open(go, "w", encoding="ascii"):
                pass
            wait_until(lambda: len(lines(loaded)) == before + 1, what="its return", pool=pool)
            check(pool.lease_of(one)["state"] == "held", pool.leases())
            os.unlink(go)
        check("gave way" not in pool.err(one), pool.err(one))


def test_the_reclaimer_is_killed_after_the_place_was_given():
    with Pool(slot=1) as pool:
        one = server(pool, "--on-reclaim", "true")
        other = high(pool)
        holds(pool, other)
        for pid in [other.pid, *descendants(other.pid)]:
            kill(pid)
        holds(pool, one)
        check("has its place again" in pool.err(one), pool.err(one))


def test_a_server_that_is_stopped_or_killed_is_passed_over():
    with Pool(slot=2) as pool:
        told, path = hook(pool, "told")
        first = server(pool, "--on-reclaim", told, "-p", "1", label="first")
        stopped = server(pool, "--on-reclaim", "true", label="stopped")
        kill(stopped.pid, signal.SIGSTOP)
        one = high(pool)
        wait_until(lambda: (pool.lease_of(one) or {}).get("state") == "held", 20, "the other to be asked", pool)
        check(len(lines(path)) == 1, lines(path))
        kill(stopped.pid, signal.SIGCONT)
        finish(one)
        holds(pool, first)
        # Its berth is killed, and its command keeps the place: nobody is there to ask.
        kill(stopped.pid, signal.SIGKILL)
        one = high(pool)
        wait_until(lambda: (pool.lease_of(one) or {}).get("state") == "held", 20, "the other to be asked", pool)
        check(len(lines(path)) == 2, lines(path))


def test_its_berth_is_killed_while_the_hook_runs():
    with Pool(slot=2) as pool:
        told, path = hook(pool, "told")
        server(pool, "--on-reclaim", told, "-p", "1", label="first")
        killed = server(pool, "--on-reclaim", "sleep 602", label="killed")
        command = job_of(killed)
        one = high(pool)
        wait_until(lambda: pool.lease_of(killed)["reclaim_requested"], what="the request", pool=pool)
        kill(killed.pid)
        wait_exit(killed)
        wait_until(lambda: (pool.lease_of(one) or {}).get("state") == "held", 20, "the other to be asked", pool)
        check(len(lines(path)) == 1, lines(path))
        check(is_running(command) and len(pool.leases("held")) == 2, pool.leases())
        wait_until(lambda: not [p for p in descendants() if b"602" in cmdline(p)], what="the hook to be gone")


def test_a_hook_runs_as_the_holders_user():
    if os.geteuid() != 0:
        return "not root: skipped"
    other = {"executable": public_berth(), **as_user(65534)}
    with Pool(slot=2) as pool:
        os.chmod(pool.tmp, 0o1777)
        path = os.path.join(pool.tmp, "who")
        one = server(pool, "--on-reclaim", f"id -u >{path}", **other)
        check(pool.run("reclaim", pool.lease_of(one)["id"]).returncode == 0, "root may ask anyone")
        wait_until(lambda: lines(path), what="the hook")
        check(lines(path) == ["65534"], lines(path))
        mine = server(pool, "--on-reclaim", "true", label="roots")
        check(pool.run("reclaim", pool.lease_of(mine)["id"], **other).returncode == 77, "not theirs")
        # A waiter of another user is heeded as well.
        asker = high(pool, claim=("-r", "slot=2"))
        holds(pool, asker)
        check(len(lines(path)) == 1 and lines(path) == ["65534"], lines(path))


def test_the_command_dies_while_its_place_is_away():
    with Pool(slot=1) as pool:
        one = server(pool, "--on-reclaim", "true", command=("sh", "-c", "sleep 600; exit 5"))
        other = high(pool)
        holds(pool, other)
        kill(children(job_of(one))[0])
        check(wait_exit(one) in (5, 137), pool.err(one))
        check(len(pool.leases()) == 1, pool.leases())


def test_a_waiter_is_told_who_was_asked_for_it():
    with Pool(slot=1) as pool:
        one = server(pool, "--expect", "2h", "--on-reclaim", "while [ ! -e go ]; do sleep 0.02; done", cwd=pool.tmp)
        words = rf"for 1 slot: slot is held by server \(\w+, .* left, {{}}\)\n"
        told = pool.run("run", "-r", "slot=1", *HIGH, "--dry-run")
        check(re.fullmatch("would wait " + words.format("would be asked to give way"), told.stdout), told)
        two = high(pool)
        wait_until(lambda: re.search("waiting " + words.format("asked to give way"), pool.err(two)), what="the word", pool=pool)
        lease = pool.lease_of(two)
        check(lease["eta_s"] is None and lease["reason"].startswith("server (") and "is asked to give way; held by server" in
              lease["reason"], lease)
        with open(os.path.join(pool.tmp, "go"), "w", encoding="ascii"):
            pass
        holds(pool, two)
        finish(two)
        holds(pool, one)
        finish(one)


def test_work_in_flight_is_not_asked():
    with Pool(slot=1) as pool:
        told, path = hook(pool, "told")
        go = os.path.join(pool.tmp, "go")
        berth = os.path.abspath(os.environ.get("BERTH") or "build/berth")
        span = f"while [ ! -e {go}$1 ]; do sleep 0.02; done"
        script = f"""{berth} busy -- sh -c '{span}' x 1 & {berth} busy -- sh -c '{span}' x 2 & wait; exec sleep 600"""
        one = server(pool, "--on-reclaim", told, command=("sh", "-c", script))
        # By name, not by number: a shell that is about to start a sleep is two of it for a moment.
        running = lambda: {cmdline(p)[-2:-1] for p in descendants(one.pid) if cmdline(p).startswith(b"sh\0-c\0while")}
        wait_until(lambda: running() == {b"1", b"2"} and "busy" in whys(pool, one), what="the spans", pool=pool)
        other = high(pool)
        pool.wait_for(waiting=1)
        for which in ("1", "2"):
            time.sleep(0.3)
            check(not lines(path), "asked while work was in flight")
            if which == "1":
                with open(go + which, "w", encoding="ascii"):
                    pass
        # The second span ends by a death.
        spans = [p for p in descendants(one.pid) if cmdline(p).endswith(b"x\0002\0")]
        check(spans, "the second span")
        for pid in spans:
            for below in descendants(pid):
                kill(below)
            kill(pid)
        holds(pool, other)
        check(len(lines(path)) == 1, lines(path))


def test_busy_runs_its_command_anywhere():
    with Pool(slot=1) as pool:
        check(pool.run("busy", "--", "sh", "-c", "exit 7").returncode == 7, "outside of a lease")
        check(pool.run("busy", "sh", "-c", "echo x").stdout == "x\n", "without --")
        check(pool.run("busy", "--", "no-such-program").returncode == 127, "127")
        check(pool.run("busy").returncode == 2 and pool.run("busy", "--what").returncode == 2, "usage")
        check(pool.run("run", "-r", "slot=1", "--", os.environ.get("BERTH") or "build/berth", "busy", "--", "sh", "-c",
                       "exit 6").returncode == 6, "in a lease that is not asked")


def test_reclaim_by_hand():
    with Pool(slot=1) as pool:
        told, path = hook(pool, "told")
        load, loaded = hook(pool, "loaded")
        one = server(pool, "--on-reclaim", told, "--on-return", load)
        ident = pool.lease_of(one)["id"]
        done = pool.run("reclaim", ident[:6])
        check(done.returncode == 0 and done.stdout == "" and done.stderr == "", done)
        wait_until(lambda: lines(loaded), what="there and back again", pool=pool)
        check(len(lines(path)) == 1 and pool.lease_of(one)["id"] == ident, pool.leases())
        said = pool.err(one)
        check(said.index("gave way by hand") < said.index("has its place again"), said)
        # An equal that waits has the place.
        equal = pool.spawn("run", "-r", "slot=1", "--", "sleep", "600")
        pool.wait_for(waiting=1)
        check(pool.run("reclaim", ident).returncode == 0, "asked")
        holds(pool, equal)
        check(pool.run("reclaim", ident).returncode == 1, "it waits")
        firm = pool.lease_of(equal)["id"]
        done = pool.run("reclaim", firm)
        check(done.returncode == 1 and "--reclaimable" in done.stderr, done)
        check(pool.run("reclaim", "zzzz").returncode == 1 and pool.run("reclaim").returncode == 2, "no such lease")


def test_who_asks_a_busy_one_by_hand_is_told_that_it_stands():
    with Pool(slot=1) as pool:
        told, path = hook(pool, "told")
        load, loaded = hook(pool, "loaded")
        go = os.path.join(pool.tmp, "go")
        berth = os.path.abspath(os.environ.get("BERTH") or "build/berth")
        script = f"{berth} busy -- sh -c 'while [ ! -e {go} ]; do sleep 0.02; done'; exec sleep 600"
        one = server(pool, "--on-reclaim", told, "--on-return", load, command=("sh", "-c", script))
        wait_until(lambda: "busy, so it is not asked" in whys(pool, one), what="the span", pool=pool)
        ident = pool.lease_of(one)["id"]
        done = pool.run("reclaim", ident)
        check(done.returncode == 0 and done.stdout == "", done)
        check(done.stderr == f"berth: the lease {ident} is busy (berth busy), so it does not give way yet; "
              "it is asked when that is over\n", done)
        wait_until(lambda: "asked to give way; busy, so not yet" in whys(pool, one), what="status", pool=pool)
        check(not lines(path), "asked while work was in flight")
        with open(go, "w", encoding="ascii"):
            pass
        wait_until(lambda: lines(loaded), what="there and back again", pool=pool)
        check(len(lines(path)) == 1, lines(path))


def test_words_that_are_wrong():
    with Pool(slot=1) as pool:
        for words, said in ((("--on-reclaim", "x"), "needs --reclaimable"), (("--requeue",), "needs --reclaimable"),
                            (("--reclaimable", "--reclaim-signal", "FOO"), "no signal"),
                            (("--reclaimable", "--exec"), "--exec leaves nobody"),
                            (("--reclaimable", "--on-return", "x"), "needs an --on-reclaim")):
            done = pool.run("run", "-r", "slot=1", *words, "--", "true")
            check(done.returncode == 2 and said in done.stderr, done)


def test_a_held_place_gives_way_and_comes_back():
    with Pool(slot=1) as pool:
        told, path = hook(pool, "told")
        load, loaded = hook(pool, "loaded")
        done = pool.run("hold", "--for", str(os.getpid()), "-r", "slot=1", "--reclaimable", "--on-reclaim", told,
                        "--on-return", load)
        check(done.returncode == 0, done)
        other = high(pool)
        holds(pool, other)
        check(len(lines(path)) == 1, lines(path))
        finish(other)
        wait_until(lambda: lines(loaded), what="its return", pool=pool)
        check(pool.leases()[0]["state"] == "held", pool.leases())
        check(pool.run("release", pool.leases()[0]["id"]).returncode == 0, "released")
        # Without a hook it is told, and shown.
        done = pool.run("hold", "--for", str(os.getpid()), "-r", "slot=1", "--reclaimable", "--grace", "200ms")
        other = high(pool)
        wait_until(lambda: any("did not" in (l["reason"] or "") for l in pool.leases("held")), what="it", pool=pool)
        check(pool.run("release", done.stdout.strip()).returncode == 0, "released")
        holds(pool, other)


def test_a_hook_that_lies_gives_nothing_before_the_driver_says_so():
    with machine(Card("GPU-a", total="24G")) as (gpus, pool):
        load, loaded = hook(pool, "loaded")
        one = server(pool, "--on-reclaim", "echo unloaded, honestly", "--on-return", load, claim=("--vram", "16G"))
        command = job_of(one)
        gpus.hold(command, "GPU-a", "15G")
        other = high(pool, claim=("--vram", "20G"))
        wait_until(lambda: "unloaded, honestly" in pool.err(one), what="the hook's word", pool=pool)
        time.sleep(1.0)
        check(pool.lease_of(one)["state"] == "held", "the place was given for a word")
        check(pool.lease_of(other)["state"] == "waiting", "two are on the card")
        check("asked to give way to high" in whys(pool, one), whys(pool, one))
        gpus.hold(command, "GPU-a", "400M")  # its context stays
        seated(pool, other)
        check(pool.lease_of(one)["state"] == "waiting", pool.leases())
        finish(other)
        holds(pool, one)
        wait_until(lambda: lines(loaded), what="its return", pool=pool)
        check(is_running(command), "the server")


def test_it_comes_back_to_the_card_that_its_command_knows():
    with Pool(sim_gpus="2x24G") as pool:
        one = server(pool, "--on-reclaim", "true", claim=("--gpus", "1"))
        check([d["index"] for d in pool.lease_of(one)["granted"]["devices"]] == [0], pool.lease_of(one))
        both = high(pool, claim=("--gpus", "2"))
        holds(pool, both)
        next_one = high(pool, claim=("--gpus", "1"), priority="3", label="next")
        pool.wait_for(waiting=2)
        finish(both)
        holds(pool, next_one)
        check([d["index"] for d in pool.lease_of(next_one)["granted"]["devices"]] == [0], pool.lease_of(next_one))
        time.sleep(0.3)
        check(pool.lease_of(one)["state"] == "waiting", "it sat down on a card that its command does not know")
        finish(next_one)
        holds(pool, one)
        check([d["index"] for d in pool.lease_of(one)["granted"]["devices"]] == [0], pool.lease_of(one))


def test_who_wants_a_whole_card_gets_an_empty_one():
    with machine(Card("GPU-a", total="24G")) as (gpus, pool):
        one = server(pool, "--on-reclaim", "true", claim=("--vram", "16G"))
        command = job_of(one)
        gpus.hold(command, "GPU-a", "400M")
        other = high(pool, claim=("--gpus", "1"))
        wait_until(lambda: pool.lease_of(one)["reclaim_requested"], what="the request", pool=pool)
        time.sleep(0.5)
        check(pool.lease_of(one)["state"] == "held", "its context is left on the card")
        gpus.let_go(command)
        seated(pool, other)


def test_a_hook_that_only_lies_is_found_out():
    with machine(Card("GPU-a", total="24G")) as (gpus, pool):
        one = server(pool, "--on-reclaim", "true", "--grace", "1s", claim=("--vram", "16G"))
        gpus.hold(job_of(one), "GPU-a", "15G")
        other = high(pool, claim=("--vram", "20G"))
        wait_until(lambda: "did not" in whys(pool, one), what="it to be found out", pool=pool)
        check(pool.lease_of(other)["state"] == "waiting" and pool.lease_of(one)["state"] == "held", pool.leases())


def test_a_storm_over_grants_nothing():
    """Servers that really hold something, as a lock that others would miss, while jobs come, are killed, and stop them."""
    dice = random.Random(seed())
    with Pool(slot=3) as pool:
        witness = Witness(pool)
        servers = []
        for i in range(3):
            base = os.path.join(pool.tmp, f"s{i}")
            job = " ".join(witness.job("slot:3", -1, "-"))
            script = (f"while :; do {job} & echo $! >{base}.pid.new; mv {base}.pid.new {base}.pid; wait $!; "
                      f"while [ ! -e {base}.load ]; do sleep 0.005; done; rm {base}.load; done")
            unload = (f"while [ ! -e {base}.pid ]; do sleep 0.005; done; pid=$(cat {base}.pid); rm {base}.pid; "
                      f"kill -USR1 $pid; while kill -0 $pid 2>/dev/null; do sleep 0.002; done")
            servers.append(server(pool, "--on-reclaim", unload, "--on-return", f"touch {base}.load",
                                  command=("sh", "-c", script), label=f"s{i}"))
        jobs = []
        for _ in range(60):
            jobs.append(high(pool, *witness.job("slot:3", dice.randrange(5, 80), "-"), label="job",
                             priority=str(dice.randrange(1, 9))))
            time.sleep(dice.random() * 0.05)
            roll = dice.randrange(10)
            if roll == 0:
                for pid in [jobs[-1].pid, *descendants(jobs[-1].pid)]:
                    kill(pid)
            elif roll == 1:
                one = dice.choice(servers)
                kill(one.pid, signal.SIGSTOP)
                time.sleep(0.15)
                kill(one.pid, signal.SIGCONT)
        for job in jobs:
            wait_exit(job, 30)
        for one in servers:
            holds(pool, one)
        witness.check()
        gave = sum(pool.err(one).count(" gave way to ") for one in servers)
        check(gave >= 2, f"only {gave} gave way")  # jobs that overlap need but one, and on a slow machine most do
        return f"{gave} times a place was given away"


def test_from_the_request_to_the_hook():
    with Pool(slot=1) as pool:
        stamp = os.path.join(pool.tmp, "stamp")
        one = server(pool, "--on-reclaim", f"date +%s%N >>{stamp}")
        took = []
        for turn in range(15):
            begun = time.time_ns()
            other = high(pool, "true")
            check(wait_exit(other) == 0, "the job")
            holds(pool, one)
            took.append((int(lines(stamp)[turn]) - begun) / 1e6)
        kill(one.pid, signal.SIGTERM)
        median = statistics.median(took)
        # The job's own start and that of a shell and of date are in it.
        check(median < 60 * slower(), f"median {median:.1f} ms of {sorted(took)}")
        return f"from the start of berth run to the hook's date: median {median:.1f} ms"


main([test_a_server_gives_way_and_comes_back_by_itself, test_nobody_is_asked_by_equals_or_in_vain_or_one_too_many,
      test_two_waiters_at_once_and_no_over_grant, test_who_ignores_it_is_shown_and_keeps_its_place,
      test_beside_one_that_did_not_heed_the_others_are_asked_when_it_has_gone,
      test_who_ignores_a_hand_is_shown_and_may_be_asked_by_a_waiter,
      test_a_signal_ends_it_and_run_says_76, test_preemptible_is_ended_with_its_tree_after_the_grace,
      test_requeue_starts_it_again_at_its_old_place, test_who_is_told_to_end_is_not_started_again, test_hooks_that_fail_hang_or_print_garbage,
      test_a_hook_has_nothing_that_keeps_the_place, test_the_need_is_gone_before_the_hook_has_ended,
      test_the_reclaimer_is_killed_after_the_place_was_given, test_a_server_that_is_stopped_or_killed_is_passed_over,
      test_its_berth_is_killed_while_the_hook_runs, test_a_hook_runs_as_the_holders_user,
      test_the_command_dies_while_its_place_is_away, test_a_waiter_is_told_who_was_asked_for_it,
      test_work_in_flight_is_not_asked, test_busy_runs_its_command_anywhere,
      test_reclaim_by_hand, test_who_asks_a_busy_one_by_hand_is_told_that_it_stands, test_words_that_are_wrong,
      test_a_held_place_gives_way_and_comes_back,
      test_a_hook_that_lies_gives_nothing_before_the_driver_says_so, test_who_wants_a_whole_card_gets_an_empty_one,
      test_it_comes_back_to_the_card_that_its_command_knows, test_a_hook_that_only_lies_is_found_out,
      test_a_storm_over_grants_nothing, test_from_the_request_to_the_hook])
