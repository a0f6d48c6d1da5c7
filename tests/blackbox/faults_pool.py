"""A pool that is full, foreign, garbled, taken away or hostile: a clear line, and nobody's lease is lost."""
import ctypes
import os
import pwd
import random
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import time

from berthtest import HERE, Pool, berth, check, fail, is_running, job_of, kill, main, pid_ended, seed, wait_exit, wait_until
from faultkit import as_user, end_holder, entry_of, public_berth, spawn_holder, strace_missing, wait_name

STRANGER = 12345
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def one_clear_line(done, status, *words):
    """That a command ended so, with one line that begins with "berth: " and says these words."""
    said = done.stderr
    check(done.returncode == status, f"exit {done.returncode} instead of {status}: {said!r}")
    check(said.startswith("berth: ") and said.endswith("\n") and said.count("\n") == 1 and len(said) > 20,
          f"not one clear line: {said!r}")
    for word in words:
        check(word in said, f"no word of {word!r}: {said!r}")


def some_id(rng):
    return "".join(rng.choice(LETTERS) for _ in range(10))


def record(state="h", party="aaaaaaaaaa", uid=0, arrival=None, claim="slot=1", grant="-", priority=0):
    now = int(time.time() * 1e6)
    return f"{state}1,{party},{uid},{arrival or now},{priority},0,{now if state == 'h' else 0},{grant},{claim}"


