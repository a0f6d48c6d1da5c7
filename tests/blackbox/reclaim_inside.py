"""Giving way and resizing with others inside: the dead there hold up nothing, and who may be ended is, to the last."""
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, berth, check, descendants, is_running, kill, main, wait_exit, wait_until  # noqa: E402


def outer_with_a_dead_one_inside(pool, *words):
    """A lease of a slot and two x, in which one that had those two was killed with its job."""
    inner = f"{berth()} run -r x=2 -- sleep 600"
    outer = pool.spawn("run", *words, "-r", "slot=1", "-r", "x=2", "--", "sh", "-c", f"{inner} & sleep 600")
    pool.wait_for(held=2, waiting=0)
    pid = [lease["pid"] for lease in pool.leases() if lease["parent"]][0]
    for one in [pid] + descendants(pid):
        kill(one)
        wait_until(lambda one=one: not is_running(one), 10, "it is dead", pool)
    return outer


def end(job):
    kill(job.pid, signal.SIGTERM)
    wait_exit(job, 10)


def test_a_dead_one_inside_keeps_nobody_from_giving_way():
    with Pool(slot=1, x=2) as pool:
        server = outer_with_a_dead_one_inside(pool, "--reclaimable", "--on-reclaim", "true", "--grace", "3s")
        out = pool.run("run", "-p", "1", "-r", "slot=1", "--timeout", "10s", "--", "true")
        check(out.returncode == 0, f"{out} {pool.err(server)}")
        end(server)


def test_a_dead_one_inside_takes_nothing_of_what_is_given_back():
    with Pool(slot=1, x=2) as pool:
        holder = outer_with_a_dead_one_inside(pool)
        out = pool.run("resize", pool.lease_of(holder)["id"], "-r", "x=1")
        check(out.returncode == 0, out)
        end(holder)


def test_who_may_be_ended_is_ended_with_what_its_command_left():
    """The shell goes of TERM, and leaves the one that does not."""
    with Pool(slot=1) as pool:
        stubborn = "sh -c 'trap \"\" TERM; touch deaf; while :; do sleep 0.05; done' & wait"
        job = pool.spawn("run", "--reclaimable", "--preemptible", "--requeue", "--grace", "1s", "-r", "slot=1", "--",
                         "sh", "-c", f"echo begun >>log; {stubborn}", cwd=pool.tmp)
        wait_until(lambda: os.path.exists(os.path.join(pool.tmp, "deaf")), 10, "it runs", pool)
        out = pool.run("run", "-p", "1", "-r", "slot=1", "--timeout", "10s", "--", "true")
        check(out.returncode == 0, f"{out} {pool.err(job)}")
        with_log = lambda: open(os.path.join(pool.tmp, "log"), encoding="utf-8").read()  # noqa: E731
        wait_until(lambda: with_log() == "begun\nbegun\n", 10, "it was queued and started again", pool)
        end(job)


def test_who_is_busy_is_so_for_every_lease_around_it():
    with Pool(slot=1, x=1) as pool:
        hook = os.path.join(pool.tmp, "asked")
        inner = [berth(), "run", "--reclaimable", "--on-reclaim", "true", "-r", "x=1", "--", berth(), "busy", "--", "sleep", "600"]
        outer = pool.spawn("run", "--reclaimable", "--on-reclaim", f"touch {hook}", "-r", "slot=1", "-r", "x=1", "--",
                           *inner)
        pool.wait_for(held=2, waiting=0)
        busy = lambda: [name for name in pool.entries() if name.startswith("h1,") and "way=rb" in name]  # noqa: E731
        wait_until(lambda: len(busy()) == 2, 10, "both say so", pool)
        out = pool.run("run", "-p", "1", "-r", "slot=1", "--timeout", "1s", "--", "true")
        check(out.returncode == 124 and not os.path.exists(hook), f"{out} {pool.err(outer)}")
        end(outer)


main([value for name, value in list(globals().items()) if name.startswith("test_")])
