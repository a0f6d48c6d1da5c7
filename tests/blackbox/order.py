"""First come, first served among equals, and nobody who comes back at once gets past those who stand."""
import os
import shlex
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, Witness, berth, check, job_of, kill, main, wait_exit, wait_until  # noqa: E402

WAITERS = 300
ROUNDS = 15
STANDING = 5
HOGS = 4


def position_of(pool, process):
    lease = pool.lease_of(process)
    return lease["position"] if lease and lease["state"] == "waiting" else None


def test_300_equal_waiters_in_order():
    with Pool(slot=1) as pool:
        witness = Witness(pool)
        holder = pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:1"))
        job = job_of(holder)
        waiters = []
        for i in range(WAITERS):
            process = pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:1", 0, i))
            waiters.append(process)
            position = wait_until(lambda: position_of(pool, process), 10, f"waiter {i} to stand in status", pool)
            check(position == i + 1, f"waiter {i} stands at {position}")
        status = pool.status()["leases"]
        standing = [l["pid"] for l in sorted((l for l in status if l["state"] == "waiting"), key=lambda l: l["position"])]
        check(standing == [p.pid for p in waiters], "status shows another line than they came in")
        begun = time.monotonic()
        kill(job, signal.SIGUSR1)
        for i, process in enumerate(waiters):
            code = wait_exit(process, 30, pool)
            check(code == 0, f"waiter {i}: exit {code}: {pool.err(process)}")
        took = time.monotonic() - begun
        wait_exit(holder)
        witness.check()
        served = [int(tag) for _, tag, _, _ in witness.log("start")]
        check(served == list(range(WAITERS)), f"served in this order: {served}")
        return f"{WAITERS} served in order in {took:.2f} s, {1e3 * took / WAITERS:.1f} ms each"


def test_one_who_takes_it_again_at_once_goes_behind_all():
    with Pool(slot=1) as pool:
        witness = Witness(pool)
        hogs = [subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) for _ in range(HOGS)]
        # A shell that asks again the moment its job is done, without a pause.
        words = shlex.join([berth(), "run", "-r", "slot=1", "--", *witness.job("slot:1", -1, "again")])
        again = subprocess.Popen(["/bin/sh", "-c", f"while :; do {words} || exit 1; done"], env=pool.env,
                                 stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        expected = []
        count = 0
        for turn in range(ROUNDS):
            job, _ = wait_until(lambda n=turn: [(p, ns) for _, t, p, ns in witness.log("start") if t == "again"][n:], 20,
                                "the one who comes again", pool)[0]
            expected.append("again")
            waiters = []
            for _ in range(STANDING):
                tag = f"w{count}"
                count += 1
                process = pool.spawn("run", "-r", "slot=1", "--", *witness.job("slot:1", 0, tag))
                wait_until(lambda p=process: position_of(pool, p), 20, f"{tag} to stand in status", pool)
                waiters.append(process)
                expected.append(tag)
            kill(job, signal.SIGUSR1)
            for process in waiters:
                check(wait_exit(process, 30, pool) == 0, f"round {turn}: {pool.err(process)}")
            served = [tag for _, tag, _, _ in witness.log("start")]
            check(served[:len(expected)] == expected, f"round {turn}: expected {expected[-6:]}, served {served[-7:]}")
        for process in [again] + hogs:
            kill(process.pid)
            process.wait()
        witness.check()
        return f"{ROUNDS} rounds past {STANDING} who stood, {HOGS} hogs beside"


if __name__ == "__main__":
    main([test_300_equal_waiters_in_order, test_one_who_takes_it_again_at_once_goes_behind_all])
