"""Shared helpers of the black-box tests: they run the built program as anybody would, from outside.

    with Pool(slot=3) as pool:                        a private pool, gone at the end
        pool.run("run", "-r", "slot=1", "--", "true")  the words after "berth"; waits for the end
        p = pool.spawn("run", "-r", "slot=1", "--", "sleep", "9")
        pool.wait_for(held=1, waiting=0)
    main([test_one, test_two])

The program is $BERTH, else build/berth of this checkout. Nothing here believes the program's own
books about who runs: jobs are a small C program, the witness, which takes flock()s of its own.

Everything that a test starts is a descendant of the test (it is made the reaper of its orphans), and
is ended by its id, whatever happens. A hang is a failure with evidence: see evidence().
"""
import ctypes
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))

# For a program with the address sanitizer in it. What it had is the system's when it ends; a crash that is
# meant is to look like one; and a library of ours may come before its own.
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0:handle_segv=0:verify_asan_link_order=0")


class Failure(AssertionError):
    """A test's own verdict, as opposed to an error in the test."""


def fail(message):
    raise Failure(message)


def check(condition, message):
    if not condition:
        raise Failure(message)


def berth():
    """The path of the program under test."""
    path = os.environ.get("BERTH") or os.path.join(HERE, "..", "..", "build", "berth")
    path = os.path.abspath(path)
    if not os.access(path, os.X_OK):
        sys.exit(f"no program at {path}: build it, or set BERTH")
    return path


