"""--pin: processors of its own, near its GPU; who does not pin keeps off them; the dead own nothing."""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, berth, check, job_of, kill, main, wait_exit, wait_until  # noqa: E402
from gpukit import Card, Gpus  # noqa: E402

ALL = sorted(os.sched_getaffinity(0))
if len(ALL) < 2:
    print("this machine has one processor: nothing to choose")
    sys.exit(77)

# Prints where it runs and what it was told.
SHOW = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)), os.environ.get('BERTH_PROCESSORS'))"]


class Pinned:
    """A lease with processors of its own, until it is told to end."""

    def __init__(self, pool, *words):
        self.pool = pool
        self.job = pool.spawn("run", "--pin", *words, "--", "sleep", "600")
        wait_until(lambda: self.lease() is not None, 10, "it runs", pool)

    def lease(self):
        lease = self.pool.lease_of(self.job)
        return lease if lease and lease["state"] == "held" else None

    def processors(self):
        return self.lease()["granted"]["processors"]

    def end(self):
        kill(self.job.pid, signal.SIGTERM)
        wait_exit(self.job, 10)


def test_it_runs_on_its_own_ones_and_is_told():
    with Pool() as pool:
        out = pool.run("run", "--cpu", "1", "--pin", "--", *SHOW)
        check(out.stdout == f"[{ALL[0]}] {ALL[0]}\n", out)
        # Without a wrapper too, and with thread caps as any --cpu.
        out = pool.run("run", "--cpu", "1", "--pin", "--exec", "--", *SHOW)
        check(out.stdout == f"[{ALL[0]}] {ALL[0]}\n", out)
        out = pool.run("run", "--cpu", "1", "--pin", "--", "sh", "-c", "echo $OMP_NUM_THREADS")
        check(out.stdout == "1\n", out)
        # And who does not ask is left alone.
        out = pool.run("run", "--cpu", "1", "--", *SHOW)
        check(out.stdout == f"{ALL} None\n", out)


def test_two_have_different_ones_and_a_third_has_to_wait():
    with Pool(cpu=len(ALL) + 4) as pool:  # the book has more room than the machine
        first = Pinned(pool, "--cpu", "1")
        rest = Pinned(pool, "--cpu", str(len(ALL) - 1))
        check(first.processors() == str(ALL[0]), first.processors())
        text = pool.run("status").stdout
        check(f"1 cpu (cpu {ALL[0]})" in text, text)
        waits = pool.spawn("run", "--pin", "--cpu", "1", "--", *SHOW)
        pool.wait_for(held=2, waiting=1)
        reason = "other leases have the processors that it may use for their own (--pin)"
        wait_until(lambda: reason in pool.err(waits), 10, "the reason", pool)
        check(pool.leases()[2]["reason"].startswith(reason + ": held by sleep ("), pool.leases())
        busy = pool.run("run", "--no-wait", "--pin", "--cpu", "1", "--", "true")
        check(busy.returncode == 75 and reason in busy.stderr, busy)
        dry = pool.run("run", "--dry-run", "--pin", "--cpu", "1", "--", "true")
        check(dry.returncode == 75 and reason in dry.stdout, dry)
        # It holds up nobody who does not pin.
        check(pool.run("run", "--no-wait", "--cpu", "1", "--", "true").returncode == 0, "no pin")
        first.end()
        check(wait_exit(waits, 10) == 0, pool.err(waits))
        check(pool.out(waits) == f"[{ALL[0]}] {ALL[0]}\n", pool.out(waits))
        rest.end()


def test_a_waiter_is_told_of_those_processors_from_the_start():
    reason = "1 cpu: other leases have the processors that it may use for their own (--pin): "
    with Pool(cpu=len(ALL) + 1) as pool:
        mine = Pinned(pool, "--cpu", str(len(ALL)), "-l", "mine")
        # Who holds cpu without --pin is none of them, and the book has none left either.
        beside = pool.spawn("run", "--cpu", "1", "-l", "beside", "--", "sleep", "600")
        pool.wait_for(held=2, waiting=0)
        waits = pool.spawn("run", "--pin", "--cpu", "1", "-l", "waits", "--", "true")
        wait_until(lambda: pool.err(waits), 10, "the word", pool)
        span = f"{ALL[0]}-{ALL[-1]}" if len(ALL) == ALL[-1] - ALL[0] + 1 else None
        said = pool.err(waits)
        check(said.startswith("berth: waiting for " + reason), said)
        check(span is None or f"(--pin): cpu {span} is held by mine (" in said, said)
        check("beside" not in said and "ahead" not in said, said)
        # Now the book has room for it, and it is those processors alone; who wants cpu and came later is not ahead.
        kill(beside.pid, signal.SIGTERM)
        wait_exit(beside, 10)
        later = pool.spawn("run", "--cpu", "2", "-l", "later", "--", "true")
        pool.wait_for(held=1, waiting=2)
        wait_until(lambda: "(--pin): held by mine (" in (pool.lease_of(waits)["reason"] or ""), 10, "status", pool)
        dry = pool.run("run", "--dry-run", "-p", "5", "--pin", "--cpu", "1", "--", "true")
        check(dry.returncode == 75 and dry.stdout.startswith("would wait for " + reason), dry)
        check("later" not in dry.stdout and "ahead" not in dry.stdout, dry)
        check(pool.err(waits) == said, "it is said once: " + pool.err(waits))
        mine.end()
        check(wait_exit(waits, 10) == 0 and wait_exit(later, 10) == 0, pool.err(waits))


