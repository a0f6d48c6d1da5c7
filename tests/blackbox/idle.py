"""--idle: a job whose GPUs do nothing is named, and asked to give way only then if it said so."""
import os
import pty
import re
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, check, main, wait_exit, wait_until  # noqa: E402
from gpukit import Card, machine  # noqa: E402

EIGHT = ("run", "--vram", "8G", "--label", "server")


def end(process):
    process.terminate()
    wait_exit(process)


def lease(pool):
    return [x for x in pool.leases() if x["label"] == "server"][0]


def idles(pool):
    return "its GPUs are idle" in (lease(pool)["reason"] or "")


def test_a_job_that_does_nothing_is_named_until_it_works_again():
    with machine(Card("GPU-a", util=40)) as (gpus, pool):
        job = pool.spawn(*EIGHT, "--idle", "1s", "--", "sleep", "600")
        pool.wait_for(held=1)
        wait_until(lambda: lease(pool)["state"] == "held" and not idles(pool), what="at work", pool=pool)
        gpus.cards[0].util = 0
        gpus.write()
        wait_until(lambda: idles(pool), what="idle", pool=pool)
        said = "its GPUs have shown no activity for 1 s (--idle); others can see that"
        wait_until(lambda: said in pool.err(job), what="the word", pool=pool)
        gpus.cards[0].util = 7
        gpus.write()
        wait_until(lambda: not idles(pool), what="at work again", pool=pool)
        end(job)


def test_a_driver_that_does_not_say_says_nothing_of_idleness():
    with machine(Card("GPU-a", util=None), Card("GPU-b", util=0)) as (_, pool):
        silent = pool.spawn(*EIGHT, "--only", "GPU-a", "--idle", "1s", "--", "sleep", "600")
        pool.wait_for(held=1)
        seen = pool.spawn("run", "--vram", "1G", "--only", "GPU-b", "--idle", "1s", "--", "sleep", "600")
        wait_until(lambda: "no activity" in pool.err(seen), what="the other one's word", pool=pool)
        check(not idles(pool) and "no activity" not in pool.err(silent), pool.err(silent))
        end(silent)
        end(seen)


def test_a_driver_that_is_silent_for_a_while_makes_nobody_idle():
    with machine(Card("GPU-a", util=40)) as (gpus, pool):
        hook = os.path.join(pool.tmp, "asked")
        held = subprocess.Popen(["sleep", "600"])  # pylint: disable=consider-using-with
        try:
            hold = pool.run("hold", "--for", str(held.pid), "--vram", "8G", "--idle", "1s", "--reclaimable=idle",
                            "--on-reclaim", f"touch {hook}", env=dict(pool.env, BERTH_PROBE_LIMIT="2s"))
            gpus.lines = ["hang nvmlDeviceGetUtilizationRates"]
            gpus.write()

            def says(letter):
                return re.search(rf"way=\w*{letter}", " ".join(pool.entries()))

            wait_until(lambda: says("n"), what="nobody to tell", pool=pool)
            time.sleep(1.2)  # longer than --idle
            check(pool.run("reclaim", hold.stdout.strip()).returncode == 0, "asked by hand")
            wait_until(lambda: says("[ay]"), what="it to have looked", pool=pool)
            check(says("n") and not says("[iy]") and not os.path.exists(hook), f"idle, says nobody: {pool.entries()}")
        finally:
            held.kill()
            held.wait()
        wait_until(lambda: not says("r"), what="its end", pool=pool)


def test_asked_to_give_way_only_while_it_is_idle():
    with machine(Card("GPU-a", util=40)) as (gpus, pool):
        job = pool.spawn("run", "--label", "server", "--idle", "1s", "--reclaimable=idle", "--", "sleep", "600")
        pool.wait_for(held=1)
        urgent = pool.spawn("run", "-p", "5", "--label", "urgent", "--", "true")
        pool.wait_for(waiting=1)
        wait_until(lambda: "busy" in (lease(pool)["reason"] or ""), what="not asked", pool=pool)
        check(job.poll() is None, pool.err(job))
        gpus.cards[0].util = 0
        gpus.write()
        check(wait_exit(job, pool=pool) == 76, pool.err(job))
        check(wait_exit(urgent, pool=pool) == 0, pool.err(urgent))


