"""What a lease really uses of its GPUs: over-use is named and, where that was asked for, ended; caps are advice."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, check, kill, main, wait_exit, wait_until  # noqa: E402
from gpukit import HOLD, Card, Gpus  # noqa: E402

EIGHT = ("run", "--vram", "8G")


def test_a_glutton_hears_of_it_and_runs_on():
    with Gpus(Card("GPU-a")) as gpus, Pool(env=gpus.env) as pool:
        job = pool.spawn(*EIGHT, "--", "sh", "-c", HOLD + "hold GPU-a 13G; exec sleep 600")
        wait_until(lambda: "\n" in pool.err(job), what="a word on stderr", timeout=20)
        check(pool.err(job) == "berth: it uses 13 GiB of GPU 0 and claimed 8 GiB; others may run out of memory\n",
              pool.err(job))
        check(job.poll() is None, "it was ended")
        # What it really uses counts for others.
        check(pool.run("run", "--no-wait", "--vram", "12G", "--", "true").returncode == 75, "12 of 11 GiB were given")
        check(pool.run("run", "--no-wait", "--vram", "10G", "--", "true").returncode == 0, "10 of 11 GiB were refused")
        kill(job.pid)


def test_over_use_term_ends_it():
    with Gpus(Card("GPU-a")) as gpus, Pool(env=gpus.env) as pool:
        job = pool.spawn(*EIGHT, "--over-use", "term", "--", "sh", "-c", HOLD + "hold GPU-a 13G; exec sleep 600")
        check(wait_exit(job, 20) == 128 + 15, pool.err(job))
        check(pool.err(job).endswith("so it is ended (--over-use term)\n"), pool.err(job))
        check(not pool.leftovers(), pool.leftovers())


def test_a_resized_claim_is_what_counts():
    with Gpus(Card("GPU-a")) as gpus, Pool(env=gpus.env) as pool:
        script = HOLD + "while [ ! -e \"$GO\" ]; do sleep 0.01; done; hold GPU-a 13G; exec sleep 600"
        go = os.path.join(pool.tmp, "go")
        job = pool.spawn(*EIGHT, "--over-use", "term", "--limit", "4s", "--", "sh", "-c", script,
                         env={**pool.env, "GO": go})
        pool.wait_for(held=1)
        done = pool.run("resize", pool.leases("held")[0]["id"], "--vram", "16G")
        check(done.returncode == 0, done.stderr)
        open(go, "w", encoding="ascii").close()
        check(wait_exit(job, 20) == 128 + 15, job)
        check("(--limit)" in pool.err(job) and "claimed" not in pool.err(job), pool.err(job))


def test_who_keeps_to_its_claim_hears_nothing():
    with Gpus(Card("GPU-a")) as gpus, Pool(env=gpus.env) as pool:
        script = HOLD + "hold GPU-a 8G; exec sleep 600"
        job = pool.spawn(*EIGHT, "--limit", "3s", "--over-use", "term", "--", "sh", "-c", script)
        check(wait_exit(job, 20) == 128 + 15, job)
        check(pool.err(job) == "berth: it has run for 3 s (--limit), so it is ended\n", pool.err(job))


def test_words_that_are_wrong():
    with Pool(sim_gpus="24G") as pool:
        done = pool.run(*EIGHT, "--over-use", "kill", "--", "true")
        check(done.returncode == 2 and "--over-use kill is neither warn nor term" in done.stderr, done)
        done = pool.run(*EIGHT, "--over-use", "term", "--exec", "--", "true")
        check(done.returncode == 2 and "--exec leaves nobody" in done.stderr, done)


def test_caps_are_printed_and_set():
    show = "echo $XLA_PYTHON_CLIENT_MEM_FRACTION $TF_FORCE_GPU_ALLOW_GROWTH $PYTORCH_CUDA_ALLOC_CONF"
    with Pool(sim_gpus="24G") as pool:
        done = pool.run(*EIGHT, "--cap", "env", "--", "sh", "-c", show)
        check(done.stdout == "0.33 true per_process_memory_fraction:0.33\n", done)
        check(done.stderr == "berth: --cap env sets XLA_PYTHON_CLIENT_MEM_FRACTION=0.33 TF_FORCE_GPU_ALLOW_GROWTH=true "
              "PYTORCH_CUDA_ALLOC_CONF=per_process_memory_fraction:0.33\n", done)
        done = pool.run("run", "--gpus", "1", "--cap", "env", "--", "sh", "-c", show)
        check(done.stdout == "\n" and "there is nothing to cap" in done.stderr, done)
        check(pool.run(*EIGHT, "--", "sh", "-c", show).stdout == "\n", "caps that nobody asked for")


main([test_a_glutton_hears_of_it_and_runs_on, test_over_use_term_ends_it, test_a_resized_claim_is_what_counts,
          test_who_keeps_to_its_claim_hears_nothing,
      test_words_that_are_wrong, test_caps_are_printed_and_set])