def test_who_is_killed_owns_nothing():
    with Pool(cpu=len(ALL) + 1) as pool:
        first = Pinned(pool, "--cpu", str(len(ALL)))
        child = job_of(first.job)
        waits = pool.spawn("run", "--pin", "--cpu", "1", "--", *SHOW)
        pool.wait_for(held=1, waiting=1)
        kill(first.job.pid, signal.SIGKILL)
        # Its command has the place on, and its processors.
        check(pool.leases()[0]["granted"]["processors"] is not None, pool.leases())
        kill(child)
        check(wait_exit(waits, 10) == 0, pool.err(waits))


def test_who_does_not_pin_keeps_off_them():
    with Pool() as pool:
        first = Pinned(pool, "--cpu", "1")
        others = ALL[1:]
        out = pool.run("run", "--cpu", "1", "--", *SHOW)
        check(out.stdout == f"{others} None\n", out)
        late = pool.run("run", "--cpu", str(len(ALL)), "--timeout", "0.1s", "--on-timeout", "run", "--", *SHOW)
        check(late.stdout == f"{ALL} None\n", "where too few are left it runs where it likes: " + late.stdout)
        first.end()
        out = pool.run("run", "--cpu", "1", "--", *SHOW)
        check(out.stdout == f"{ALL} None\n", out)


def test_a_shell_that_may_use_one_processor():
    with Pool() as pool:
        last = str(ALL[-1])
        narrow = lambda *words: subprocess.run(["taskset", "-c", last, berth(), "run", *words], env=pool.env,  # noqa: E731
                                               capture_output=True, text=True, timeout=30, check=False)
        out = narrow("--pin", "--cpu", "1", "--", *SHOW)
        check(out.stdout == f"[{last}] {last}\n", out)
        out = narrow("--pin", "--cpu", "2", "--", "true")
        check(out.returncode == 3 and "this shell may use only 1 of them" in out.stderr, out)


def test_inside_a_lease():
    with Pool() as pool:
        inner = [berth(), "run", "--pin", "--cpu", "1", "--", *SHOW]
        out = pool.run("run", "--pin", "--cpu", "2", "--", *inner)
        check(out.stdout == f"[{ALL[0]}] {ALL[0]}\n", "it takes of the ones around it: " + out.stdout + out.stderr)
        # Two side by side inside of one that pins none: neither takes the other's.
        script = (f"mkfifo go; {berth()} run --pin --cpu 1 -- sh -c 'echo $BERTH_PROCESSORS >one; read go <go' & "
                  f"while ! [ -s one ]; do sleep 0.01; done; "
                  f"{berth()} run --pin --cpu 1 -- sh -c 'echo $BERTH_PROCESSORS' >two; echo >go; wait")
        out = pool.run("run", "--cpu", "2", "--", "sh", "-c", script, cwd=pool.tmp)
        check(out.returncode == 0, out)
        check([text(pool.tmp, name) for name in ("one", "two")] == [str(ALL[0]), str(ALL[1])], os.listdir(pool.tmp))


def test_near_its_gpu():
    with Gpus() as gpus, Pool(env=gpus.env) as pool:
        gpus.cards = [Card("GPU-a", "0000:17:00.0"), Card("GPU-b", "0000:2a:00.0")]
        gpus.write()
        root = os.path.join(pool.tmp, "machine")
        write(root, "sys/devices/system/cpu/online", f"{ALL[0]}-{ALL[-1]}")
        write(root, "sys/devices/system/node/node0/cpulist", str(ALL[0]))
        write(root, "sys/devices/system/node/node1/cpulist", f"{ALL[1]}-{ALL[-1]}")
        write(root, "sys/bus/pci/devices/0000:17:00.0/numa_node", "0")
        write(root, "sys/bus/pci/devices/0000:2a:00.0/numa_node", "1")
        pool.env["BERTH_SYSFS_ROOT"] = root
        for card, node in (("0", ALL[0]), ("1", ALL[1])):
            out = pool.run("run", "--only", card, "--cpu", "1", "--pin", "--", *SHOW)
            check(out.stdout == f"[{node}] {node}\n", f"GPU {card}: {out}")


