"""Who is stopped: a waiter is passed over in a moment, a holder still holds, and who steps aside keeps its place."""
import os
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import (Pool, Witness, check, descendants, job_of, kill, main, proc_state, sleeps, wait_exit,  # noqa: E402
                       wait_until)

ROUNDS = 20
MEDIAN_MS = 250   # what is promised past a stopped one
WORST_MS = 1000   # for a noisy machine
TICK_MS = 8000  # a safety tick of 4 s, and noise


def line_up(pool, witness, tags, already=0):
    """Waiters of one slot each, standing in this order."""
    found = []
    for i, tag in enumerate(tags):
        process = pool.spawn("run", "-r", "slot=1", "-l", tag, "--", *witness.job("slot:1", -1, tag))
        pool.wait_for(waiting=already + i + 1)
        found.append(process)
    return found


def wait_stopped(pid):
    wait_until(lambda: proc_state(pid) == "T", 5, f"pid {pid} to be stopped")


def finish(witness, process, tag):
    """Ends the job of `tag`, once it runs, as jobs end."""
    pid, _ = witness.started(tag)
    kill(pid, signal.SIGUSR1)
    check(wait_exit(process) == 0, f"{tag} did not end well")


def kill_holder_and_measure(how, stopped, rounds=ROUNDS, worst_ms=WORST_MS):
    """Rounds of: one holds, `stopped` stand and are stopped, one more stands; the holder is killed."""
    times = []
    for turn in range(rounds):
        with Pool(slot=1) as pool:
            witness = Witness(pool)
            holder = pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:1", -1, "holder"))
            job, _ = witness.started("holder")
            tags = [f"stopped{i}" for i in range(stopped)] + ["next"]
            waiters = line_up(pool, witness, tags)
            begun = time.monotonic_ns()
            for process in waiters[:-1]:
                kill(process.pid, signal.SIGSTOP)
            if how == "together":  # wrapper and command, in either order
                for pid in (holder.pid, job)[::1 if turn % 2 else -1]:
                    kill(pid)
            elif how == "wrapper first":
                kill(holder.pid)
                wait_exit(holder)
                begun = time.monotonic_ns()
                kill(job)
            else:  # the job ends as jobs end, and berth gives the place back
                kill(job, signal.SIGUSR1)
            _, seated = witness.started("next")
            times.append((seated - begun) / 1e6)
            check(not any(witness.has_started(t) for t in tags[:-1]), "a stopped process was seated")
            # They come back, and are served in their old order.
            for process in waiters[:-1]:
                kill(process.pid, signal.SIGCONT)
            finish(witness, waiters[-1], "next")
            for process, tag in zip(waiters[:-1], tags):
                finish(witness, process, tag)
            witness.check()
    median = statistics.median(times)
    said = f"median {median:.0f} ms, least {min(times):.0f}, most {max(times):.0f}"
    check(max(times) <= worst_ms, said)
    return median, said


def test_stopped_head_while_the_holder_is_killed():
    median, said = kill_holder_and_measure("together", 1)
    check(median <= MEDIAN_MS, said)
    return said


def test_stopped_head_while_the_orphaned_job_is_killed():
    median, said = kill_holder_and_measure("wrapper first", 1)
    check(median <= MEDIAN_MS, said)
    return said


def test_stopped_head_while_the_holder_ends():
    median, said = kill_holder_and_measure("ends", 1)
    check(median <= MEDIAN_MS, said)
    return said


def test_two_stopped_at_the_head():
    """The third watches only the two before it, and neither tells it: its safety tick (4 s) does."""
    _, said = kill_holder_and_measure("together", 2, rounds=3, worst_ms=TICK_MS)
    return said