def in_child(uid, work):
    """Does `work` in a forked child with this effective uid; its exceptions are ours."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setegid(uid)
            os.seteuid(uid)
            work()
            os._exit(0)
        except BaseException as e:  # pylint: disable=broad-except
            os.write(2, f"as uid {uid}: {e}\n".encode())
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    check(status == 0, f"could not do the work of uid {uid}")


def not_root():
    return "" if os.geteuid() == 0 else "not root"


class Mounts:
    """A mount namespace of our own, and small file systems in it that go with us."""
    alone = False

    @classmethod
    def missing(cls):
        if not_root():
            return not_root()
        if not cls.alone:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(0x20000) != 0:
                return f"no mount namespace: {os.strerror(ctypes.get_errno())}"
            if libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None) != 0:
                return f"cannot make the mounts private: {os.strerror(ctypes.get_errno())}"
            cls.alone = True
        return ""

    @staticmethod
    def mount(path, options, flags=0):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"none", path.encode(), b"tmpfs", flags, options.encode()) != 0:
            fail(f"mount tmpfs {options}: {os.strerror(ctypes.get_errno())}")

    @staticmethod
    def unmount(path):
        ctypes.CDLL(None, use_errno=True).umount2(path.encode(), 2)


class Small:
    """A pool on a tmpfs of its own with these mount options."""

    def __init__(self, options, **capacities):
        self.options = options
        self.capacities = capacities

    def __enter__(self):
        self.outer = Pool()
        pool = self.outer.__enter__()
        self.place = os.path.join(pool.root, "small")
        os.mkdir(self.place)
        Mounts.mount(self.place, self.options)
        pool.path = os.path.join(self.place, "pool")
        pool.env["BERTH_POOL"] = pool.path
        pool.place = self.place
        if self.capacities:
            check(pool.run("set", *[f"{k}={v}" for k, v in self.capacities.items()]).returncode == 0, "berth set")
        return pool

    def __exit__(self, *_):
        Mounts.unmount(self.place)
        return self.outer.__exit__()


# ---------------------------------------------------------------- full

def fill(directory):
    """Takes every page that is left."""
    with open(os.path.join(directory, "ballast"), "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass


def test_full_in_bytes():
    why = Mounts.missing()
    if why:
        return f"skipped: {why}"
    with Small("size=64k", slot=1) as pool:
        holder = spawn_holder(pool, "-r", "slot=1")
        waiter = pool.spawn("run", "-r", "slot=1", "--", "sh", "-c", "exit 5")
        wait_name(pool, "w1,")
        fill(pool.place)
        long_words = ["x" * 500]  # its record does not fit beside the inode
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true", *long_words)
        check(done.returncode in (75, 125), f"exit {done.returncode}: {done.stderr!r}")
        done = pool.run("run", "--timeout", "50ms", "-r", "slot=1", "--", "true", *long_words)
        if done.returncode != 124:
            one_clear_line(done, 125, "No space left")
        check(end_holder(holder) == 0, "the holder's exit status")
        check(wait_exit(waiter, 10, pool) == 5, f"the waiter in the full pool: {waiter.returncode} {pool.err(waiter)!r}")
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true", *long_words)
        if done.returncode != 0:
            one_clear_line(done, 125, "No space left")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")
        os.unlink(os.path.join(pool.place, "ballast"))
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true", *long_words)
        check(done.returncode == 0, f"and with room again: {done.returncode} {done.stderr!r}")
    return ""


def test_full_in_inodes():
    why = Mounts.missing()
    if why:
        return f"skipped: {why}"
    refused = 0
    for inodes in range(2, 12):
        with Small(f"size=1m,nr_inodes={inodes}") as pool:
            done = pool.run("run", "--cpu", "1", "--", "sh", "-c", "exit 5")
            if done.returncode == 5:
                continue
            refused += 1
            one_clear_line(done, 125, "No space left")
            check(pool.leftovers() == [] if os.path.isdir(pool.path) else True, f"left behind: {pool.leftovers()}")
            again = pool.run("status")
            check(again.returncode == 0, f"status: {again.returncode} {again.stderr!r}")
    check(2 <= refused <= 8, f"refused with {refused} of 10 sizes")
    # A pool that fills up while it is in use: who is in goes on and is seated, who comes is told.
    with Small("size=1m,nr_inodes=12", slot=1) as pool:
        holder = spawn_holder(pool, "-r", "slot=1")
        waiter = pool.spawn("run", "-r", "slot=1", "--", "sh", "-c", "exit 5")
        wait_name(pool, "w1,")
        for i in range(20):
            try:
                os.close(os.open(f"{pool.place}/ballast{i}", os.O_CREAT | os.O_WRONLY))
            except OSError:
                break
        one_clear_line(pool.run("run", "-r", "slot=1", "--", "true"), 125, "No space left")
        check(len(pool.leases()) == 2, f"leases: {pool.leases()}")
        check(end_holder(holder) == 0, "the holder's exit status")
        check(wait_exit(waiter, 10, pool) == 5, f"the waiter in the full pool: {waiter.returncode} {pool.err(waiter)!r}")
    return ""


def test_no_descriptors_left():
    with Pool(slot=1) as pool:
        refused = 0
        for limit in range(4, 24):
            def lower(limit=limit):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            done = pool.run("run", "-r", "slot=1", "--", "/bin/sh", "-c", "exit 5", preexec_fn=lower)
            if done.returncode not in (5, 127):  # 127: the loader or the shell could not even start
                one_clear_line(done, 125)
                refused += 1
            elif done.returncode == 127:
                check(limit < 8, f"limit {limit}: exit 127: {done.stderr!r}")
            done = pool.run("status", "--short", preexec_fn=lower)
            if done.returncode != 0 and limit > 5:
                one_clear_line(done, 125)
            check(pool.leftovers() == [], f"limit {limit}: left behind: {pool.leftovers()}")
        check(refused >= 2, f"no limit was too low ({refused})")
        check(done.returncode == 0, f"23 descriptors are not enough: {done.stderr!r}")
        # Standing in line takes more: either it is said, or the waiter is seated all the same.
        for limit in range(8, 16):
            holder = spawn_holder(pool, "-r", "slot=1")
            waiter = pool.spawn("run", "-r", "slot=1", "--", "/bin/sh", "-c", "exit 5",
                                preexec_fn=lambda n=limit: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)))
            wait_until(lambda w=waiter: w.poll() is not None or entry_of(pool, w.pid), 10, "the waiter in line", pool)
            end_holder(holder)
            status = wait_exit(waiter, 10, pool)
            check(status in (5, 125), f"limit {limit}: the waiter's exit is {status}: {pool.err(waiter)!r}")
            check(status == 5 or "berth: " in pool.err(waiter), f"limit {limit}: 125 and no word about it")
    return f"{refused} limits were too low"


# ---------------------------------------------------------------- not a pool

def test_unwritable_pool():
    if not_root():
        return f"skipped: {not_root()}"
    with Pool(slot=1) as pool:
        os.chmod(pool.path, 0o755)
        done = pool.run("run", "-r", "slot=1", "--", "true", executable=public_berth(), **as_user(1001))
        one_clear_line(done, 125, pool.path, "Permission denied")
        done = pool.run("status", "--json", executable=public_berth(), **as_user(1001))
        check(done.returncode == 0, f"status as a stranger: {done.returncode} {done.stderr!r}")
        os.chmod(pool.path, 0o777)  # no sticky bit: anyone could remove anyone's lease
        one_clear_line(pool.run("run", "-r", "slot=1", "--", "true"), 125, "sticky")
    return ""


def test_read_only_pool():
    why = Mounts.missing()
    if why:
        return f"skipped: {why}"
    read_only, remount = 1, 32
    with Small("size=1m", slot=1) as pool:
        holder = spawn_holder(pool, "-r", "slot=1")
        waiter = pool.spawn("run", "-r", "slot=1", "--", "sh", "-c", "exit 5")
        wait_name(pool, "w1,")
        Mounts.mount(pool.place, "", read_only | remount)
        one_clear_line(pool.run("run", "-r", "slot=1", "--", "true"), 125, "Read-only")
        one_clear_line(pool.run("set", "slot=2"), 125, "Read-only")
        check(len(pool.leases()) == 2, f"leases: {pool.leases()}")
        check(end_holder(holder) == 0, "the holder's exit status")
        status = wait_exit(waiter, 10, pool)
        check(status == 125 and "Read-only" in pool.err(waiter), f"the waiter: {status} {pool.err(waiter)!r}")
        Mounts.mount(pool.place, "", remount)
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
        check(done.returncode == 0 and pool.leftovers() == [], f"writable again: {done.stderr!r} {pool.leftovers()}")
    return ""


def test_pool_on_another_file_system():
    for place in (tempfile.gettempdir(), HERE, os.path.expanduser("~")):
        kind = subprocess.run(["stat", "-f", "-c", "%T", place], stdout=subprocess.PIPE, check=False, text=True).stdout.strip()
        if kind and kind not in ("tmpfs", "ramfs") and os.access(place, os.W_OK):
            break
    else:
        return "skipped: everything writable here is a tmpfs"
    with tempfile.TemporaryDirectory(dir=place) as there, Pool() as pool:
        for path in (there, os.path.join(there, "new")):
            env = dict(pool.env, BERTH_POOL=path)
            one_clear_line(pool.run("run", "--cpu", "1", "--", "true", env=env), 125, "tmpfs", path)
            one_clear_line(pool.run("set", "slot=1", env=env), 125, "tmpfs")
        check(os.listdir(there) == [], f"something was left there: {os.listdir(there)}")
    return kind


def test_pool_that_is_no_directory():
    with Pool(slot=1) as pool:
        link, plain, fifo = (os.path.join(pool.tmp, name) for name in ("link", "plain", "fifo"))
        os.symlink(pool.path, link)
        with open(plain, "w", encoding="ascii") as f:
            f.write("something of mine")
        os.mkfifo(fifo)
        cases = ((link, "symbolic link"), (plain, "Not a directory"), (fifo, "Not a directory"), ("/dev/null", "Not a directory"),
                 (os.path.join(pool.tmp, "no", "such"), "No such file"), ("/proc/berth", ""))
        for path, words in cases:
            env = dict(pool.env, BERTH_POOL=path)
            one_clear_line(pool.run("run", "--cpu", "1", "--", "true", env=env), 125, path, words)
            done = pool.run("status", env=env)
            if done.returncode != 0:
                one_clear_line(done, 125, path)
        with open(plain, encoding="ascii") as f:
            check(f.read() == "something of mine", "the file was changed")
    return ""


def test_a_relative_pool():
    """Whoever goes elsewhere inside of a job still finds the pool."""
    with Pool(slot=1) as pool:
        env = dict(pool.env, BERTH_POOL="./" + os.path.basename(pool.path))
        script = f"cd / && echo $BERTH_POOL && {berth()} run --no-wait -r slot=1 -- true"
        done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", script, env=env, cwd=os.path.dirname(pool.path))
        check(done.returncode == 0 and done.stdout == pool.path + "\n", f"exit {done.returncode}: {done.stdout!r} {done.stderr!r}")
    return ""


# ---------------------------------------------------------------- taken away

def test_pool_removed_and_made_again():
    with Pool(slot=1) as pool:
        holder = pool.spawn("run", "-r", "slot=1", "--", "sh", "-c", "read x; exit 6", stdin=subprocess.PIPE)
        wait_name(pool, "h1,")
        waiters = [pool.spawn("run", "-r", "slot=1", "--", "sh", "-c", "exit 5") for _ in range(2)]
        wait_until(lambda: all(entry_of(pool, w.pid) for w in waiters), 10, "two in line", pool)
        job = job_of(holder)
        shutil.rmtree(pool.path)
        check(pool.run("set", "slot=1").returncode == 0, "a new pool")
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
        check(done.returncode == 0, f"in the new pool: {done.returncode} {done.stderr!r}")
        for waiter in waiters:
            status = wait_exit(waiter, 15, pool)
            said = pool.err(waiter).splitlines()
            check(status in (76, 125) and said[-1].startswith("berth: "), f"the waiter: {status} {said}")
            check("was removed" in said[-1], f"the waiter does not say what happened: {said}")
        check(is_running(job), "the job was ended")
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        check(wait_exit(holder, 10, pool) == 6, f"the job's own status: {holder.returncode} {pool.err(holder)!r}")
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
        check(done.returncode == 0 and pool.leftovers() == [], f"after it: {done.stderr!r} {pool.leftovers()}")
    return ""


def test_own_record_removed():
    """Somebody (root, with rm) removes a record: the job runs on, the waiter is told."""
    with Pool(slot=1) as pool:
        holder = pool.spawn("run", "-r", "slot=1", "--", "sh", "-c", "read x; exit 6", stdin=subprocess.PIPE)
        wait_name(pool, "h1,")
        waiter = pool.spawn("run", "-r", "slot=1", "--", "true")
        wait_name(pool, "w1,")
        os.unlink(os.path.join(pool.path, entry_of(pool, waiter.pid)))
        check(wait_exit(waiter, 15, pool) == 76, f"the waiter: {waiter.returncode} {pool.err(waiter)!r}")
        check("removed" in pool.err(waiter), f"the waiter: {pool.err(waiter)!r}")
        os.unlink(os.path.join(pool.path, entry_of(pool, holder.pid)))
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
        check(done.returncode == 0, f"the place of a removed record: {done.stderr!r}")
        holder.stdin.close()
        check(wait_exit(holder, 10, pool) == 6, f"the job's own status: {holder.returncode} {pool.err(holder)!r}")
        pool.run("run", "-r", "slot=1", "--", "true")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")
    return ""


# ---------------------------------------------------------------- hostile entries

def test_hostile_own_directory():
    """What stands where u<uid> should be is not followed."""
    if not_root():
        return f"skipped: {not_root()}"
    for kind in ("symlink", "file", "fifo", "foreign directory"):
        with Pool(slot=1) as pool:
            mine = os.path.join(pool.path, "u0")
            elsewhere = os.path.join(pool.tmp, "elsewhere")
            os.mkdir(elsewhere)
            os.chmod(elsewhere, 0o777)
            shutil.rmtree(mine, ignore_errors=True)
            make = {"symlink": lambda e=elsewhere, m=mine: os.symlink(e, m),
                    "file": lambda m=mine: os.close(os.open(m, os.O_CREAT | os.O_WRONLY)),
                    "fifo": lambda m=mine: os.mkfifo(m),
                    "foreign directory": lambda m=mine: os.mkdir(m)}[kind]
            in_child(1001, make)
            holder = spawn_holder(pool, "-r", "slot=1")
            check(os.listdir(elsewhere) == [], f"{kind}: followed: {os.listdir(elsewhere)}")
            check(pool.run("run", "--no-wait", "-r", "slot=1", "--", "true").returncode == 75, f"{kind}: the holder is not seen")
            check(end_holder(holder) == 0, f"{kind}: {pool.err(holder)!r}")
            done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
            check(done.returncode == 0, f"{kind}: {done.stderr!r}")
    return ""


def test_hostile_settings():
    """What stands where the entry "pool" should be: one clear line, and berth set or rm mends it."""
    kinds = {
        "garbage": lambda p: os.symlink("garbage", p),
        "a later version": lambda p: os.symlink("berth=2 cpu=1", p),
        "a number too large": lambda p: os.symlink("berth=1 cpu=99999999999999999999", p),
        "not UTF-8": lambda p: os.symlink(b"berth=1 \xff\x1b[31m=1", p.encode()),
        "4,000 bytes": lambda p: os.symlink("berth=1 " + "x" * 4000, p),
        "a file": lambda p: os.close(os.open(p, os.O_CREAT | os.O_WRONLY)),
        "a FIFO": os.mkfifo,
        "a directory": os.mkdir,
    }
    for kind, make in kinds.items():
        with Pool(slot=1) as pool:
            path = os.path.join(pool.path, "pool")
            os.unlink(path)
            make(path)
            one_clear_line(pool.run("run", "-r", "slot=1", "--", "true"), 125, '"pool"')
            check(os.path.lexists(path), f"{kind}: it was removed")
            done = pool.run("status", "--json")
            check(done.returncode == 0, f"{kind}: status: {done.returncode} {done.stderr!r}")
            done = pool.run("set", "slot=1")
            if done.returncode != 0:
                one_clear_line(done, 125)
                check(kind == "a directory", f"{kind}: berth set does not mend it: {done.stderr!r}")
                os.rmdir(path)
                check(pool.run("set", "slot=1").returncode == 0, f"{kind}: berth set after rmdir")
            done = pool.run("run", "-r", "slot=1", "--", "true")
            check(done.returncode == 0, f"{kind}: mended: {done.returncode} {done.stderr!r}")
    return f"{len(kinds)} kinds"


def test_settings_of_a_stranger():
    """In a pool of root's another user's settings make no difference: cpu and ram are what the machine has."""
    if not_root():
        return f"skipped: {not_root()}"
    with Pool() as pool:
        os.mkdir(pool.path)
        os.chmod(pool.path, 0o1777)
        in_child(STRANGER, lambda: os.symlink("berth=1 cpu=2 slot=9 policy.age=1", f"{pool.path}/pool"))
        done = pool.run("run", "-r", "slot=9", "--", "true")
        one_clear_line(done, 125, '"pool"', str(STRANGER))
        check(pool.run("set", "slot=1").returncode == 0, "root sets it right")
        mine = {r["name"]: r["capacity"] for r in pool.status()["resources"]}
        for settings in ("cpu=1000000 ram=1152921504606846976", "cpu=0 ram=0", "cpu=1"):
            os.unlink(f"{pool.path}/pool")
            in_child(STRANGER, lambda s=settings: os.symlink(f"berth=1 {s} policy.max_priority=1000", f"{pool.path}/pool"))
            told = {r["name"]: r["capacity"] for r in pool.status()["resources"]}
            check(told == {"cpu": mine["cpu"], "ram": mine["ram"]}, f"{settings}: {told}")
            check(pool.run("run", "--ram", str(2 * mine["ram"]), "--", "true").returncode == 3, f"{settings}: more than there is")
            check(pool.run("run", "--cpu", "1", "--ram", "1M", "--", "true").returncode == 0, f"{settings}: what there is")
        check(pool.run("set", "slot=1").returncode == 0, "root sets it right")
        check(pool.run("run", "-r", "slot=9", "--", "true").returncode == 3, "the stranger's settings hold")
        done = pool.run("set", "slot=9", executable=public_berth(), **as_user(STRANGER))
        one_clear_line(done, 77)
    return ""


def test_other_things_in_the_pool():
    """Entries that are no records, of every type and with a record's name: ignored."""
    rng = random.Random(seed())
    makers = {
        "a directory": os.mkdir,
        "a file": lambda p: os.close(os.open(p, os.O_CREAT | os.O_WRONLY)),
        "a FIFO": os.mkfifo,
    }
    if os.geteuid() == 0:
        makers["a device"] = lambda p: os.mknod(p, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # zero: never ends
    with Pool(slot=1) as pool:
        for kind, make in makers.items():
            for state in "hwa":
                make(os.path.join(pool.path, record(state, some_id(rng))))
            make(os.path.join(pool.path, f"README {kind}"))
        for name in ("h", "w1", "x" * 255, "h1x", "-rf", "new\nline", "\x1b[2J", "u", "u0x", "."*3):
            os.symlink("anything", os.path.join(pool.path, name))
        os.symlink("x", os.path.join(pool.path.encode(), b"\xff\xfe"))
        before = sorted(os.listdir(pool.path.encode()))
        for _ in range(2):
            done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
            check(done.returncode == 0, f"exit {done.returncode}: {done.stderr!r}")
        check(pool.status()["leases"] == [], "they count as leases")
        check(pool.run("status").returncode == 0, "status")
        now = sorted(e for e in os.listdir(pool.path.encode()) if e != b"u0")
        check(now == [e for e in before if e != b"u0"], "they were removed")
    return ""


def test_other_things_for_lives():
    """A record whose life is anything but a living FIFO is dead, and is swept."""
    rng = random.Random(seed())
    with Pool(slot=1) as pool:
        own = os.path.join(pool.path, f"u{os.geteuid()}")
        os.makedirs(own, exist_ok=True)
        outside = os.path.join(pool.tmp, "alive")
        os.mkfifo(outside)
        outside_fd = os.open(outside, os.O_RDWR | os.O_NONBLOCK)  # alive, but not what it seems
        makers = {
            "nothing": lambda p: None,
            "a directory": os.mkdir,
            "a file": lambda p: os.close(os.open(p, os.O_CREAT | os.O_WRONLY)),
            "a dead FIFO": os.mkfifo,
            "a link to a living FIFO": lambda p: os.symlink(outside, p),
            "a link to itself": lambda p: os.symlink(os.path.basename(p), p),
        }
        if os.geteuid() == 0:
            makers["an endless device"] = lambda p: os.mknod(p, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        for kind, make in makers.items():
            for state in "hwa":
                party = some_id(rng)
                make(os.path.join(own, party + ".l"))
                os.symlink("\npid 1", os.path.join(pool.path, record(state, party, os.geteuid())))
                check(pool.status()["leases"] == [], f"{kind}, {state}: status believes it")
                done = pool.run("run", "--timeout", "5s", "-r", "slot=1", "--", "true")
                check(done.returncode == 0, f"{kind}, {state}: exit {done.returncode}: {done.stderr!r}")
                records = [e for e in os.listdir(pool.path) if e[1:3] == "1,"]
                check(records == [], f"{kind}, {state}: not swept: {records}")
        os.close(outside_fd)
    return ""


def test_a_bell_that_is_none():
    """A living waiter whose bell cannot be rung: whoever stands behind it is not held up."""
    rng = random.Random(seed())
    makers = {"nothing": lambda p: None, "a FIFO that nobody reads": os.mkfifo, "a directory": os.mkdir,
              "a link": lambda p: os.symlink("/dev/full", p)}
    slow = []
    for kind, make in makers.items():
        with Pool(slot=1) as pool:
            own = os.path.join(pool.path, f"u{os.geteuid()}")
            os.makedirs(own, exist_ok=True)
            party = some_id(rng)
            os.mkfifo(os.path.join(own, party + ".l"))
            life = os.open(os.path.join(own, party + ".l"), os.O_RDWR | os.O_NONBLOCK)
            make(os.path.join(own, party + ".b"))
            os.symlink("\npid 1", os.path.join(pool.path, record("w", party, os.geteuid(), arrival=1)))
            done = pool.run("run", "--timeout", "1s", "-r", "slot=1", "--", "true")
            if done.returncode != 0:
                slow.append(f"{kind}: exit {done.returncode}: {done.stderr!r}")
            os.close(life)
    check(not slow, "; ".join(slow))
    return f"{len(makers)} kinds"


def test_a_bell_that_may_not_be_rung():
    """A living waiter whose bell nobody may open: it is passed over, and is not taken for dead."""
    if not_root():
        return f"skipped: {not_root()}"
    rng = random.Random(seed())
    program = public_berth()
    for hidden in ("bell", "directory"):
        with Pool(slot=1) as pool:
            own = os.path.join(pool.path, f"u{STRANGER}")
            party = some_id(rng)
            fifos = [os.path.join(own, f"{party}.{suffix}") for suffix in "lb"]

            def work(own=own, party=party, fifos=fifos):
                os.mkdir(own)
                for path in fifos:
                    os.mkfifo(path)
                os.symlink("\npid 1", os.path.join(pool.path, record("w", party, STRANGER, arrival=1)))
            in_child(STRANGER, work)
            ends = [os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in fifos]
            os.chmod(fifos[1] if hidden == "bell" else own, 0)
            begun = time.monotonic()
            done = pool.run("run", "--timeout", "5s", "-r", "slot=1", "--", "true", executable=program, **as_user(1001))
            took = time.monotonic() - begun
            check(done.returncode == 0, f"behind it: exit {done.returncode}: {done.stderr!r}")
            check(0.1 <= took < 2, f"{hidden}: it was passed over after {took:.2f} s")
            told = [lease["id"] for lease in pool.leases("waiting")]
            check(told == [party], f"{hidden}: status lists {told}")
            for fd in ends:
                os.close(fd)
    return ""


# ---------------------------------------------------------------- garbled records

def garbled(name):
    """The name with every byte changed in several ways, and cut at every length."""
    found = set()
    for i in range(len(name)):
        for mask in (0x01, 0x02, 0x04, 0x10, 0x20, 0x80):
            found.add(name[:i] + bytes([name[i] ^ mask]) + name[i + 1:])
    for cut in range(1, len(name)):
        found.add(name[:cut])
        found.add(name[cut:])
    found.discard(name)
    return sorted(n for n in found if b"/" not in n and b"\0" not in n and n not in (b".", b".."))


def is_other_version(name):
    return name[:1] in (b"h", b"w", b"a") and name[1:2] in b"023456789" and len(name) > 1


def test_garbled_records():
    """One at a time beside a living holder: status works, a run gets a place, the holder keeps his."""
    with Pool(slot=1000, other=1000) as pool:
        holder = spawn_holder(pool, "-r", "slot=1", "-r", "other=1")
        alive = entry_of(pool, holder.pid)
        ours = alive.split(",")[1]
        dead = alive.replace(ours, "abcdefghij")
        target = os.readlink(os.path.join(pool.path, alive))
        tried = 0
        for base in (dead, alive):
            for name in garbled(base.encode()):
                if is_other_version(name):
                    continue
                path = os.path.join(pool.path.encode(), name)
                os.symlink(target, path)
                tried += 1
                done = pool.run("run", "--timeout", "5s", "-r", "slot=1", "--", "true")
                check(done.returncode == 0, f"beside {name!r}: exit {done.returncode}: {done.stderr!r}")
                told = pool.status()
                mine = [lease for lease in told["leases"] if lease["pid"] == holder.pid]
                check(os.path.lexists(os.path.join(pool.path, alive)), f"beside {name!r}: the holder's record was removed")
                check(mine and any(lease["id"] == ours and lease["state"] == "held" for lease in mine),
                      f"beside {name!r}: the holder is not listed as he is: {told['leases']}")
                if os.path.lexists(path):
                    os.unlink(path)
        check(end_holder(holder) == 0, f"the holder: {pool.err(holder)!r}")
        check(pool.run("run", "-r", "slot=1", "--", "true").returncode == 0, "the end")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")
    return f"{tried} names"


def test_garbled_targets():
    """Records whose claim stands in the target, with every kind of target."""
    rng = random.Random(seed())
    targets = ["x", "\n", "\npid 1", "slot=1", "slot=1\npid 1", "slot=0\n", "slot=99999999999999999999\n", "slot=1+slot=1\n",
               "gpu=1\n", "gpu=1+on=a\n", "gpu=1+on=a:1+on=a:1\n", "gpu=65\n", "+", "=", "slot", "slot=-1", "a" * 4095,
               "slot=1\npid -1\nlabel \x1b[31m\ncmd \x07", "slot=1\n" + "label x\n" * 500,
               "+".join(f"r{i}=1" for i in range(13)), "gpu=1+" + "+".join(f"on=u{i}:1" for i in range(65))]
    with Pool(slot=1000) as pool:
        holder = spawn_holder(pool, "-r", "slot=1")
        for target in targets + [bytes(rng.randrange(1, 256) for _ in range(rng.randrange(1, 300))) for _ in range(20)]:
            for state in "hw":
                name = record(state, some_id(rng), os.geteuid(), claim="@")
                os.symlink(target if isinstance(target, bytes) else target.encode(), os.path.join(pool.path, name).encode())
            done = pool.run("run", "--timeout", "5s", "-r", "slot=1", "--", "true")
            check(done.returncode == 0, f"with {target!r}: exit {done.returncode}: {done.stderr!r}")
            check([lease["pid"] for lease in pool.leases()] == [holder.pid], f"with {target!r}: {pool.leases()}")
        check(end_holder(holder) == 0, f"the holder: {pool.err(holder)!r}")
    return f"{len(targets) + 20} targets"


def test_newer_records():
    """A record of a later version: refuse in one clear line, and do not touch it."""
    rng = random.Random(seed())
    names = [f"h2,{some_id(rng)},0,whatever it says", f"w9,{some_id(rng)}", f"a2,{some_id(rng)},x", f"h12,{some_id(rng)},0,whatever"]
    for name in names:
        with Pool(slot=1) as pool:
            os.symlink("something new", os.path.join(pool.path, name))
            owner = pwd.getpwuid(os.geteuid()).pw_name
            if os.geteuid() == 0:
                owner = f"user {STRANGER},"
                os.chown(os.path.join(pool.path, name), STRANGER, STRANGER, follow_symlinks=False)
            one_clear_line(pool.run("run", "-r", "slot=1", "--", "true"), 125, "newer berth", name, owner)
            one_clear_line(pool.run("run", "--no-wait", "-r", "slot=1", "--", "true"), 125, "newer berth")
            check(os.path.lexists(os.path.join(pool.path, name)), f"{name} was removed")
            check(pool.run("status", "--json").returncode == 0, f"{name}: status")
            check(pool.leftovers() == [name], f"left behind: {pool.leftovers()}")
    return ""


def test_stray_names_are_no_newer_records():
    """A link that somebody leaves in the pool does not look like a later version's record."""
    with Pool(slot=1) as pool:
        for name in ("a4-paper", "h264", "w3c", "h0,abcdefghij", "h9", "w2x,"):
            os.symlink("anything", os.path.join(pool.path, name))
            done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
            check(done.returncode == 0, f"beside {name}: exit {done.returncode}: {done.stderr!r}")
            os.unlink(os.path.join(pool.path, name))
    return ""


def test_an_arrival_from_the_far_future():
    """One garbled or hostile arrival does not take the order from all that come after."""
    rng = random.Random(seed())
    with Pool(slot=1) as pool:
        holder = spawn_holder(pool, "-r", "slot=1")
        uid = STRANGER if os.geteuid() == 0 else os.geteuid()
        name = record("w", some_id(rng), uid, arrival=1 << 60)
        if uid == STRANGER:
            in_child(uid, lambda: os.symlink("\npid 1", os.path.join(pool.path, name)))
        else:
            os.symlink("\npid 1", os.path.join(pool.path, name))
        log = os.path.join(pool.tmp, "log")
        waiters = []
        for i in range(7):
            waiters.append(pool.spawn("run", "-r", "slot=1", "--", "sh", "-c", f"echo {i} >> {log}"))
            wait_until(lambda: entry_of(pool, waiters[-1].pid), 10, "one more in line", pool)
        end_holder(holder)
        for waiter in waiters:
            check(wait_exit(waiter, 15, pool) == 0, pool.err(waiter))
        with open(log, encoding="ascii") as f:
            order = f.read().split()
        check(order == [str(i) for i in range(7)], f"they came one after the other, and were seated as {order}")
    return ""


# ---------------------------------------------------------------- many

def litter(pool, count, states, rng, claim="cpu=1"):
    """`count` dead entries of a stranger, without lives. Returns how many stand there."""
    def work():
        for i in range(count):
            os.symlink("\npid 1", os.path.join(pool.path, record(states[i % len(states)], some_id(rng), STRANGER, claim=claim,
                                                                 arrival=1000 + i)))
    in_child(STRANGER, work)


def strangers(pool):
    return sum(f",{STRANGER}," in name for name in os.listdir(pool.path))


def processor_time():
    """What our children have used, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def many_dead(states):
    if not_root():
        return f"skipped: {not_root()}"
    count = 10000
    with Pool(cpu=2) as pool:
        rng = random.Random(seed())
        litter(pool, count, states, rng)
        program = public_berth()
        worst = 0
        for attempt in range(3):
            begun = processor_time()
            done = pool.run("run", "--cpu", "1", "--no-wait", "--", "true", executable=program, **as_user(1001))
            took = processor_time() - begun
            worst = max(worst, took)
            check(done.returncode == 0, f"another user: exit {done.returncode}: {done.stderr!r}")
            check(took < 0.5, f"it takes another user {took:.2f} s of processor (try {attempt + 1})")
        begun = processor_time()
        check(pool.run("status", "--json", executable=program, **as_user(1001)).returncode == 0, "status")
        check(processor_time() - begun < 2, f"status takes {processor_time() - begun:.1f} s of processor")
        check(strangers(pool) == count, "another user removed some")
        for _ in range(3):
            check(pool.run("run", "--cpu", "1", "--", "true").returncode == 0, "root")
        left = strangers(pool)
        check(left < count, "root sweeps none")
    return f"worst {worst * 1000:.0f} ms of processor; after three commands of root's {left} of {count} are left"


def test_many_dead_holders_of_a_stranger():
    return many_dead("h")


def test_many_dead_waiters_of_a_stranger():
    return many_dead("w")


def test_many_dead_of_every_state():
    return many_dead("hwa")


def test_a_stranger_names_many_devices():
    """The names in dead records do not use up what the living need."""
    if not_root():
        return f"skipped: {not_root()}"
    program = public_berth()
    with Pool(sim_gpus="2x24G") as pool:
        os.chmod(pool.root, 0o755)
        holder = pool.spawn("run", "--gpus", "2", "--", "cat", stdin=subprocess.PIPE, executable=program)
        wait_name(pool, "h1,")
        waiter = pool.spawn("run", "--gpus", "1", "--", "sh", "-c", "exit 5", executable=program, **as_user(1001))
        wait_until(lambda: entry_of(pool, waiter.pid), 10, "a waiter", pool)
        rng = random.Random(seed())

        def work():
            for i in range(40):
                claim = "gpu=1+" + "+".join(f"on=FAKE-{i}-{j}:1" for j in range(64))
                os.symlink(claim + "\npid 1", os.path.join(pool.path, record("w", some_id(rng), STRANGER, claim="@")))
            for i in range(12):
                claim = "+".join(f"fake.{i}.{j}=1" for j in range(12))
                os.symlink(claim + "\npid 1", os.path.join(pool.path, record("w", some_id(rng), STRANGER, claim="@")))
        in_child(STRANGER, work)
        told = sorted(lease["pid"] for lease in pool.leases())
        check(told == sorted([holder.pid, waiter.pid]), f"status lists {told}, not the holder {holder.pid} and the waiter {waiter.pid}")
        done = pool.run("run", "--gpus", "1", "--no-wait", "--", "true", executable=program, **as_user(1002))
        check(done.returncode == 75, f"both GPUs are held: exit {done.returncode}: {done.stderr!r}")
        check(end_holder(holder) == 0, f"the holder: {pool.err(holder)!r}")
        check(wait_exit(waiter, 10, pool) == 5, f"the waiter: {waiter.returncode} {pool.err(waiter)!r}")
    return ""


def test_more_devices_than_can_be_told_apart():
    """Nobody is granted anything on half a picture: one clear line that names who is to blame."""
    if not_root():
        return f"skipped: {not_root()}"
    with Pool(sim_gpus="1x24G") as pool:
        holder = spawn_holder(pool, "--gpus", "1")
        rng = random.Random(seed())

        def work():
            for i in range(1040):
                claim = "gpu=1+" + "+".join(f"on=FAKE-{i}-{j}:1" for j in range(64))
                os.symlink(claim + "\npid 1", os.path.join(pool.path, record("w", some_id(rng), STRANGER, claim="@")))
        in_child(STRANGER, work)
        for words in (("run", "--gpus", "1", "--no-wait", "--", "true"), ("status",)):
            one_clear_line(pool.run(*words), 125, "told apart", f"user's {STRANGER}")
        for name in os.listdir(pool.path):
            if f",{STRANGER}," in name:
                os.unlink(os.path.join(pool.path, name))
        done = pool.run("run", "--gpus", "1", "--no-wait", "--", "true")
        check(done.returncode == 75, f"afterwards: {done.returncode} {done.stderr!r}")
        check(end_holder(holder) == 0, f"the holder: {pool.err(holder)!r}")
    return ""


# ---------------------------------------------------------------- the lock

def test_somebody_holds_the_lock():
    """Who holds it is named after a second; nobody hangs beyond what he said, and a signal still ends the wait."""
    with Pool(slot=1) as pool:
        locker = subprocess.Popen(["flock", pool.path, "-c", "echo; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check(locker.stdout.readline() == b"\n", "flock")
        begun = time.monotonic()
        done = pool.run("run", "--timeout", "2s", "-r", "slot=1", "--", "true")
        took = time.monotonic() - begun
        check(done.returncode == 124 and 1.8 < took < 4, f"--timeout 2s: exit {done.returncode} after {took:.1f} s: {done.stderr!r}")
        check(f"held by pid {locker.pid}" in done.stderr or "held by pid" in done.stderr, f"who is not named: {done.stderr!r}")
        check(pool.run("status", timeout=5).returncode == 0, "status waits for the lock")
        for words in (("run", "-r", "slot=1", "--", "true"), ("set", "slot=2")):
            process = pool.spawn(*words)
            wait_until(lambda p=process: "held by" in pool.err(p), 10, f"{words[0]} to say who holds the lock", pool)
            kill(process.pid, signal.SIGTERM)
            check(wait_exit(process, 3, pool) == -signal.SIGTERM, f"{words[0]}: SIGTERM while it waits for the lock: {process.returncode}")
        locker.stdin.close()
        locker.wait(5)
        locker.stdout.close()
        pid_ended(locker.pid)
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
        check(done.returncode == 0, f"afterwards: {done.stderr!r}")
    return ""


def test_poll_that_fails():
    """Whoever cannot even sleep - for the lock or in line - looks now and then, not in a frenzy, and ends in time."""
    why = strace_missing()
    if why:
        return f"skipped: {why}"
    with Pool(slot=1) as pool:
        trace = os.path.join(pool.tmp, "trace")

        def late(what):
            words = ["strace", "-f", "-qq", "-o", trace, "-e", "trace=poll,ppoll", "-e", "inject=poll,ppoll:error=ENOMEM",
                     berth(), "run", "--timeout", "1500ms", "-r", "slot=1", "--", "true"]
            done = subprocess.run(words, env=pool.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  timeout=20, check=False, text=True)
            with open(trace, encoding="utf-8") as f:
                calls = sum("poll(" in line for line in f)
            check(done.returncode == 124, f"{what}: exit {done.returncode}: {done.stderr!r}")
            check(1 < calls < 400, f"{what}: {calls} calls of poll in 1.5 s")
            return calls, done.stderr
        holder = spawn_holder(pool, "-r", "slot=1")
        in_line, _ = late("in line")
        locker = subprocess.Popen(["flock", pool.path, "-c", "echo; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check(locker.stdout.readline() == b"\n", "flock")
        at_the_lock, said = late("at the lock")
        check("held by" in said, f"who holds the lock is not named: {said!r}")
        locker.stdin.close()
        locker.wait(5)
        locker.stdout.close()
        end_holder(holder)
    return f"{in_line} looks in line, {at_the_lock} at the lock"


main([test_full_in_bytes, test_full_in_inodes, test_no_descriptors_left, test_unwritable_pool, test_read_only_pool,
      test_pool_on_another_file_system, test_pool_that_is_no_directory, test_a_relative_pool, test_pool_removed_and_made_again,
      test_own_record_removed, test_hostile_own_directory, test_hostile_settings, test_settings_of_a_stranger,
      test_other_things_in_the_pool, test_other_things_for_lives, test_a_bell_that_is_none,
      test_a_bell_that_may_not_be_rung, test_garbled_records, test_garbled_targets,
      test_newer_records, test_stray_names_are_no_newer_records, test_an_arrival_from_the_far_future,
      test_many_dead_holders_of_a_stranger, test_many_dead_waiters_of_a_stranger, test_many_dead_of_every_state,
      test_a_stranger_names_many_devices, test_more_devices_than_can_be_told_apart, test_poll_that_fails, test_somebody_holds_the_lock])
