"""With --expect a small job slips in before a large one that waits, and delays it by nothing."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, check, main, wait_exit, wait_until  # noqa: E402


def waits(pool, process):
    lease = pool.lease_of(process)
    return lease and lease["state"] == "waiting"


def holds(pool, process):
    lease = pool.lease_of(process)
    return lease and lease["state"] == "held"


def run(pool, slots, expect, *command):
    words = ["--expect", expect] if expect else []
    return pool.spawn("run", "-r", f"slot={slots}", *words, "--", *command)


def test_a_short_one_slips_in_and_the_large_one_starts_in_time():
    with Pool(slot=3) as pool:
        begun = time.monotonic()
        holder = run(pool, 2, "4s", "sleep", "3.9")
        wait_until(lambda: holds(pool, holder), 5, "the holder to sit", pool)
        large = run(pool, 3, "1s", "true")
        wait_until(lambda: waits(pool, large), 5, "the large one to wait", pool)
        silent = run(pool, 1, None, "true")
        wait_until(lambda: waits(pool, silent), 5, "one that says nothing to wait", pool)
        long = run(pool, 1, "10s", "true")
        wait_until(lambda: waits(pool, long), 5, "one that is too long to wait", pool)
        short = run(pool, 1, "1s", "sleep", "0.5")
        check(wait_exit(short, 5, pool) == 0, "the short one ends")
        check(waits(pool, large) and waits(pool, silent) and waits(pool, long), "the others still wait")
        check(wait_exit(large, 10, pool) == 0, "the large one runs")
        took = time.monotonic() - begun
        check(3.8 < took < 4.9, f"the large one was through after {took:.2f} s")
        for process in (holder, silent, long):
            check(wait_exit(process, 10, pool) == 0, "the rest runs")
        return f"the large one was through after {took:.2f} s, its holder after 3.9"


def test_one_that_overruns_is_not_counted_on():
    with Pool(slot=3) as pool:
        holder = run(pool, 2, "1s", "sleep", "3")
        wait_until(lambda: holds(pool, holder), 5, "the holder to sit", pool)
        large = run(pool, 3, "1s", "true")
        wait_until(lambda: waits(pool, large), 5, "the large one to wait", pool)
        time.sleep(1.5)
        begun = time.monotonic()
        short = run(pool, 1, "1s", "true")
        wait_until(lambda: waits(pool, short), 5, "the short one to wait: the holder may go at any time", pool)
        check(wait_exit(large, 10, pool) == 0, "the large one runs")
        check(wait_exit(short, 10, pool) == 0, "the short one runs")
        check(wait_exit(holder, 10, pool) == 0, "the holder was not disturbed")
        check(time.monotonic() - begun < 4, "nobody waits longer than the overrun")


def test_a_sleeper_is_woken_by_a_later_reservation():
    """The short one fits only when the second holder, which is done early, has gone."""
    with Pool(slot=3) as pool:
        first = run(pool, 1, "5s", "sleep", "4.9")
        second = run(pool, 2, "5s", "sleep", "1")
        wait_until(lambda: holds(pool, first) and holds(pool, second), 5, "both to sit", pool)
        large = run(pool, 3, "1s", "true")
        wait_until(lambda: waits(pool, large), 5, "the large one to wait", pool)
        short = run(pool, 2, "2s", "true")
        wait_until(lambda: waits(pool, short), 5, "the short one to wait", pool)
        begun = time.monotonic()
        check(wait_exit(short, 5, pool) == 0 and time.monotonic() - begun < 2.5, "the short one is told")
        check(waits(pool, large), "the large one waits")
        for process in (first, second, large):
            check(wait_exit(process, 10, pool) == 0, "the rest runs")


if __name__ == "__main__":
    main([test_a_short_one_slips_in_and_the_large_one_starts_in_time, test_one_that_overruns_is_not_counted_on,
          test_a_sleeper_is_woken_by_a_later_reservation])
