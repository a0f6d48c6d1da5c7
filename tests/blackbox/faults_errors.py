"""An error at any system call, once or from then on: a documented status, one clear line, a sound pool.

A sample of the calls and errors is tried; BERTH_TEST_FULL=1 tries them all, BERTH_TEST_SEED another sample.
"""
import json
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor

from berthtest import (Failure, Pool, check, descendants, fail, is_running, kill, main, pid_ended, seed,
                       slower)
from faultkit import Launcher, calls_of, end_holder, entry_of, spawn_holder, strace_missing, wait_name

# What the kernel may answer on a bad day. Calls that cannot fail are not listed, nor is what answers nobody.
ERRORS = {
    "openat": ["EMFILE", "ENFILE", "EACCES", "EIO", "ENOMEM", "EINTR"],
    "openat2": ["EMFILE", "ENFILE", "EACCES", "EIO", "ENOMEM", "EINTR", "ENOSYS"],
    "mkdirat": ["ENOSPC", "EACCES", "EIO", "ENOMEM", "EROFS"],
    "mknodat": ["ENOSPC", "EACCES", "EIO", "ENOMEM", "EROFS"],
    "symlinkat": ["ENOSPC", "EACCES", "EIO", "ENOMEM", "EROFS"],
    "renameat": ["ENOSPC", "EACCES", "EIO", "ENOMEM"],
    "renameat2": ["ENOSPC", "EACCES", "EIO", "ENOMEM", "EINVAL"],
    "unlinkat": ["EACCES", "EIO", "ENOMEM", "EROFS"],
    "fchmod": ["EIO", "EROFS", "EPERM"],
    "fchmodat": ["EIO", "EROFS", "EPERM"],
    "newfstatat": ["EIO", "ENOMEM", "EACCES"],
    "fstat": ["EIO", "ENOMEM"],
    "fstatfs": ["EIO", "EINTR"],
    "faccessat2": ["EIO", "EACCES", "EROFS"],
    "flock": ["EINTR", "ENOLCK", "EIO"],
    "lseek": ["EIO"],
    "getdents64": ["EIO", "ENOMEM", "EINTR"],
    "readlinkat": ["EIO", "ENOMEM", "EACCES", "EINTR"],
    "fcntl": ["EMFILE"],
    "read": ["EINTR"],
    "write": ["EINTR", "EIO", "ENOSPC"],
    "close": ["EIO", "EINTR"],
    "poll": ["EINTR", "ENOMEM"],
    "ppoll": ["EINTR", "ENOMEM"],
    "vfork": ["EAGAIN", "ENOMEM"],
    "clone": ["EAGAIN", "ENOMEM"],
    "clone3": ["EAGAIN", "ENOMEM"],
    "waitid": ["EINTR"],
    "signalfd4": ["EMFILE", "ENOMEM"],
    "eventfd2": ["EMFILE", "ENOMEM"],
    "getrandom": ["EINTR", "ENOSYS"],
    "mmap": ["ENOMEM"],
    "sched_getaffinity": ["EINVAL"],
    "prlimit64": ["EPERM"],
    "ioctl": ["EIO"],
}

LONG = [f"a-name-as-long-as-it-may-ever-be-{i}"[-32:] for i in range(5)]  # a claim that does not fit in a name
LONG_CLAIM = tuple(word for name in LONG for word in ("-r", f"{name}=1"))
JOB = ("--", "sh", "-c", "exit 7")


class Free:
    """run, the place is free"""
    args = ("run", "-r", "slot=1", *JOB)
    statuses = (7, 125)
    slots = 1
    keeps = 0
    fresh = ("run", "-r", "slot=1", "--timeout", "5s", "--", "true")

    def __init__(self):
        self.holder = None

    def before(self, pool):
        pass

    def run(self, pool, launch):
        launch.start(*self.args)
        return launch.finish()

    def after(self, pool):
        """What must hold beside what holds for all; an empty string if it does."""
        return ""


class NewPool(Free):
    """run, the pool does not exist"""
    args = ("run", "--cpu", "1", *JOB)
    fresh = ("run", "--cpu", "1", "--timeout", "5s", "--", "true")

    def before(self, pool):
        shutil.rmtree(pool.path, ignore_errors=True)


class Behind(Free):
    """run behind a holder who goes"""

    def before(self, pool):
        self.holder = spawn_holder(pool, "-r", "slot=1", *LONG_CLAIM)

    def run(self, pool, launch):
        launch.start(*self.args)
        wait_name(pool, "w1,", launch.ended)
        end_holder(self.holder)
        return launch.finish()


