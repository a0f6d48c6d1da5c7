"""Giving way and time: what counts against a --ttl, and what was said to a job long before it was asked."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, check, job_of, kill, main, wait_exit, wait_until  # noqa: E402


def test_a_held_place_is_not_over_while_it_is_away():
    with Pool(slot=1) as pool:
        keeper = subprocess.Popen(["sleep", "600"])  # pylint: disable=consider-using-with
        out = pool.run("hold", "--for", str(keeper.pid), "-r", "slot=1", "--ttl", "3s", "--reclaimable",
                       "--on-reclaim", "true", "--print", "id")
        ident = out.stdout.strip()
        state = lambda: [lease["state"] for lease in pool.leases() if lease["id"] == ident]  # noqa: E731
        above = pool.spawn("run", "-p", "1", "-r", "slot=1", "--", "sleep", "600")
        wait_until(lambda: state() == ["waiting"], 2.5, "it gave way", pool)
        time.sleep(3.5)  # its end has come and gone
        check(state() == ["waiting"], pool.leases())
        kill(above.pid, signal.SIGTERM)
        wait_exit(above, 10)
        wait_until(lambda: state() == ["held"], 10, "it is back", pool)
        wait_until(lambda: state() == [], 10, "it has had the rest of its time", pool)
        kill(keeper.pid)
        wait_exit(keeper, 10)


def asked_after(pool, signals, wait_s):
    """A job that shrugs off these signals and then is asked to give way: its exit status."""
    job = pool.spawn("run", "--reclaimable", "--reclaim-signal", "USR1", "--grace", "1s", "-r", "slot=1", "--", "sh",
                     "-c", "trap 'trap - USR1; kill -USR1 $$' USR1; trap '' HUP; touch ready; while :; do sleep 0.05; done",
                     cwd=pool.tmp)
    wait_until(lambda: os.path.exists(os.path.join(pool.tmp, "ready")), 10, "it runs", pool)
    for one in signals:
        kill(job.pid, one)
    check(job_of(job), "it runs on")
    time.sleep(wait_s)
    above = pool.spawn("run", "-p", "1", "-r", "slot=1", "--", "true")
    status = wait_exit(job, 10)
    check(wait_exit(above, 10) == 0, pool.err(above))
    return status


def test_what_was_said_to_it_long_before_did_not_end_it():
    with Pool(slot=1) as pool:
        check(asked_after(pool, [signal.SIGHUP], 1.5) == 76, "a HUP of more than --grace ago")
    with Pool(slot=1) as pool:
        check(asked_after(pool, [signal.SIGHUP], 0) == 128 + signal.SIGUSR1, "who was told to end just before ended for that")


main([value for name, value in list(globals().items()) if name.startswith("test_")])
