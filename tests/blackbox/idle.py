"""--idle: a job whose GPUs do nothing is named, and asked to give way only then if it said so."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import check, main, wait_exit, wait_until  # noqa: E402
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


def test_words_that_are_wrong():
    with machine(Card("GPU-a")) as (_, pool):
        for words, said in ((("--reclaimable=idle",), "needs an --idle"), (("--reclaimable=x",), "--reclaimable=idle"),
                            (("--idle", "1s", "--exec"), "--exec"), (("--idle", "soon"), "not a duration")):
            done = pool.run(*EIGHT, *words, "--", "true")
            check(done.returncode == 2 and said in done.stderr, done)


if __name__ == "__main__":
    main([test_a_job_that_does_nothing_is_named_until_it_works_again,
          test_a_driver_that_does_not_say_says_nothing_of_idleness, test_asked_to_give_way_only_while_it_is_idle,
          test_words_that_are_wrong])