class Busy(Free):
    """run --no-wait, somebody holds the place"""
    args = ("run", "--no-wait", "-r", "slot=1", *JOB)
    statuses = (75, 125)
    slots = 1
    keeps = 4  # the holder's record, life, bell and list of processes
    fresh = ("run", "-r", "other=1", "--timeout", "5s", "--", "true")

    def before(self, pool):
        if self.holder is not None and not entry_of(pool, self.holder.pid):
            end_holder(self.holder)  # the last fault took its lease
            self.holder = None
        if self.holder is None:
            self.holder = spawn_holder(pool, "-r", "slot=1", *LONG_CLAIM)

    def after(self, pool):
        held = [lease["pid"] for lease in pool.leases("held")]
        return "" if held == [self.holder.pid] else f"the holder's lease is not listed any more: {held}"


class GiveUp(Busy):
    """run --timeout, somebody holds the place"""
    args = ("run", "--timeout", "20ms", "-r", "slot=1", *JOB)
    statuses = (124, 125)


class Survivor(Free):
    """run, something of the job lives on"""
    args = ("run", "-r", "slot=1", "--", "sh", "-c", "sleep 1000 & exit 7")

    def run(self, pool, launch):
        try:
            status = super().run(pool, launch)
            if status == 7:  # sh has ended, and its sleep stays
                next_one = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
                lives = any(comm(pid) == "sleep" for pid in jobs_in(pool))
                check(lives and next_one.returncode == 75, "the place was given away while a process of the job lived")
            return status
        finally:
            left = jobs_in(pool)
            while left:
                for pid in left:
                    kill(pid)
                    pid_ended(pid)
                left = jobs_in(pool)


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return ""


def jobs_in(pool):
    """The processes that run in a place of this pool."""
    found = []
    for pid in descendants():
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if f"BERTH_POOL={pool.path}".encode() in words and any(w.startswith(b"BERTH_ID=") for w in words) and is_running(pid):
            found.append(pid)
    return found


class Status(Busy):
    """status --json"""
    args = ("status", "--json")
    statuses = (0, 125)

    def run(self, pool, launch):
        status = super().run(pool, launch)
        if status == 0:
            told = json.loads(launch.put_out())
            check([r["capacity"] for r in told["resources"] if r["name"] == "slot"] == [1] and
                  [lease["pid"] for lease in told["leases"]] in ([self.holder.pid], [0]),  # 0: could not be read
                  f"{launch.fault}: status says what is not so: {told}")
        return status


class Set(Free):
    """set"""
    args = ("set", "slot=1", "other=1")
    statuses = (0, 77, 125)


class Release(Free):
    """release of a lease that another waits for"""
    args = ("release", "--label", "mine")
    statuses = (0, 1, 77, 125)

    def before(self, pool):
        self.holder = spawn_holder(pool, "--label", "mine", "-r", "slot=1")

    def run(self, pool, launch):
        behind = pool.spawn("run", "-r", "slot=1", "--", "true")
        wait_name(pool, "w1,", lambda: behind.poll() is not None)
        status = super().run(pool, launch)
        if status == 0 and behind.wait(10) != 0:
            fail(f"{launch.fault}: exit 0, and the waiter says {pool.err(behind)!r}")
        end_holder(self.holder)
        if behind.wait(10) != 0:
            fail(f"{launch.fault}: the waiter says {pool.err(behind)!r}")
        return status


def clear_lines(said, status):
    """"" if what was said is plain talk: lines that begin with "berth: ", and JSON where the place is busy."""
    lines = said.splitlines()
    if status == 75:
        try:
            if json.loads(lines[-1])["error"] != "busy":
                return "no word of busy"
        except (ValueError, IndexError, KeyError):
            return "no JSON line"
        lines.pop()
    for line in lines:
        if not line.startswith("berth: ") or len(line) < 15:
            return f"the line {line!r} is not clear"
    if status in (2, 3, 4, 76, 77, 124, 125) and not lines:
        return "not a word about why"
    if len(lines) > 3:
        return f"{len(lines)} lines"
    return ""