def test_stopped_head_of_two_free_slots():
    """Two stopped at the head, two places free at once: both behind them are seated."""
    with Pool(slot=2) as pool:
        witness = Witness(pool)
        holders = [pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:2", -1, f"holder{i}")) for i in range(2)]
        jobs = [witness.started(f"holder{i}")[0] for i in range(2)]
        tags = ["stopped0", "stopped1", "next0", "next1"]
        waiters = []
        for i, tag in enumerate(tags):
            waiters.append(pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:2", -1, tag)))
            pool.wait_for(waiting=i + 1)
        for process in waiters[:2]:
            kill(process.pid, signal.SIGSTOP)
        begun = time.monotonic_ns()
        for pid in [p.pid for p in holders] + jobs:
            kill(pid)
        times = [(witness.started(tag)[1] - begun) / 1e6 for tag in ("next0", "next1")]
        check(max(times) <= TICK_MS, f"{times}")
        for process in waiters[:2]:
            kill(process.pid, signal.SIGCONT)
        for process, tag in zip(waiters[2:] + waiters[:2], tags[2:] + tags[:2]):
            finish(witness, process, tag)
        witness.check()
        return f"{times[0]:.0f} and {times[1]:.0f} ms"


def test_stopped_holder_holds():
    with Pool(slot=1) as pool:
        witness = Witness(pool)
        holder = pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:1", -1, "holder"))
        job, _ = witness.started("holder")
        waiter, = line_up(pool, witness, ["next"])
        for pid in (holder.pid, job):
            kill(pid, signal.SIGSTOP)
        wait_stopped(holder.pid)
        # Longer than anybody's patience with a stopped waiter; that nothing happens can only be awaited.
        until = time.monotonic() + 0.8
        while time.monotonic() < until:
            check(not witness.has_started("next"), "a stopped holder lost its place")
            time.sleep(0.05)
        done = pool.run("run", "-r", "slot=1", "--no-wait", "--", "true")
        check(done.returncode == 75, f"exit {done.returncode}")
        status = pool.wait_for(held=1, waiting=1)
        check(status["leases"][0]["pid"] == holder.pid, "another holds")
        for pid in (job, holder.pid):
            kill(pid, signal.SIGCONT)
        finish(witness, holder, "holder")
        finish(witness, waiter, "next")
        witness.check()


def test_job_that_stops_itself_holds():
    """TSTP stops the wrapper with its command, as a shell expects, and continuing the wrapper continues both. A
    bare SIGSTOP from somewhere stops the command alone: whoever sent it knows only of that."""
    with Pool(slot=1) as pool:
        witness = Witness(pool)
        # A group of its own: in an orphaned one, as a job without a terminal may be in, TSTP does nothing.
        holder = pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:1", -1, "holder"), preexec_fn=os.setpgrp)
        job, _ = witness.started("holder")
        waiter, = line_up(pool, witness, ["next"])
        before = sleeps(holder.pid)
        kill(job, signal.SIGSTOP)
        wait_stopped(job)
        wait_until(lambda: sleeps(holder.pid) > before and proc_state(holder.pid) != "R", what="the wrapper to hear of it")
        check(proc_state(holder.pid) == "S", "the wrapper of a command in the background stopped")
        kill(job, signal.SIGCONT)
        wait_until(lambda: proc_state(job) == "S", 5, "the command to go on", pool)
        kill(job, signal.SIGTSTP)
        wait_stopped(holder.pid)
        check(not witness.has_started("next"), "a stopped command lost its place")
        kill(holder.pid, signal.SIGCONT)
        wait_until(lambda: proc_state(job) == "S", 5, "the command to go on", pool)
        finish(witness, holder, "holder")
        finish(witness, waiter, "next")


def test_sigtstp_steps_aside_and_comes_back():
    with Pool(slot=1) as pool:
        witness = Witness(pool)
        holder = pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:1", -1, "holder"))
        witness.started("holder")
        tags = ["first", "second", "third", "fourth"]
        waiters = line_up(pool, witness, tags)
        first = waiters[0]
        kill(first.pid, signal.SIGTSTP)
        wait_stopped(first.pid)
        lease = pool.lease_of(first)
        check(lease is not None and lease["state"] == "waiting" and "stopped" in (lease["reason"] or ""), f"status: {lease}")
        check(pool.lease_of(waiters[1])["position"] == 1, "who stands behind one who stepped aside is not first")
        begun = time.monotonic_ns()
        finish(witness, holder, "holder")
        _, seated = witness.started("second")
        latency = (seated - begun) / 1e6
        check(latency < WORST_MS, f"the next was seated after {latency:.0f} ms")
        # Its old place, in front of the two who still stand.
        kill(first.pid, signal.SIGCONT)
        lease = wait_until(lambda: (pool.lease_of(first) or {}).get("position") and pool.lease_of(first), 10, "its return to the line",
                           pool)
        check(lease["position"] == 1, f"it came back at {lease['position']}")
        finish(witness, waiters[1], "second")
        finish(witness, first, "first")
        finish(witness, waiters[2], "third")
        finish(witness, waiters[3], "fourth")
        served = [t for _, t, _, _ in witness.log("start")]
        check(served == ["holder", "second", "first", "third", "fourth"], f"served: {served}")
        witness.check()
        return f"the next after {latency:.1f} ms"


def test_stepped_aside_alone_with_a_free_place():
    """Nobody else stands: the place stays free until the stopped one continues, and then it is seated at once."""
    with Pool(slot=1) as pool:
        witness = Witness(pool)
        holder = pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:1", -1, "holder"))
        witness.started("holder")
        waiter, = line_up(pool, witness, ["only"])
        kill(waiter.pid, signal.SIGTSTP)
        wait_stopped(waiter.pid)
        finish(witness, holder, "holder")
        pool.wait_for(held=0, waiting=1)
        done = pool.run("run", "-r", "slot=1", "--no-wait", "--", "true")
        check(done.returncode == 0, f"a free place beside one who stepped aside: exit {done.returncode}: {done.stderr}")
        begun = time.monotonic_ns()
        kill(waiter.pid, signal.SIGCONT)
        _, seated = witness.started("only")
        check((seated - begun) / 1e6 < WORST_MS, f"seated {(seated - begun) / 1e6:.0f} ms after it went on")
        finish(witness, waiter, "only")
        check(not [p for p in descendants() if proc_state(p) == "T"], "somebody is still stopped")


if __name__ == "__main__":
    main([test_stopped_head_while_the_holder_is_killed, test_stopped_head_while_the_orphaned_job_is_killed,
          test_stopped_head_while_the_holder_ends, test_two_stopped_at_the_head, test_stopped_head_of_two_free_slots,
          test_stopped_holder_holds, test_job_that_stops_itself_holds, test_sigtstp_steps_aside_and_comes_back,
          test_stepped_aside_alone_with_a_free_place])
