"""status while everything moves: nobody who lives throughout is ever missed, it never fails, it takes no lock."""
import fcntl
import json
import os
import shutil
import signal
import subprocess
import threading
import time

from berthtest import Pool, berth, check, is_running, kill, main, wait_until
from faultkit import entry_of, strace_missing

READERS = 4
LOOKS = int(os.environ.get("BERTH_TEST_LOOKS", "10000"))
# A claim of so many words stands in the target of its record and not in its name.
LONG = [f"resource-of-quite-a-long-name-{i}" for i in range(8)]


def long_claim(least=None):
    """The words of a claim that does not fit a name; `least` is the resource it has to wait for."""
    names = LONG[1:] + [least or LONG[0]]
    return [word for name in names for word in ("-r", f"{name}=1")]


class Lasting:
    """Parties that live throughout: {label: state}."""

    def __init__(self, pool):
        self.pool = pool
        self.states = {}
        self.processes = {}

    def add(self, label, state, *words):
        self.processes[label] = self.pool.spawn("run", "--label", label, *words)
        self.expect(label, state)

    def expect(self, label, state):
        self.states[label] = state
        wait_until(lambda: self.seen().get(label) == state, 10, f"{label} to be {state}", self.pool)

    def seen(self):
        return {lease["label"]: lease["state"] for lease in self.pool.leases()}

    def add_all(self):
        """Holders and waiters, with claims in the name and in the target, at the top and inside a lease."""
        self.add("holder", "held", "-r", "slot=1", "-r", "door=2", "--", "sleep", "1000")
        self.add("long holder", "held", *long_claim(), "--", "sleep", "1000")
        self.add("waiter", "waiting", "-r", "door=1", "--", "true")
        self.add("long waiter", "waiting", *long_claim("door"), "--", "true")
        b, sat = berth(), os.path.join(self.pool.tmp, "sat")
        self.add("around", "held", "-r", "inner=2", "--", "sh", "-c",
                 f"{b} run --label 'inner holder' -r inner=2 -- sh -c ': > {sat}; exec sleep 1000' & "
                 f"until [ -e {sat} ]; do sleep 0.01; done; {b} run --label 'inner waiter' -r inner=1 -- true & wait")
        self.expect("inner holder", "held")
        self.expect("inner waiter", "waiting")

    def check(self, text):
        """One answer of status --json: every lasting party exactly once, in its state."""
        try:
            told = json.loads(text)
        except ValueError as e:
            return f"no JSON ({e}): {text[:300]!r}"
        if told.get("version") != 1:
            return f"version {told.get('version')!r}"
        labels = [lease["label"] for lease in told["leases"]]
        states = {lease["label"]: lease["state"] for lease in told["leases"]}
        for label, state in self.states.items():
            if labels.count(label) != 1:
                return f"{label!r} is there {labels.count(label)} times, among {len(labels)}"
            if states[label] != state:
                return f"{label!r} is {states[label]} and not {state}"
        return ""


def lasting_pool():
    return Pool(slot=3, door=2, inner=2, lane=2, nest=2, **{name: 4 for name in LONG})


class Stirrer:
    """Stops waiters and lets them continue, for ever: each time they rename their records."""

    def __init__(self, pids):
        self.pids = pids
        self.turns = 0
        self.going = True
        self.thread = threading.Thread(target=self.stir)
        self.thread.start()

    def stir(self):
        while self.going:
            for sig in (signal.SIGTSTP, signal.SIGCONT):
                for pid in self.pids:
                    kill(pid, sig)
                time.sleep(0.003)
            self.turns += 1

    def stop(self):
        self.going = False
        self.thread.join()


def waiter_pids(pool, *labels):
    return [lease["pid"] for lease in pool.leases("waiting") if lease["label"] in labels]


def churn(pool):
    """Shells that take and give back for ever, beside each other, in line, inside a lease, and killed in the middle."""
    b = berth()
    claims = ["-r slot=1", "-r lane=1 -r slot=1", " ".join(long_claim()), "--no-wait -r lane=2"]
    loops = [f"while :; do {b} run {claim} -- true; done" for claim in claims]
    loops.append(f"exec {b} run -r nest=2 -- sh -c 'while :; do {b} run -r nest=1 -- true & {b} run -r nest=2 -- true; wait; done'")
    loops.append(f"while :; do {b} run -r lane=1 -- sleep 9 & sleep 0.01; kill -9 $!; wait; done")
    return [subprocess.Popen(["sh", "-c", loop], env=pool.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) for loop in loops]


READ = 'i=0; while [ $i -lt $2 ]; do "$1" status --json || echo "exit $?"; i=$((i+1)); done'


