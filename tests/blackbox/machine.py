"""A machine that is short of memory: who claims memory or processors waits, says why, and holds up nobody."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, check, children, kill, main, wait_exit, wait_until  # noqa: E402

GIB = 1 << 20  # in kB


class Machine:
    """A recorded machine whose memory a test sets: its root stands before /proc and /sys."""

    def __init__(self, pool):
        self.root = os.path.join(pool.tmp, "machine")
        os.makedirs(os.path.join(self.root, "proc", "pressure"))
        pool.env["BERTH_SYSFS_ROOT"] = self.root
        self.memory(available=24 * GIB)
        self.stalled(0)

    def memory(self, available, total=32 * GIB, swap_total=8 * GIB, swap_free=8 * GIB):
        self._write("meminfo", f"MemTotal: {total} kB\nMemAvailable: {available} kB\n"
                               f"SwapTotal: {swap_total} kB\nSwapFree: {swap_free} kB\n")

    def stalled(self, percent):
        self._write("pressure/memory", f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=0\n")

    def limited(self, most):
        """What our own cgroup may have, in bytes, and it uses nothing."""
        os.makedirs(os.path.join(self.root, "proc/self"))
        os.makedirs(os.path.join(self.root, "sys/fs/cgroup/box/inner"))
        self._write("self/cgroup", "0::/box/inner\n")
        for name, text in (("cgroup.controllers", "memory"), ("box/memory.max", most), ("box/memory.current", 0),
                           ("box/inner/memory.max", "max"), ("box/inner/memory.current", 0)):
            self._write("../sys/fs/cgroup/" + name, f"{text}\n")

    def _write(self, name, text):
        path = os.path.join(self.root, "proc", name)
        with open(path + ".new", "w") as file:
            file.write(text)
        os.rename(path + ".new", path)


def test_who_asks_for_more_than_is_there_waits_and_says_so():
    with Pool(ram="32G", slot=1) as pool:
        machine = Machine(pool)
        machine.memory(available=3 * GIB)
        job = pool.spawn("run", "--ram", "8G", "--", "true")
        pool.wait_for(held=0, waiting=1)
        reason = "the machine has 3 GiB of memory available; 8 GiB are asked for"
        wait_until(lambda: reason in pool.err(job), 10, "the reason on stderr", pool)
        check(pool.leases()[0]["reason"] == reason, pool.leases())
        # Nobody else is held up by it, neither in the book nor by the machine.
        check(pool.run("run", "--no-wait", "--ram", "2G", "--", "true").returncode == 0, "2 of 3 GiB")
        check(pool.run("run", "--no-wait", "-r", "slot=1", "--", "true").returncode == 0, "a slot")
        busy = pool.run("run", "--no-wait", "--ram", "4G", "--", "true")
        check(busy.returncode == 75, busy)
        said = json.loads(busy.stderr)
        check(said["reason"].startswith("the machine has 3 GiB"), said)
        dry = pool.run("run", "--dry-run", "--ram", "4G", "--", "true")
        check(dry.returncode == 75 and "the machine has 3 GiB" in dry.stdout, dry)
        machine.memory(available=9 * GIB)
        check(wait_exit(job, 10) == 0, pool.err(job))
        check(not pool.leases(), pool.leases())


def test_more_than_its_cgroup_may_have_is_never_to_be_had():
    with Pool(ram="32G", slot=1) as pool:
        Machine(pool).limited(4 << 30)
        for words in (("run",), ("run", "--no-wait"), ("run", "--dry-run"), ("hold", "--for", str(os.getpid()))):
            done = pool.run(*words, "--ram", "5G", *(["--", "true"] if words[0] == "run" else []), timeout=10)
            check(done.returncode == 3 and "it asks for 5 GiB ram, but this shell's cgroup may have only 4 GiB" in done.stderr,
                  f"{words}: {done}")
        check(not pool.leases(), pool.leases())
        check(pool.run("run", "--no-wait", "--ram", "4G", "--", "true").returncode == 0, "what it may have")
        done = pool.run("run", "--no-wait", "--ram", "5G", "--", "true", env=dict(pool.env, BERTH_HEED_MACHINE="off"))
        check(done.returncode == 0, done)


def test_a_thrashing_machine_takes_nobody_in_though_the_book_has_room():
    with Pool(ram="32G", cpu=12, slot=4) as pool:
        machine = Machine(pool)
        machine.memory(available=2 * GIB, swap_free=GIB // 6)
        machine.stalled(34)
        jobs = [pool.spawn("run", *claim, "--", "true") for claim in (("--ram", "1M"), ("--cpu", "1"))]
        pool.wait_for(held=0, waiting=2)
        reason = "the machine is short of memory: 2 GiB of 32 GiB available, swap 97 % full, programs wait for it 34 % of the time"
        for job in jobs:
            wait_until(lambda job=job: reason in pool.err(job), 10, "the reason", pool)
        check([lease["reason"] for lease in pool.leases()] == [reason] * 2, pool.leases())
        check(pool.run("run", "--no-wait", "-r", "slot=1", "--", "true").returncode == 0, "a slot")
        off = dict(pool.env, BERTH_HEED_MACHINE="off")
        check(pool.run("run", "--no-wait", "--cpu", "1", "--", "true", env=off).returncode == 0, "heed nothing")
        machine.stalled(1)
        machine.memory(available=2 * GIB)
        for job in jobs:
            check(wait_exit(job, 15) == 0, pool.err(job))


def test_doctor_names_what_is_in_the_swap():
    with Pool(ram="32G") as pool:
        machine = Machine(pool)
        job = pool.spawn("run", "-r", "ram=1M", "-l", "me", "--", "sleep", "100")
        pool.wait_for(held=1)
        inside = children(job.pid)[0]
        machine.memory(available=20 * GIB, swap_free=GIB // 10)
        for name, text in (("comm", "sleep\n"), ("status", f"Name: sleep\nVmSwap:\t{7 * GIB} kB\n")):
            os.makedirs(os.path.join(machine.root, "proc", str(inside)), exist_ok=True)
            machine._write(f"{inside}/{name}", text)
        done = pool.run("doctor")
        lease = pool.leases()[0]["id"]
        check(f"note  the swap is nearly full, 7.9 GiB of 8 GiB; most of it is of sleep (pid {inside}, lease {lease}), 7 GiB" in done.stdout, done)
        check(done.returncode == 0, done)
        machine.memory(available=2 * GIB, swap_free=GIB // 10)
        done = pool.run("doctor")
        check("WRONG the machine is short of memory: 2 GiB of 32 GiB available, swap 98 % full" in done.stdout and done.returncode == 1, done)
        os.unlink(os.path.join(machine.root, "proc", "pressure", "memory"))
        check("(a kernel with CONFIG_PSI, booted with psi=1)" in pool.run("doctor").stdout, "no pressure")
        kill(job.pid, signal.SIGTERM)


def test_what_a_lease_has_yet_to_touch_is_kept_for_it():
    with Pool(ram="32G") as pool:
        machine = Machine(pool)
        first = pool.spawn("run", "--ram", "10G", "--", "sleep", "100")
        pool.wait_for(held=1)
        machine.memory(available=15 * GIB)
        busy = pool.run("run", "--no-wait", "--ram", "8G", "--", "true")
        check(busy.returncode == 75 and "leases have yet to use 10 GiB" in busy.stderr, busy)
        waits = pool.spawn("run", "--ram", "8G", "--", "true")
        pool.wait_for(held=1, waiting=1)
        kill(first.pid, signal.SIGTERM)  # its end is heard of
        check(wait_exit(waits, 10) == 0, pool.err(waits))


def test_one_that_is_out_can_be_stopped_and_ended():
    with Pool(ram="32G", slot=1) as pool:
        machine = Machine(pool)
        machine.memory(available=3 * GIB)
        job = pool.spawn("run", "--ram", "8G", "--timeout", "1s", "--", "true")
        check(wait_exit(job, 10) == 124, pool.err(job))
        job = pool.spawn("run", "--ram", "8G", "--", "true")
        pool.wait_for(held=0, waiting=1)
        kill(job.pid, signal.SIGTERM)
        check(wait_exit(job, 10) in (-15, 143), job)
        check(not pool.leases() and not pool.leftovers(), pool.leases())


main([value for name, value in list(globals().items()) if name.startswith("test_")])