def one_fault(scenario, pool, config, fault):
    """What is wrong after a run with this fault, or ""."""
    launch = Launcher(pool, fault=fault)
    wrong = []
    try:
        status = scenario.run(pool, launch)
    except Failure as e:
        wrong.append(str(e))
        status = scenario.statuses[0]
    said = launch.said()
    if status not in scenario.statuses:
        wrong.append(f"exit {status}")
    unclear = "" if fault.startswith("write:") else clear_lines(said, status)
    if unclear:
        wrong.append(unclear)
    told = pool.status()
    if any(r["held"] > r["capacity"] for r in told["resources"]):
        wrong.append(f"more is held than there is: {told['resources']}")
    if config and os.readlink(f"{pool.path}/pool") != config:
        wrong.append(f"the settings are lost: {os.readlink(f'{pool.path}/pool')!r}")
        os.unlink(f"{pool.path}/pool")
        os.symlink(config, f"{pool.path}/pool")
    done = pool.run(*scenario.fresh, timeout=10)
    if done.returncode != 0:
        wrong.append(f"then `berth {' '.join(scenario.fresh)}` exits {done.returncode}: {done.stderr!r}")
    left = pool.leftovers()
    if len(left) != scenario.keeps:
        wrong.append(f"left behind: {left}")
    complaint = scenario.after(pool)
    if complaint:
        wrong.append(complaint)
    return f"{fault}: {'; '.join(line[:200] for line in wrong)} (said {said[:150]!r})" if wrong else ""


def config_words(scenario):
    return [f"slot={scenario.slots}", "other=1"] + [f"{name}=1" for name in LONG]


def matrix(calls):
    """The faults to try: those at the lives first, which nobody may get wrong, then all others."""
    first = []
    others = []
    sanitized = slower() > 1  # a sanitizer asks with write() of its own what memory may be read
    for name, nth, line in calls:
        if '"/proc/' in line or nth > 60:
            continue  # the search for who lives on makes thousands of calls
        if name == "write" and sanitized:
            continue
        for error in ERRORS.get(name, []):
            (first if '.l"' in line else others).append(f"{name}:error={error}:when={nth}")
            if name != "read":  # of a pipe or a signalfd: that can be interrupted, but not fail for ever
                others.append(f"{name}:error={error}:when={nth}+")
    return first, others


def errors_in(scenario_class, sample):
    why = strace_missing()
    if why:
        return f"skipped: {why}"
    workers = 2
    pools = [Pool() for _ in range(workers)]
    for pool in pools:
        pool.__enter__()
    try:
        scenarios = [scenario_class() for _ in range(workers)]
        config = ""
        if scenario_class is not NewPool:
            for pool in pools:
                check(pool.run("set", *config_words(scenario_class)).returncode == 0, "berth set")
            config = os.readlink(f"{pools[0].path}/pool")
        scenarios[0].before(pools[0])
        trace = os.path.join(pools[0].tmp, "trace")
        recorder = Launcher(pools[0], trace=trace)
        status = scenarios[0].run(pools[0], recorder)
        check(status in scenario_class.statuses and status != 125, f"recorded run: exit {status}: {recorder.said()!r}")
        first, others = matrix(calls_of(trace, pools[0].path))
        everything = len(first) + len(others)
        if not os.environ.get("BERTH_TEST_FULL"):
            others = random.Random(seed()).sample(others, min(sample - len(first), len(others)))
        faults = first + others

        def share(i):
            found = []
            for fault in faults[i::workers]:
                scenarios[i].before(pools[i])
                line = one_fault(scenarios[i], pools[i], config, fault)
                if line:
                    found.append(line)
            return found

        with ThreadPoolExecutor(workers) as executor:
            found = [line for lines in executor.map(share, range(workers)) for line in lines]
        if found:
            fail(f"{len(found)} of {len(faults)} faults:\n    " + "\n    ".join(found[:60]))
        return f"{len(faults)} of {everything} faults"
    finally:
        for pool in pools:
            pool.__exit__()


def test_errors_when_the_place_is_free():
    return errors_in(Free, 120)


def test_errors_when_the_pool_is_new():
    return errors_in(NewPool, 100)


def test_errors_behind_a_holder():
    return errors_in(Behind, 120)


def test_errors_when_it_is_busy():
    return errors_in(Busy, 100)


def test_errors_while_giving_up():
    return errors_in(GiveUp, 80)


def test_errors_with_a_survivor():
    return errors_in(Survivor, 80)


def test_errors_in_status():
    return errors_in(Status, 60)


def test_errors_in_set():
    return errors_in(Set, 50)


def test_errors_in_release():
    return errors_in(Release, 40)


main([test_errors_when_the_place_is_free, test_errors_when_the_pool_is_new, test_errors_behind_a_holder,
      test_errors_when_it_is_busy, test_errors_while_giving_up, test_errors_with_a_survivor, test_errors_in_status, test_errors_in_set,
      test_errors_in_release], limit=600)