def slower():
    """By how much a limit of time may be larger: a program with a sanitizer in it takes its time to start."""
    with open(berth(), "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as program:
        return 10 if any(program.find(name) >= 0 for name in (b"libasan.so", b"libtsan.so")) else 1


def seed():
    """The seed of this run, printed once; BERTH_TEST_SEED repeats a run as far as the kernel lets it."""
    global _seed
    if _seed is None:
        _seed = int(os.environ.get("BERTH_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"seed {_seed} (BERTH_TEST_SEED)", flush=True)
    return _seed


_seed = None


# ---------------------------------------------------------------- processes

def _adopt_orphans():
    pr_set_child_subreaper = 36
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


_adopt_orphans()


def children(pid):
    """The direct children of a process, by id; empty when it is gone."""
    found = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as f:
                found += [int(word) for word in f.read().split()]
        except OSError:
            pass
    return found


def descendants(pid=None):
    """All processes below `pid` (default: below this test), parents first."""
    found = []
    todo = children(pid or os.getpid())
    while todo:
        one = todo.pop(0)
        found.append(one)
        todo += children(one)
    return found


def proc_state(pid):
    """The letter of /proc/PID/stat, or "" when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def sleeps(pid):
    """How often a process has gone to sleep."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
        return [int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches")][0]


def is_running(pid):
    """True while the process exists and is no zombie."""
    return proc_state(pid) not in ("", "Z", "X")


def kill(pid, sig=signal.SIGKILL):
    """Signals one process; False when it is gone."""
    try:
        os.kill(pid, sig)
        return True
    except ProcessLookupError:
        return False


def end_all():
    """Ends every process that this test has started and that still runs, by id."""
    for _ in range(200):
        alive = [pid for pid in descendants() if is_running(pid)]
        for pid in alive:
            kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            return
        if not alive:
            time.sleep(0.002)
    print("warning: could not end", descendants(), file=sys.stderr)


# ---------------------------------------------------------------- evidence

def _read(path, limit=2000):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read(limit)
    except OSError as e:
        return f"({e.strerror})"


def describe_process(pid, stack=False):
    fields = {}
    for line in _read(f"/proc/{pid}/status").splitlines():
        name, _, value = line.partition(":")
        fields[name] = value.strip()
    cmd = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    lines = [f"pid {pid} ppid {fields.get('PPid')} state {fields.get('State')} "
             f"switches {fields.get('voluntary_ctxt_switches')} SigPnd {fields.get('ShdPnd')} "
             f"SigBlk {fields.get('SigBlk')}: {cmd[:200]}"]
    for thread in sorted(os.listdir(f"/proc/{pid}/task")) if os.path.isdir(f"/proc/{pid}/task") else []:
        base = f"/proc/{pid}/task/{thread}"
        kernel = " < ".join(l.split()[-1].split("+")[0] for l in _read(f"{base}/stack").splitlines()[:5] if l.strip())
        lines.append(f"    thread {thread}: wchan {_read(f'{base}/wchan')} syscall {_read(f'{base}/syscall').strip()} [{kernel}]")
    fds = []
    try:
        for fd in sorted(os.listdir(f"/proc/{pid}/fd"), key=int)[:60]:
            fds.append(f"{fd}={os.readlink(f'/proc/{pid}/fd/{fd}')}")
    except OSError:
        pass
    lines.append("    fds " + " ".join(fds))
    if stack and shutil.which("gdb"):
        try:
            gdb = subprocess.run(["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "thread apply all bt 25"],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False, text=True)
            lines += ["    | " + l for l in gdb.stdout.splitlines() if l.startswith("#") or l.startswith("Thread")][:60]
        except (OSError, subprocess.SubprocessError) as e:
            lines.append(f"    gdb: {e}")
    return "\n".join(lines)


def evidence(pool=None, stacks=6, most=60):
    """Prints all that can be seen of the processes involved and of the pool, to stderr."""
    out = ["", "---- evidence ----"]
    pids = descendants()
    out.append(f"{len(pids)} processes")
    shown = 0
    for pid in pids[:most]:
        if proc_state(pid) in ("", "Z"):
            out.append(f"pid {pid}: zombie or gone")
            continue
        is_berth = os.path.basename(berth()) in _read(f"/proc/{pid}/comm")
        out.append(describe_process(pid, stack=is_berth and shown < stacks))
        shown += is_berth
    if len(pids) > most:
        out.append(f"... and {len(pids) - most} more")
    for one in [pool] if pool else list(_open_pools):
        out.append(f"pool {one.path}:")
        try:
            for name in sorted(os.listdir(one.path))[:400]:
                target = ""
                if os.path.islink(f"{one.path}/{name}"):
                    target = " -> " + os.readlink(f"{one.path}/{name}").replace("\n", "|")
                out.append(f"    {name}{target}")
            inode = os.stat(one.path).st_ino
            out += ["    lock: " + l.strip() for l in _read("/proc/locks", 1 << 20).splitlines() if f":{inode} " in l]
        except OSError as e:
            out.append(f"    {e}")
        try:
            status = subprocess.run([berth(), "status"], env=one.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    timeout=10, check=False, text=True, errors="replace")
            out += ["    " + l for l in status.stdout.splitlines()[:250]]
        except (OSError, subprocess.SubprocessError) as e:
            out.append(f"    status: {e}")
    out.append("---- end of evidence ----")
    print("\n".join(out), file=sys.stderr, flush=True)


def wait_until(condition, timeout=10.0, what="", pool=None, interval=0.001):
    """Asks until `condition()` is true and returns what it said; fails with evidence after `timeout`."""
    until = time.monotonic() + timeout
    pause = interval
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() >= until:
            what = what or getattr(condition, "__name__", "a condition")
            evidence(pool)
            fail(f"waited {timeout} s in vain for: {what}")
        time.sleep(pause)
        pause = min(0.02, pause * 1.3)


# ---------------------------------------------------------------- a pool of one's own

_open_pools = []


class Pool:
    """A private pool below /dev/shm. Capacities as keywords: Pool(slot=3); Pool(sim_gpus="2x24G").

    path   the pool's directory (berth makes it, unless make=False and no capacity is given)
    tmp    a directory for the test's own files, outside the pool
    state  where its jobs' history goes (state/berth, once there is one)
    env    the environment that berth gets
    """

    def __init__(self, sim_gpus=None, path=None, env=None, **capacities):
        self.sim_gpus = sim_gpus
        self.capacities = capacities
        self.path = path
        self._extra = env or {}

    def __enter__(self):
        self.root = tempfile.mkdtemp(prefix="berthtest-", dir="/dev/shm")
        os.chmod(self.root, 0o755)
        self.path = self.path or os.path.join(self.root, "pool")
        self.tmp = os.path.join(self.root, "tmp")
        os.mkdir(self.tmp)
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith("BERTH_") and k not in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")}
        self.env["BERTH_POOL"] = self.path
        self.env["LC_ALL"] = "C"
        self.state = self.env["XDG_STATE_HOME"] = os.path.join(self.tmp, "state")  # nobody's history but the test's own
        if self.sim_gpus:
            self.env["BERTH_SIM_GPUS"] = self.sim_gpus
        self.env.update(self._extra)
        self._count = 0
        _open_pools.append(self)
        if self.capacities:
            done = self.run("set", *[f"{k}={v}" for k, v in self.capacities.items()])
            check(done.returncode == 0, f"berth set: {done.stderr}")
        return self

    def __exit__(self, *_):
        end_all()
        if self in _open_pools:
            _open_pools.remove(self)
        shutil.rmtree(self.root, ignore_errors=True)
        return False

    def run(self, *args, timeout=30, **kw):
        """Runs `berth ARGS` to its end: a CompletedProcess with text. A hang is a failure."""
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        kw.setdefault("env", self.env)
        kw.setdefault("text", True)
        if kw["text"]:
            kw.setdefault("errors", "replace")
        with subprocess.Popen([berth(), *map(str, args)], **kw) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                evidence(self)
                process.kill()
                fail(f"berth {' '.join(map(str, args))}: no end after {timeout} s")
            return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def spawn(self, *args, **kw):
        """Starts `berth ARGS`. Unless told otherwise what it says goes to files: see err(process), out(process)."""
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("env", self.env)
        self._count += 1
        paths = {}
        opened = []
        for stream in ("stdout", "stderr"):
            if stream not in kw:
                paths[stream] = os.path.join(self.tmp, f"{self._count}.{stream}")
                kw[stream] = open(paths[stream], "wb")  # pylint: disable=consider-using-with
                opened.append(kw[stream])
        process = subprocess.Popen([berth(), *map(str, args)], **kw)  # pylint: disable=consider-using-with
        for f in opened:
            f.close()
        process.said = paths
        return process

    @staticmethod
    def err(process):
        return _read(process.said["stderr"], 1 << 20)

    @staticmethod
    def out(process):
        return _read(process.said["stdout"], 1 << 20)

    def status(self):
        """status --json, decoded."""
        done = self.run("status", "--json")
        check(done.returncode == 0, f"berth status: exit {done.returncode}: {done.stderr}")
        try:
            return json.loads(done.stdout)
        except ValueError as e:
            return fail(f"berth status --json: {e}: {done.stdout!r}")

    def leases(self, state=None):
        return [l for l in self.status()["leases"] if state is None or l["state"] == state]

    def lease_of(self, process):
        """The lease that a spawned `berth run` stands for, or None."""
        for lease in self.leases():
            if lease["pid"] == process.pid:
                return lease
        return None

    def wait_for(self, held=None, waiting=None, timeout=10.0):
        """Waits until so many hold and so many wait; returns the status that said so."""
        last = {}

        def counts():
            last["status"] = self.status()
            states = [l["state"] for l in last["status"]["leases"]]
            return (held is None or states.count("held") == held) and (waiting is None or states.count("waiting") == waiting)

        wait_until(counts, timeout, f"{held} held, {waiting} waiting", self)
        return last["status"]

    def entries(self):
        """What lies in the pool, names only: records, and the FIFOs below the users' directories."""
        found = []
        for base, dirs, files in os.walk(self.path):
            rel = os.path.relpath(base, self.path)
            found += [os.path.normpath(os.path.join(rel, name)) for name in files + dirs]
        return sorted(found)

    def leftovers(self):
        """Entries that belong to no living party's absence: all but the pool's settings and the users' directories."""
        return [e for e in self.entries() if e != "pool" and not (e.startswith("u") and "/" not in e)]


def wait_exit(process, timeout=10.0, pool=None):
    """The exit status of a spawned process; fails with evidence when it does not end."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        evidence(pool)
        return fail(f"pid {process.pid} ({' '.join(process.args[1:])[:100]}): no end after {timeout} s")


def job_of(process, timeout=10.0):
    """The id of the command that a spawned `berth run` has started."""
    return wait_until(lambda: children(process.pid), timeout, f"pid {process.pid} to start its command")[0]


def pid_ended(pid, timeout=10.0):
    wait_until(lambda: not is_running(pid), timeout, f"pid {pid} to end")


# ---------------------------------------------------------------- the witness

# witness DIR SPEC HOW TAG [CMD ARG...]
#   SPEC  "slot:3" one of three locks; "gpu" the lock of each granted device; several joined by ","; "-" none
#   HOW   milliseconds to hold; "-1" until SIGUSR1 (exit 0) or death; "exec" become CMD, locks and all
#   TAG   "-" says nothing; else "start TAG PID NS" and "end TAG PID NS" go to DIR/log (CLOCK_MONOTONIC)
# A lock that a living process holds is an over-grant: it goes to DIR/violations, exit 99. A process on
# its way out may lose its locks a moment after its other descriptors: only that is waited for.
_WITNESS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static const char* dir;
static const char* tag;

static void add_line(const char* file, const char* line) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", dir, file);
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0 || write(fd, line, strlen(line)) < 0) _exit(98);
  close(fd);
}

static void tell(const char* what) {
  if (strcmp(tag, "-") == 0) return;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  char line[256];
  snprintf(line, sizeof line, "%s %s %d %lld\n", what, tag, (int)getpid(), t.tv_sec * 1000000000LL + t.tv_nsec);
  add_line("log", line);
}

/* Is the process whose id stands in the lock's file there, and not on its way out? */
static int owner_lives(int fd, char* who, size_t size) {
  char text[32] = "";
  char path[64];
  char stat[1024] = "";
  if (pread(fd, text, sizeof text - 1, 0) <= 0) return 0;
  int pid = atoi(text);
  snprintf(who, size, "%d", pid);
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int p = open(path, O_RDONLY | O_CLOEXEC);
  if (p < 0) return 0;
  ssize_t got = read(p, stat, sizeof stat - 1);
  close(p);
  if (got <= 0) return 0;
  char* end = strrchr(stat, ')');
  char state = 0;
  unsigned flags = 0;
  if (!end || sscanf(end + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2) return 0;
  if (state == 'Z' || state == 'X' || (flags & 0x4u)) return 0; /* PF_EXITING */
  /* A process that was killed and has not noticed yet is as good as gone. */
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  char status[4096] = "";
  p = open(path, O_RDONLY | O_CLOEXEC);
  if (p < 0) return 0;
  got = read(p, status, sizeof status - 1);
  close(p);
  unsigned long long pending = 0;
  unsigned long long shared = 0;
  char* a = strstr(status, "SigPnd:");
  char* b = strstr(status, "ShdPnd:");
  if (got <= 0 || !a || !b) return 0;
  sscanf(a + 7, "%llx", &pending);
  sscanf(b + 7, "%llx", &shared);
  return ((pending | shared) & (1ull << (SIGKILL - 1))) == 0;
}

static int take(const char* name) {
  char path[512];
  snprintf(path, sizeof path, "%s/lock.%s", dir, name);
  int low = open(path, O_RDWR | O_CREAT, 0666);
  int fd = low < 0 ? -1 : fcntl(low, F_DUPFD, 600); /* above the life: it goes first when we die */
  if (fd < 0) exit(97);
  close(low);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    return -1;
  }
  char text[16];
  memset(text, 0, sizeof text);
  snprintf(text, sizeof text, "%d", (int)getpid());
  if (pwrite(fd, text, sizeof text, 0) < 0) exit(96);
  return fd;
}

static int someone_lives(const char* name, char* who, size_t size) {
  char path[512];
  snprintf(path, sizeof path, "%s/lock.%s", dir, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  int lives = fd >= 0 && owner_lives(fd, who, size);
  close(fd);
  return lives;
}

/* One of `count` locks of this name; all taken by the living is an over-grant. */
static void take_one(const char* name, int count) {
  char holders[512] = "";
  for (int tries = 0; tries < 20000; ++tries) {
    int lives = 0;
    holders[0] = 0;
    for (int i = 0; i < count; ++i) {
      char full[64];
      char who[24] = "?";
      snprintf(full, sizeof full, "%s.%d", name, i);
      if (take(full) >= 0) return;
      if (someone_lives(full, who, sizeof who)) ++lives;
      if (strlen(holders) < 400) strcat(strcat(holders, " "), who);
    }
    if (lives == count) break;
    usleep(100);
  }
  char line[1024];
  const char* id = getenv("BERTH_ID");
  snprintf(line, sizeof line, "over-grant of %s: pid %d lease %s came while%s held all %d\n", name, (int)getpid(),
           id ? id : "?", holders, count);
  add_line("violations", line);
  exit(99);
}

static volatile sig_atomic_t told = 0;
static void on_usr1(int s) { (void)s; told = 1; }

int main(int argc, char** argv) {
  if (argc < 5) return 95;
  dir = argv[1];
  tag = argv[4];
  sigset_t usr1;
  sigset_t before;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  if (strcmp(argv[3], "-1") == 0) {
    sigprocmask(SIG_BLOCK, &usr1, &before);
    signal(SIGUSR1, on_usr1);
  }
  char spec[256];
  snprintf(spec, sizeof spec, "%s", argv[2]);
  for (char* save = NULL, *word = strtok_r(spec, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
    char* colon = strchr(word, ':');
    if (strcmp(word, "-") == 0) continue;
    if (colon) {
      *colon = 0;
      take_one(word, atoi(colon + 1));
      continue;
    }
    const char* granted = getenv("BERTH_DEVICES");
    if (!granted || !*granted) {
      add_line("violations", "a GPU was granted and BERTH_DEVICES does not say which\n");
      return 99;
    }
    char devices[1024];
    snprintf(devices, sizeof devices, "%s", granted);
    for (char* s = NULL, *d = strtok_r(devices, ",", &s); d; d = strtok_r(NULL, ",", &s)) take_one(d, 1);
  }
  tell("start");
  if (strcmp(argv[3], "exec") == 0) {
    if (argc < 6) return 95;
    execvp(argv[5], argv + 5);
    return 127;
  }
  long ms = atol(argv[3]);
  if (ms < 0) {
    while (!told) sigsuspend(&before);
  } else {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
  }
  tell("end");
  return 0;
}
"""

_witness_path = None


def witness_program():
    """Path of the compiled witness; made once a test run, removed at its end."""
    global _witness_path
    if _witness_path is None:
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not compiler:
            sys.exit("no C compiler for the witness: install one, or set CC")
        import atexit
        place = tempfile.mkdtemp(prefix="berthtest-bin-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        source = os.path.join(place, "witness.c")
        with open(source, "w", encoding="ascii") as f:
            f.write(_WITNESS)
        target = os.path.join(place, "witness")
        command = [compiler, "-O2", "-w", "-o", target, source]
        # Statically linked it starts in half the time.
        if subprocess.run(command + ["-static"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            subprocess.run(command, check=True)
        _witness_path = target
    return _witness_path


class Witness:
    """Jobs that judge from outside. job() gives the words of a command; check() fails on any over-grant."""

    def __init__(self, pool, name="witness"):
        self.dir = os.path.join(pool.tmp, name)
        self.pool = pool
        os.mkdir(self.dir)

    def job(self, spec="-", ms=-1, tag="-", command=()):
        how = "exec" if command else str(ms)
        return [witness_program(), self.dir, spec, how, str(tag), *map(str, command)]

    def violations(self):
        path = os.path.join(self.dir, "violations")
        return _read(path, 1 << 20).splitlines() if os.path.exists(path) else []

    def check(self):
        found = self.violations()
        check(not found, f"{len(found)} violations: " + "; ".join(found[:5]))

    def log(self, what=None):
        """What the jobs said, in order: (what, tag, pid, ns)."""
        path = os.path.join(self.dir, "log")
        if not os.path.exists(path):
            return []
        found = []
        for line in _read(path, 1 << 26).splitlines():
            word, tag, pid, ns = line.split()
            if what is None or word == what:
                found.append((word, tag, int(pid), int(ns)))
        return found

    def started(self, tag, timeout=10.0):
        """Waits for the job of this tag to start: (pid, ns)."""
        def look():
            return [(pid, ns) for _, t, pid, ns in self.log("start") if t == str(tag)]
        return wait_until(look, timeout, f"the job {tag} to start", self.pool)[-1]

    def has_started(self, tag):
        return any(t == str(tag) for _, t, _, _ in self.log("start"))


# ---------------------------------------------------------------- the runner

class _TooLong(Failure):
    pass


def main(tests, limit=120):
    """Runs the functions given, each for at most `limit` seconds; prints a summary; ends the program."""
    only = sys.argv[1:]
    passed = failed = 0
    current = {"deadline": 0.0}

    def too_long(*_):
        evidence()
        raise _TooLong(f"no end after {limit} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for test in tests:
            name = test.__name__
            if only and name not in only and name.removeprefix("test_") not in only:
                continue
            begun = time.monotonic()
            current["deadline"] = begun + limit
            signal.alarm(limit)
            try:
                said = test()
                passed += 1
                print(f"ok    {name} ({time.monotonic() - begun:.1f} s)" + (f": {said}" if said else ""), flush=True)
            except Failure as e:
                failed += 1
                where = [f for f in traceback.extract_tb(e.__traceback__) if f.filename != __file__]
                line = f" [{os.path.basename(where[-1].filename)}:{where[-1].lineno}]" if where else ""
                print(f"FAIL  {name} ({time.monotonic() - begun:.1f} s): {e}{line}", flush=True)
            except Exception:  # pylint: disable=broad-except
                failed += 1
                print(f"FAIL  {name}: an error in the test itself", flush=True)
                traceback.print_exc()
            finally:
                signal.alarm(0)
                end_all()
    finally:
        signal.alarm(0)
        end_all()
        for pool in list(_open_pools):
            shutil.rmtree(pool.root, ignore_errors=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)
