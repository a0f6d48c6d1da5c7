"""A claim inside a lease is served out of it; what the lease lacks is a second one; tokens prove it."""
import json
import os
import subprocess
import sys

from berthtest import Pool, berth, check, main


def inside(pool, outer, script, **kw):
    """Runs a shell script inside `berth run OUTER`; `B` in it is the program."""
    return pool.run("run", *outer, "--", "sh", "-c", script.replace("B ", berth() + " "), **kw)


def test_siblings_take_turns_inside():
    with Pool(cpu=2) as pool:
        script = """
          mkdir "$BERTH_POOL.in"
          for i in 1 2 3 4 5 6 7 8; do
            B run --cpu 1 -- sh -c 'mkdir "$BERTH_POOL.in/$0"; ls "$BERTH_POOL.in" | wc -l; sleep 0.05; rmdir "$BERTH_POOL.in/$0"' $i &
          done; wait; rmdir "$BERTH_POOL.in" """
        done = inside(pool, ["--cpu", "2"], script)
        counts = [int(line) for line in done.stdout.split()]
        check(done.returncode == 0 and len(counts) == 8, f"{done}")
        check(max(counts) == 2, f"not two at a time: {counts}")
        pool.wait_for(held=0, waiting=0)


def test_make_inside_a_lease():
    with Pool(cpu=2) as pool:
        makefile = "all: 1 2 3 4 5 6 7 8\n%:\n\t@" + berth() + " run --cpu 1 -- sh -c 'echo $@'\n"
        path = pool.path + ".mk"
        with open(path, "w") as f:
            f.write(makefile)
        done = pool.run("run", "--cpu", "2", "--", "make", "-s", "-j8", "-f", path)
        check(done.returncode == 0 and sorted(done.stdout.split()) == list("12345678") + ["all"], f"{done}")


def test_deeper_and_deeper():
    with Pool(cpu=2) as pool:
        b = berth()
        done = pool.run("run", "--cpu", "2", "--", b, "run", "--cpu", "2", "--", b, "run", "--cpu", "1", "--", b, "run",
                        "--cpu", "1", "--", "echo", "deep")
        check((done.returncode, done.stdout) == (0, "deep\n"), f"{done}")


def test_what_the_lease_lacks_is_a_second_lease():
    with Pool(cpu=2, license=1) as pool:
        done = inside(pool, ["--cpu", "2"], "B run --cpu 1 -r license=1 -- " + berth() + " status --json")
        leases = json.loads(done.stdout)["leases"]
        shown = sorted((sorted(l["granted"]["resources"].items()), l["parent"] is not None) for l in leases)
        check(shown == [([("cpu", 1)], True), ([("cpu", 2)], False), ([("license", 1)], False)], f"{shown}")
        free = {r["name"]: r["free"] for r in json.loads(done.stdout)["resources"]}
        check(free["cpu"] == 0 and free["license"] == 0, f"the inner cpu counts against the lease alone: {free}")


def test_gpu_inside_gpu():
    with Pool() as pool:
        pool.env["BERTH_SIM_GPUS"] = "2x24G"
        done = inside(pool, ["--gpus", "1"], "B run --no-wait -- sh -c 'echo $BERTH_DEVICES'; "
                      "B run --vram 8G --no-wait -- sh -c 'echo $BERTH_DEVICES'")
        words = done.stdout.split()
        check(words[0] == words[1] and words[0].startswith("SIM-"), f"{done}")


def test_the_lease_gives_what_it_has_and_the_pool_the_rest():
    with Pool(cpu=2) as pool:
        done = inside(pool, ["--cpu", "1"], "B run --cpu 2 -- B status --json", timeout=10)
        held = sorted(l["granted"]["resources"]["cpu"] for l in json.loads(done.stdout)["leases"])
        check(held == [1, 1, 1], f"{done}")
        free = {r["name"]: r["free"] for r in json.loads(done.stdout)["resources"]}
        check(free["cpu"] == 0, f"{free}")


