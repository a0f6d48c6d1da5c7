"""What the fault tests share: system calls that fail or kill, and a program that every user can run."""
import atexit
import os
import re
import shutil
import subprocess
import tempfile
import time

from berthtest import berth, children, evidence, fail, kill


def strace_missing():
    """Why faults cannot be injected here, or ""."""
    strace = shutil.which("strace")
    if not strace:
        return "there is no strace"
    try:
        done = subprocess.run([strace, "-qq", "-o", "/dev/null", "-e", "inject=getpid:error=EIO:when=1", "true"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=20, check=False, text=True)
    except subprocess.TimeoutExpired:
        return "strace hangs here"
    return "" if done.returncode == 0 else "strace does not work here: " + (done.stderr.strip().splitlines() or ["?"])[0]


class Launcher:
    """Starts `berth ARGS` as it is (no fault), recorded, or with a fault in it: one object a run.

    fault   what strace's inject= takes, e.g. "flock:signal=KILL:when=2"
    trace   a path: the calls are recorded there
    """

    def __init__(self, pool, fault=None, trace=None, who=None):
        self.pool = pool
        self.fault = fault
        self.trace = trace
        self.who = who or {}
        self.process = None
        self.stderr_path = os.path.join(pool.tmp, "launched.stderr")
        self.stdout_path = os.path.join(pool.tmp, "launched.stdout")

    def start(self, *args):
        words = [berth(), *args]
        if self.fault:
            words = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=" + self.fault.split(":")[0],
                     "-e", "inject=" + self.fault, *words]
        elif self.trace:
            words = ["strace", "-qq", "-o", self.trace, *words]
        with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as err:
            self.process = subprocess.Popen(words, env=self.pool.env, stdin=subprocess.DEVNULL, stdout=out,  # pylint: disable=consider-using-with
                                            stderr=err, **self.who)
        return self.process

    def ended(self):
        return self.process.poll() is not None

    def finish(self, timeout=10.0, what=""):
        """The exit status; a hang is a failure, and is ended."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            evidence(self.pool)
            self.end()
            return fail(f"no end after {timeout} s: {what or self.fault}; it said {self.said()!r}")

    def end(self):
        for pid in children(self.process.pid) + [self.process.pid]:
            kill(pid)
        self.process.wait(10)

    def said(self):
        with open(self.stderr_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def put_out(self):
        with open(self.stdout_path, encoding="utf-8", errors="replace") as f:
            return f.read()


def calls_of(trace_path, start):
    """[(name, nth, line)]: the calls of a recorded run from the first that mentions `start` on; nth counts all of them."""
    seen = {}
    found = []
    begun = False
    with open(trace_path, encoding="utf-8", errors="replace") as f:
        for line in f:
            m = re.match(r"(\w+)\(", line)
            if not m or m[1] == "execve":
                continue
            seen[m[1]] = seen.get(m[1], 0) + 1
            begun = begun or start in line
            if begun:
                found.append((m[1], seen[m[1]], line))
    return found


def wait_name(pool, prefix, until=None, timeout=10.0):
    """Waits until an entry with this prefix stands in the pool, or `until()` is true; True for the entry."""
    end = time.monotonic() + timeout
    while True:
        try:
            if any(name.startswith(prefix) for name in os.listdir(pool.path)):
                return True
        except OSError:
            pass
        if until and until():
            return False
        if time.monotonic() > end:
            evidence(pool)
            fail(f"no entry {prefix}... within {timeout} s")
        time.sleep(0.0005)


def entry_of(pool, pid):
    """The name of the record that this process wrote, or ""."""
    try:
        for name in os.listdir(pool.path):
            if name[1:3] == "1," and f"\npid {pid}\n" in os.readlink(os.path.join(pool.path, name)) + "\n":
                return name
    except OSError:
        pass
    return ""


def spawn_holder(pool, *claim, **kw):
    """A berth that holds `claim` until end_holder()."""
    holder = pool.spawn("run", *claim, "--", "cat", stdin=subprocess.PIPE, **kw)
    wait_name(pool, "h1,", lambda: holder.poll() is not None)
    if holder.poll() is not None:
        fail(f"the holder ended: {holder.returncode}: {pool.err(holder)}")
    return holder


def end_holder(holder, timeout=10.0):
    holder.stdin.close()
    return holder.wait(timeout)


_public = {}


def public(program):
    """A copy of a program at a place where every user may run it."""
    if program not in _public:
        place = tempfile.mkdtemp(prefix="berthtest-bin-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        os.chmod(place, 0o755)
        _public[program] = os.path.join(place, os.path.basename(program))
        shutil.copy(program, _public[program])
        os.chmod(_public[program], 0o755)
    return _public[program]


def public_berth():
    return public(berth())


def as_user(uid, umask=0o022):
    """Keywords for subprocess (and Pool.run, Pool.spawn) that make it run as this user, without groups."""
    return {"user": uid, "group": uid, "extra_groups": [], "umask": umask}
