"""--pin and the leases around: what is whose where a lease is inside another, was lost, or is a dead stranger's."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, berth, check, is_running, job_of, kill, main, wait_exit, wait_until  # noqa: E402
from faultkit import as_user, public_berth  # noqa: E402

ALL = sorted(os.sched_getaffinity(0))
if len(ALL) < 2:
    print("this machine has one processor: nothing to choose")
    sys.exit(77)

SLEEP = ("--", "sleep", "600")
SHOW = ("grep", "Cpus_allowed_list", "/proc/self/status")


def runs_on(out):
    spans = [span.partition("-") for span in out.stdout.split()[1].split(",")]
    return [n for first, _, last in spans for n in range(int(first), int(last or first) + 1)]


def end_with_its_job(berth_run):
    child = job_of(berth_run)
    kill(berth_run.pid)
    kill(child)
    wait_until(lambda: not is_running(child), 10, "the job has ended")


def processors_of(pool, job):
    return pool.lease_of(job)["granted"]["processors"]


def lose(pool, job):
    """Removes the record of a running job, as somebody does who tidies up."""
    ident = pool.lease_of(job)["id"]
    for name in os.listdir(pool.path):
        if name.startswith("h1," + ident):
            os.unlink(os.path.join(pool.path, name))


def hold(pool, *words):
    """A lease held for a process, and what a shell evaluates to be inside of it."""
    keeper = subprocess.Popen(["sleep", "600"])  # pylint: disable=consider-using-with
    out = pool.run("hold", "--for", str(keeper.pid), "--print", "env", *words)
    check(out.returncode == 0, out)
    return keeper, out.stdout


def inside(pool, env, *words):
    return ["sh", "-c", env + 'exec "$@"', "sh", berth(), "run", *words]


def test_at_once_of_the_lease_around_it():
    with Pool() as pool:
        inner = [berth(), "run", "--no-wait", "--pin", "--cpu", "1", "--", "true"]
        out = pool.run("run", "--pin", "--cpu", "2", "--", *inner)
        check(out.returncode == 0, out)


def test_what_is_inside_of_a_lost_lease_does_not_keep_it_out():
    with Pool() as pool:
        outer = pool.spawn("run", "--pin", "--cpu", "1", "--", berth(), "run", "--pin", "--cpu", "1", *SLEEP)
        pool.wait_for(held=2, waiting=0)
        lose(pool, outer)
        wait_until(lambda: "lease was removed" in pool.err(outer), 15, "it is noticed", pool)
        check("it has been entered again" in pool.err(outer), pool.err(outer))
        kill(outer.pid, signal.SIGTERM)
        wait_exit(outer, 10)


def test_a_held_lease_lends_its_own_processors():
    """Of others, those inside would have two for one that is claimed, and who claims the last one would wait for nobody."""
    with Pool() as pool:
        first = pool.spawn("run", "--pin", "--cpu", str(len(ALL) - 1), *SLEEP)
        pool.wait_for(held=1, waiting=0)
        keeper, env = hold(pool, "--pin", "--cpu", "1")
        kill(first.pid, signal.SIGTERM)
        wait_exit(first, 10)
        inner = subprocess.Popen(inside(pool, env, "--pin", "--cpu", "1", *SLEEP), env=pool.env)  # pylint: disable=consider-using-with
        pool.wait_for(held=2, waiting=0)
        check([l["granted"]["processors"] for l in pool.leases()] == [str(ALL[-1])] * 2, pool.leases())
        out = pool.run("run", "--no-wait", "--pin", "--cpu", str(len(ALL) - 1), "--", "true")
        check(out.returncode == 0, out)
        for one in (inner, keeper):
            kill(one.pid, signal.SIGTERM)
            wait_exit(one, 10)


def test_a_job_inside_a_held_lease_runs_on_what_that_has():
    """Also one that the lease does not serve; but not one that would have fewer than it claims."""
    with Pool(sim_gpus="1x24G", cpu=len(ALL) + 1, slot=1) as pool:
        keeper, env = hold(pool, "--pin", "--cpu", "1", "-r", "slot=1")
        own = [int(pool.leases()[0]["granted"]["processors"])]
        for words, where in ((("--cpu", "1"), own), (("-r", "slot=1"), own), (("--gpus", "1"), own),
                             (("--cpu", "1", "--exec"), own), (("--cpu", str(len(ALL))), ALL)):
            out = subprocess.run(inside(pool, env, *words, "--", *SHOW), env=pool.env,
                                 capture_output=True, text=True, timeout=30, check=False)
            check(out.returncode == 0 and runs_on(out) == where, f"{words}: {out}")
        # Nobody else's job does.
        check(own[0] not in runs_on(pool.run("run", "--cpu", "1", "--", *SHOW)), "beside it")
        kill(keeper.pid, signal.SIGTERM)
        wait_exit(keeper, 10)


def test_inside_a_held_lease_it_keeps_off_what_another_one_there_has():
    with Pool(cpu=len(ALL)) as pool:
        keeper, env = hold(pool, "--pin", "--cpu", "2")
        own = [int(n) for n in pool.leases()[0]["granted"]["processors"].replace("-", ",").split(",")]
        inner = subprocess.Popen(inside(pool, env, "--pin", "--cpu", "1", *SLEEP), env=pool.env)  # pylint: disable=consider-using-with
        pool.wait_for(held=2, waiting=0)
        taken = int([l for l in pool.leases() if l["parent"]][0]["granted"]["processors"])
        out = subprocess.run(inside(pool, env, "--cpu", "1", "--", *SHOW), env=pool.env,
                             capture_output=True, text=True, timeout=30, check=False)
        check(runs_on(out) == [n for n in own if n != taken], out)
        for one in (inner, keeper):
            kill(one.pid, signal.SIGTERM)
            wait_exit(one, 10)


def test_who_comes_back_inside_of_a_held_lease_runs_on_what_that_has_by_then():
    with Pool(cpu=2, slot=1) as pool:
        two = [["taskset", "-c", str(cpu), berth()] for cpu in ALL[:2]]
        ready = os.path.join(pool.tmp, "ran-on")
        inner = (f"grep Cpus_allowed_list /proc/self/status >>{ready}; exec sleep 600",)
        script = ('eval "$("$0" hold --for $$ --cpu 1 --pin --label held --reclaimable --on-reclaim true --print env)"; '
                  'exec "$0" run -r slot=1 --label inner --reclaimable --requeue -- sh -c "$1"')
        both = ["taskset", "-c", f"{ALL[0]},{ALL[1]}", "sh", "-c", script, berth(), *inner]
        shell = subprocess.Popen(both, env=pool.env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def of(label, what):
            return [(lease["granted"] or {}).get(what, lease["state"]) for lease in pool.leases() if lease["label"] == label]

        def urgent(launch, *claim):
            words = [*launch, "run", *claim, "-p", "5", "--label", claim[0] + claim[1], *SLEEP]
            return subprocess.Popen(words, env=pool.env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        wait_until(lambda: os.path.exists(ready) and of("inner", "processors"), what="it to run", pool=pool)
        first = of("held", "processors")[0]
        mine, others = (two[ALL.index(int(first))], two[1 - ALL.index(int(first))])
        beside = urgent(others, "--cpu", "1", "--pin")
        pool.wait_for(held=3)
        instead = urgent(mine, "--cpu", "1", "--pin")
        slot = urgent([berth()], "-r", "slot=1")
        away = lambda label: of(label, "processors") == ["waiting"]  # noqa: E731
        wait_until(lambda: away("held") and away("inner"), what="both to give way", pool=pool)
        beside.terminate()  # its processor is the one that comes back
        beside.wait()
        wait_until(lambda: of("held", "processors") not in ([first], ["waiting"]), what="it to be back", pool=pool)
        slot.terminate()
        slot.wait()

        def runs():
            with open(ready, encoding="utf-8") as f:
                return [line.split()[1] for line in f]

        wait_until(lambda: len(runs()) == 2, what="the job to be back", pool=pool)
        check(runs() == [first, of("held", "processors")[0]] and runs()[0] != runs()[1], (first, runs()))
        instead.terminate()
        instead.wait()
        shell.terminate()
        shell.wait()


def test_a_dead_strangers_are_nobodys():
    """Its record stays until its owner comes; nobody else may remove it."""
    if os.geteuid() != 0:
        return
    with Pool() as pool:
        dead = pool.spawn("run", "--pin", "--cpu", "1", *SLEEP)
        pool.wait_for(held=1, waiting=0)
        end_with_its_job(dead)
        out = pool.run("run", "--cpu", "1", "--", *SHOW, executable=public_berth(), **as_user(1001))
        check(runs_on(out) == ALL, out)


def test_a_dead_strangers_keep_no_lost_lease_out():
    if os.geteuid() != 0:
        return
    with Pool(slot=1) as pool:
        mine = pool.spawn("run", "--pin", "--cpu", "1", *SLEEP, executable=public_berth(), **as_user(1001))
        pool.wait_for(held=1, waiting=0)
        time.sleep(1.5)  # its first look is over, and the next one is five seconds away
        lose(pool, mine)
        dead = pool.spawn("run", "--pin", "--cpu", "1", *SLEEP)
        pool.wait_for(held=1, waiting=0)
        check(processors_of(pool, dead) == str(ALL[0]), pool.leases())
        end_with_its_job(dead)
        wait_until(lambda: "lease was removed" in pool.err(mine), 15, "it is noticed", pool)
        check("it has been entered again" in pool.err(mine), pool.err(mine))
        kill(mine.pid, signal.SIGTERM)
        wait_exit(mine, 10)


main([value for name, value in list(globals().items()) if name.startswith("test_")])