def test_cards_of_the_lease_and_others():
    with Pool(sim_gpus="3x24G") as pool:
        show = "sh -c 'echo $CUDA_VISIBLE_DEVICES $BERTH_DEVICES'"
        done = inside(pool, ["--only", "1"], f"B run --gpus 2 -- {show}", timeout=10)
        check(done.stdout == "0,1 SIM-0,SIM-1\n", f"what the lease around has set narrows nothing: {done}")
        done = inside(pool, ["--only", "1"], f"CUDA_VISIBLE_DEVICES=1,2 B run --gpus 2 -- {show}", timeout=10)
        check(done.stdout == "1,2 SIM-1,SIM-2\n", f"what the job has set does: {done}")
        done = inside(pool, ["--gpus", "2"], "CUDA_VISIBLE_DEVICES=0 B run --gpus 2 true", timeout=10)
        check(done.returncode == 3, f"{done}")
        done = inside(pool, ["--gpus", "1"], "B run --gpus 4 true", timeout=10)
        check(done.returncode == 3 and "asks for 4 GPUs, but there are 3" in done.stderr, f"{done}")
        # Deeper: the variable is that of the inner lease, and there is a card around that.
        done = inside(pool, ["--gpus", "2"], f"B run --gpus 1 -- B run --gpus 3 -- {show}", timeout=10)
        check(done.stdout == "0,1,2 SIM-0,SIM-1,SIM-2\n", f"{done}")


def test_python_that_closes_descriptors_is_still_inside():
    with Pool(cpu=2) as pool:
        code = ("import subprocess, sys; sys.exit(subprocess.run([%r, 'run', '--cpu', '2', '--no-wait', 'true']).returncode)"
                % berth())
        done = pool.run("run", "--cpu", "2", "--", sys.executable, "-c", code)
        check(done.returncode == 0, f"{done}")


def test_a_stale_or_guessed_token_opens_nothing():
    with Pool(cpu=2) as pool:
        holder = pool.spawn("run", "--cpu", "2", "--", "sleep", "60")
        pool.wait_for(held=1)
        id_ = pool.status()["leases"][0]["id"]
        for token in (id_, id_ + ".", id_ + ".aaaaaaaaaaaaaaaaaaaaaaaaaa", "nonsense", "a" * 5000, ":::", id_ + ".x:" * 100):
            env = dict(pool.env, BERTH_LEASE=token)
            done = subprocess.run([berth(), "run", "--cpu", "1", "--no-wait", "true"], env=env, capture_output=True, text=True)
            check(done.returncode == 75, f"{token!r} opened something: {done}")
        holder.terminate()
        holder.wait()
        # Kept from a lease that is over, as a tmux server does.
        stale = pool.run("run", "--cpu", "1", "--", "sh", "-c", "echo $BERTH_LEASE").stdout.strip()
        check("." in stale, stale)
        env = dict(pool.env, BERTH_LEASE=stale)
        done = subprocess.run([berth(), "run", "--cpu", "2", "--no-wait", "true"], env=env, capture_output=True, text=True)
        check(done.returncode == 0, f"{done}")


def test_another_uid_cannot_use_the_token():
    if os.geteuid() != 0:
        return "skipped: not root"
    with Pool(cpu=2) as pool:
        holder = pool.spawn("run", "--cpu", "2", "--", "sh", "-c", "echo $BERTH_LEASE; exec sleep 60", stdout=subprocess.PIPE,
                            text=True)
        token = holder.stdout.readline().strip()
        env = dict(pool.env, BERTH_LEASE=token)
        words = ["setpriv", "--reuid", "1001", "--clear-groups", berth(), "run", "--cpu", "1", "--no-wait", "true"]
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        check(done.returncode == 75, f"{done}")
        done = subprocess.run(words[4:], env=env, capture_output=True, text=True)
        check(done.returncode == 0, f"{done}")
        holder.terminate()


def test_release_without_an_id_inside():
    with Pool(cpu=2) as pool:
        done = inside(pool, ["--cpu", "2"], "B release; echo $?; B status --short; B release; echo $?")
        check(done.stdout.startswith("0\n0 held, 0 waiting") and done.stdout.endswith("1\n"), f"{done}")
        check(done.returncode == 0, f"{done}")


def test_a_place_that_was_released_inside_does_not_stay_taken():
    with Pool(cpu=2) as pool:
        done = inside(pool, ["--cpu", "2"], "B run --cpu 1 -- sleep 0.5 & until B status --short | grep -q '2 held'; do "
                      "sleep 0.01; done; B release")
        check(done.returncode == 0 and "stays taken" not in done.stderr, f"{done}")


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