def read_all(pool, lasting, count):
    """`count` answers by several readers: what is wrong with each that is wrong, the number of answers, the most leases."""
    faults = []
    answers = [0] * READERS
    most = [0] * READERS

    def read(which):
        with subprocess.Popen(["sh", "-c", READ, "sh", berth(), str(count // READERS)], env=pool.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            for line in process.stdout:
                fault = lasting.check(line.decode("utf-8", "strict"))
                answers[which] += 1
                most[which] = max(most[which], line.count(b'"id"'))
                if fault:
                    faults.append(fault)
                    if len(faults) > 20:
                        process.kill()
                        return

    readers = [threading.Thread(target=read, args=(i,)) for i in range(READERS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return faults, sum(answers), max(most)


def test_ten_thousand_looks_during_churn():
    with lasting_pool() as pool:
        lasting = Lasting(pool)
        lasting.add_all()
        begun = time.monotonic()
        loops = churn(pool)
        stirrer = Stirrer(waiter_pids(pool, "waiter", "long waiter", "inner waiter"))
        try:
            faults, answers, most = read_all(pool, lasting, LOOKS)
        finally:
            stirrer.stop()
        took = time.monotonic() - begun
        check(not faults, f"{len(faults)} of {answers} answers are wrong: {faults[:5]}")
        check(answers == LOOKS // READERS * READERS, f"{answers} answers")
        check(all(loop.poll() is None for loop in loops), "the churn stopped")
        return f"{answers} answers in {took:.1f} s, up to {most} leases, {stirrer.turns} renames back and forth of each waiter"


def delayed_status(pool, call, nth):
    """status --json under strace, in which the nth `call` comes 50 ms late."""
    words = [shutil.which("strace"), "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:delay_enter=50000:when={nth}",
             berth(), "status", "--json"]
    done = subprocess.run(words, env=pool.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    check(done.returncode == 0, f"{call} {nth}: {done}")
    return done.stdout


def test_a_record_renamed_while_it_is_looked_at():
    """What moves between the scan and the closer look is looked for again, whichever call it moves before."""
    missing = strace_missing()
    if missing:
        return "skipped: " + missing
    looks = 0
    with lasting_pool() as pool:
        lasting = Lasting(pool)
        lasting.add_all()
        for call, most in (("readlinkat", 24), ("newfstatat", 32)):
            for nth in range(1, most + 1):
                stirrer = Stirrer(waiter_pids(pool, "waiter", "long waiter", "inner waiter"))
                try:
                    fault = lasting.check(delayed_status(pool, call, nth))
                finally:
                    stirrer.stop()
                check(not fault, f"the {call} number {nth} late: {fault}")
                looks += 1
    return f"{looks} looks"


def test_it_takes_no_lock():
    """It answers while another sits on the pool's lock, and asks for none itself."""
    with lasting_pool() as pool:
        lasting = Lasting(pool)
        lasting.add_all()
        pool_fd = os.open(pool.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(pool_fd, fcntl.LOCK_EX)
        for words in (["status", "--json"], ["status"], ["status", "--short"], ["doctor"]):
            begun = time.monotonic()
            done = pool.run(*words, timeout=5)
            check(done.returncode in (0, 1 if words == ["doctor"] else 0), f"{words}: {done}")
            check(time.monotonic() - begun < 2, f"{words}: took {time.monotonic() - begun:.1f} s under another's lock")
            if words == ["status", "--json"]:
                check(lasting.check(done.stdout) == "", lasting.check(done.stdout))
        # The lock did hold others up all the while.
        waiter = pool.spawn("run", "-r", "slot=1", "--", "true")
        time.sleep(0.2)
        check(is_running(waiter.pid) and not entry_of(pool, waiter.pid), "the lock is none")
        os.close(pool_fd)
        check(waiter.wait(10) == 0, "the lock was not given back")
        missing = strace_missing()
        if missing:
            return "without strace: " + missing
        trace = os.path.join(pool.tmp, "trace")
        done = subprocess.run(["strace", "-f", "-qq", "-o", trace, berth(), "status", "--json"], env=pool.env, capture_output=True,
                              text=True, timeout=20, check=False)
        check(done.returncode == 0, f"{done}")
        with open(trace, encoding="utf-8", errors="replace") as f:
            calls = f.read().splitlines()
        locks = [c for c in calls if "flock(" in c or "F_SETLK" in c or "F_OFD_SETLK" in c]
        writes = [c for c in calls if any(word in c for word in ("unlink", "symlinkat", "mkdir", "mknod", "rename", "O_CREAT", "O_RDWR"))
                  and '"/dev/null"' not in c]
        check(not locks and not writes, f"it locks or changes: {locks + writes}")
    return ""


main([test_ten_thousand_looks_during_churn, test_a_record_renamed_while_it_is_looked_at, test_it_takes_no_lock])