def test_it_comes_back_to_others():
    """What gives way gives its processors too; back again, its processes run on those that it gets then."""
    with Pool(cpu=len(ALL) + 1, card=1) as pool:
        server = pool.spawn("run", "--reclaimable", "--on-reclaim", "true", "--pin", "--cpu", "1", "-r", "card=1",
                            "--", "sleep", "600")
        pool.wait_for(held=1, waiting=0)
        check(pool.leases()[0]["granted"]["processors"] == str(ALL[0]), pool.leases())
        above = pool.spawn("run", "--priority", "1", "--cpu", "1", "-r", "card=1", "--", "sleep", "600")
        wait_until(lambda: [l["pid"] for l in pool.leases() if l["state"] == "held"] == [above.pid], 20, "it gave way",
                   pool)
        child = job_of(server)
        beside = Pinned(pool, "--cpu", "1")
        check(beside.processors() == str(ALL[0]), "what it gave is another's now")
        kill(above.pid, signal.SIGTERM)
        wait_exit(above, 10)
        wait_until(lambda: len([l for l in pool.leases() if l["state"] == "held"]) == 2, 20, "it is back", pool)
        own = [l["granted"]["processors"] for l in pool.leases() if l["pid"] == server.pid][0]
        check(own == str(ALL[1]), pool.leases())
        wait_until(lambda: sorted(os.sched_getaffinity(child)) == [int(own)], 10, "its command is there", pool)
        beside.end()
        kill(server.pid, signal.SIGTERM)
        wait_exit(server, 10)


def test_who_has_them_is_named_at_any_level():
    """A record that takes nothing of the book, inside of a lease that is none: whose it is can be seen."""
    with Pool(cpu=len(ALL) + 4) as pool:
        outer = pool.spawn("run", "--cpu", "1", "--", berth(), "run", "--pin", "--cpu", "1", "--", "sleep", "600")
        pool.wait_for(held=2, waiting=0)
        inner = [lease for lease in pool.leases() if lease["parent"]][0]
        busy = subprocess.run(["taskset", "-c", inner["granted"]["processors"], berth(), "run", "--no-wait", "--pin",
                               "--cpu", "1", "--", "true"], env=pool.env, capture_output=True, text=True, timeout=30,
                              check=False)
        check(busy.returncode == 75, busy)
        check(inner["id"] in [lease["id"] for lease in json.loads(busy.stderr)["holders"]], busy.stderr)
        kill(outer.pid, signal.SIGTERM)
        wait_exit(outer, 10)


def test_the_history_knows_which_it_had():
    with Pool() as pool:
        pool.run("run", "--cpu", "1", "--pin", "-l", "own", "--", "true")
        pool.run("run", "--cpu", "1", "-l", "any", "--", "true")
        jobs = json.loads(pool.run("history", "--json").stdout)["jobs"]
        check([(job["label"], job["granted"]["processors"]) for job in jobs] == [("own", str(ALL[0])), ("any", None)], jobs)
        check(f"1 cpu (cpu {ALL[0]}) " in pool.run("history").stdout, pool.run("history").stdout)


def test_hold_says_which():
    with Pool() as pool:
        keeper = subprocess.Popen(["sleep", "600"])  # pylint: disable=consider-using-with
        out = pool.run("hold", "--for", str(keeper.pid), "--cpu", "1", "--pin", "--print", "env")
        check(f"export BERTH_PROCESSORS='{ALL[0]}';" in out.stdout, out)
        check(pool.leases()[0]["granted"]["processors"] == str(ALL[0]), pool.leases())
        ident = pool.leases()[0]["id"]
        out = pool.run("resize", ident, "--cpu", "2")
        check(out.returncode == 2 and "processors of its own" in out.stderr, out)
        kill(keeper.pid, signal.SIGTERM)
        wait_exit(keeper, 10)


def test_words_that_are_wrong():
    with Pool() as pool:
        out = pool.run("run", "--pin", "--", "true")
        check(out.returncode == 2 and "--pin is about the processors of --cpu N" in out.stderr, out)
        out = pool.run("adopt", str(os.getpid()), "--cpu", "1", "--pin")
        check(out.returncode == 2 and "--pin is an option of run" in out.stderr, out)
        pool.run("set", "cpu=64")
        out = pool.run("run", "--pin", "--cpu", "64", "--", "true")
        check(out.returncode == 3 and "of its own (--pin), and the machine has" in out.stderr, out)


def write(root, name, text):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text + "\n")


def text(*path):
    with open(os.path.join(*path)) as file:
        return file.read().strip()


main([value for name, value in list(globals().items()) if name.startswith("test_")])