def test_who_is_asked_only_when_idle_is_told_where_no_driver_says():
    never = "so it is never asked to give way (--reclaimable=idle)"
    unknown = "no driver tells whether its GPUs do anything, so it is not asked"
    with machine(Card("GPU-a", util=None)) as (gpus, pool):
        job = pool.spawn(*EIGHT, "--idle", "1s", "--reclaimable=idle", "--", "sleep", "600")
        wait_until(lambda: lease(pool)["reason"] == unknown if pool.leases() else False, what="shown", pool=pool)
        check(pool.err(job) == f"berth: --idle: the driver does not tell whether its GPUs do anything, {never}\n", pool.err(job))
        done = pool.run("reclaim", lease(pool)["id"])
        check(done.returncode == 0 and "no driver tells whether they do" in done.stderr, done)
        # It may come to tell.
        gpus.cards[0].util = 7
        gpus.write()
        wait_until(lambda: (lease(pool)["reason"] or "").endswith("busy, so not yet"), what="at work", pool=pool)
        done = pool.run("reclaim", lease(pool)["id"])
        check("is at work, so it does not give way yet" in done.stderr, done)
        gpus.cards[0].util = 0
        gpus.write()
        check(wait_exit(job, pool=pool) == 76, "what was asked by hand stands until it is idle: " + pool.err(job))
    with Pool(slot=1) as pool:
        job = pool.spawn("run", "-r", "slot=1", "--label", "server", "--idle", "1s", "--reclaimable=idle", "--", "sleep", "600")
        wait_until(lambda: lease(pool)["reason"] == unknown if pool.leases() else False, what="shown", pool=pool)
        check(f"--idle: there is no GPU of which a driver could say that it is idle, {never}" in pool.err(job), pool.err(job))
        end(job)


def test_who_is_back_has_its_time_again_before_it_is_asked():
    with machine(Card("GPU-a", util=0)) as (_, pool):
        job = pool.spawn(*EIGHT, "--idle", "3s", "--reclaimable=idle", "--on-reclaim", "true", "--", "sleep", "600")
        pool.wait_for(held=1)
        first = pool.spawn("run", "--gpus", "1", "-p", "5", "--", "sleep", "4")
        check(wait_exit(first, pool=pool) == 0, pool.err(first))
        wait_until(lambda: "has its place again" in pool.err(job), what="its return", pool=pool)
        back = time.monotonic()
        second = pool.spawn("run", "--gpus", "1", "-p", "5", "--", "true")
        check(wait_exit(second, pool=pool) == 0, pool.err(second))
        check(time.monotonic() - back > 2, "it was away, and had its place for no time: " + pool.err(job))
        check(pool.err(job).count("asked to give way to") == 2, pool.err(job))
        end(job)


def test_a_held_place_is_named_and_asked_only_while_it_is_idle():
    with machine(Card("GPU-a", util=40)) as (gpus, pool):
        hook = os.path.join(pool.tmp, "asked")
        held = subprocess.Popen(["sleep", "600"])  # pylint: disable=consider-using-with
        out, terminal = pty.openpty()
        hold = pool.run("hold", "--for", str(held.pid), "--vram", "8G", "--label", "server", "--idle", "1s",
                        "--reclaimable=idle", "--on-reclaim", f"touch {hook}", stdin=terminal,
                        stdout=terminal, stderr=terminal)
        check(hold.returncode == 0, hold)
        wait_until(lambda: lease(pool)["reason"] == "busy, so it is not asked", what="at work", pool=pool)
        urgent = pool.spawn("run", "--gpus", "1", "-p", "5", "--label", "urgent", "--", "true")
        pool.wait_for(waiting=1)
        check(not os.path.exists(hook), "it is at work")
        gpus.cards[0].util = 0
        gpus.write()
        check(wait_exit(urgent, pool=pool) == 0, pool.err(urgent))
        check(os.path.exists(hook), "its hook")
        # The word is on the terminal, for its stderr is nobody's any more.
        said = b""
        while b"it may be asked to give way" not in said and select.select([out], [], [], 10)[0]:
            said += os.read(out, 4096)
        wanted = rb"berth: the lease [a-z2-7]{10}: its GPUs have shown no activity for 1 s \(--idle\); it may be asked to give way\r+\n"
        check(re.search(wanted, said), said)
        held.kill()
        held.wait()
        pool.wait_for(held=0)
        os.close(terminal)
        os.close(out)


def test_words_that_are_wrong():
    with machine(Card("GPU-a")) as (_, pool):
        for words, said in ((("--reclaimable=idle",), "needs an --idle"), (("--reclaimable=x",), "--reclaimable=idle"),
                            (("--idle", "1s", "--exec"), "--exec"), (("--idle", "soon"), "not a duration")):
            done = pool.run(*EIGHT, *words, "--", "true")
            check(done.returncode == 2 and said in done.stderr, done)
            if "--exec" not in words:
                done = pool.run("hold", "--for", str(os.getpid()), *words)
                check(done.returncode == 2 and said in done.stderr, done)


if __name__ == "__main__":
    main([test_a_job_that_does_nothing_is_named_until_it_works_again,
          test_a_driver_that_does_not_say_says_nothing_of_idleness,
          test_a_driver_that_is_silent_for_a_while_makes_nobody_idle,
          test_asked_to_give_way_only_while_it_is_idle,
          test_who_is_asked_only_when_idle_is_told_where_no_driver_says,
          test_who_is_back_has_its_time_again_before_it_is_asked,
          test_a_held_place_is_named_and_asked_only_while_it_is_idle, test_words_that_are_wrong])
