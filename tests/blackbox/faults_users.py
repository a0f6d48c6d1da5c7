"""Several users, PID namespaces and user namespaces on one pool: no double grant, and nobody touches what is another's."""
import contextlib
import json
import os
import pwd
import subprocess
import time

from berthtest import (Pool, Witness, check, descendants, fail, is_running, job_of, kill, main, pid_ended, wait_exit, wait_until,
                       witness_program)
from faultkit import as_user, end_holder, entry_of, public, public_berth, wait_name

ANNE, BERT = 1001, 1002


def missing():
    return "" if os.geteuid() == 0 else "not root"


def shared_pool(**capacities):
    """A pool that root has made and all may use."""
    return Pool(**capacities)


def spawn(pool, uid, *words, umask=0o022, **kw):
    return pool.spawn(*words, executable=public_berth(), **as_user(uid, umask), **kw)


def run(pool, uid, *words, umask=0o022, **kw):
    return pool.run(*words, executable=public_berth(), **as_user(uid, umask), **kw)


def hold(pool, uid, *claim, umask=0o022):
    holder = spawn(pool, uid, "run", *claim, "--", "cat", umask=umask, stdin=subprocess.PIPE)
    wait_until(lambda: holder.poll() is not None or entry_of(pool, holder.pid).startswith("h1,"), 10, f"uid {uid} to hold", pool)
    if holder.poll() is not None:
        fail(f"uid {uid}: exit {holder.returncode}: {pool.err(holder)!r}")
    return holder


def as_uid(uid, work):
    """What `work()` says when done with this uid, in a child: "" or an error's name."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = ""
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            work()
        except OSError as e:
            said = type(e).__name__ + f" {e.errno}"
        except BaseException as e:  # pylint: disable=broad-except
            said = f"?{e}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as f:
        said = f.read()
    os.waitpid(pid, 0)
    return said


# ---------------------------------------------------------------- who was granted, judged from outside

def compete(pool, starters, rounds):
    """Every starter (a function of words after "run") starts `rounds` jobs at once; all come to run, and none beside another."""
    witness = Witness(pool)
    os.chmod(witness.dir, 0o777)
    for name in ("log", "violations"):
        path = os.path.join(witness.dir, name)
        with open(path, "w", encoding="ascii"):
            pass
        os.chmod(path, 0o666)
    program = public(witness_program())
    tags = iter(range(1000))
    jobs = [start("-r", "slot=1", "--", program, *witness.job("-", 3, next(tags))[1:]) for _ in range(rounds) for start in starters]
    for job in jobs:
        status = wait_exit(job, 60, pool)
        check(status == 0, f"exit {status}: {pool.err(job)!r}")
    # A job says when it starts and, still in its place, when it ends.
    running = ""
    for what, tag, _, _ in sorted(witness.log(), key=lambda line: line[3]):
        if what == "start":
            check(not running, f"the jobs {running} and {tag} both held the only place")
        running = tag if what == "start" else ""
    check(len(witness.log("end")) == len(jobs), f"{len(witness.log('end'))} of {len(jobs)} jobs ran")
    return len(jobs)


# ---------------------------------------------------------------- two users

def two_users(first_party, umasks):
    why = missing()
    if why:
        return f"skipped: {why}"
    with Pool() as pool:
        os.mkdir(pool.path)
        os.chmod(pool.path, 0o1777)
        if first_party is not None:
            done = run(pool, first_party, "run", "--cpu", "1", "--", "true", umask=umasks[0])
            check(done.returncode == 0, f"the first party: {done.returncode} {done.stderr!r}")
            check(os.lstat(f"{pool.path}/pool").st_uid == first_party, "the first party did not write the settings")
        check(pool.run("set", "slot=1").returncode == 0, "root sets a capacity")
        starters = [lambda *w, u=uid, m=umask: spawn(pool, u, "run", *w, umask=m)
                    for uid, umask in zip((ANNE, BERT), umasks)] + [lambda *w: pool.spawn("run", *w)]
        count = compete(pool, starters, 8)
        for uid in (ANNE, BERT, 0):
            check((pool.run if uid == 0 else lambda *w, u=uid: run(pool, u, *w))("run", "-r", "slot=1", "--", "true").returncode == 0,
                  f"uid {uid} afterwards")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")
        for entry in os.listdir(pool.path):
            st = os.lstat(os.path.join(pool.path, entry))
            if entry.startswith("u"):
                check(st.st_mode & 0o7777 == 0o755 and str(st.st_uid) == entry[1:], f"{entry}: {st.st_mode:o} uid {st.st_uid}")
    return f"{count} jobs"


def test_two_users_and_root():
    return two_users(None, (0o022, 0o022))


def test_two_users_with_umask_077():
    return two_users(None, (0o077, 0o077))


def test_first_party_is_no_root():
    return two_users(ANNE, (0o077, 0o022))


def test_a_user_makes_the_pool():
    """The pool itself is made by a user with umask 077: others can take part."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with Pool() as pool:
        os.chmod(pool.root, 0o1777)
        done = run(pool, ANNE, "run", "--cpu", "1", "--", "true", umask=0o077)
        check(done.returncode == 0, f"the first: {done.stderr!r}")
        st = os.stat(pool.path)
        check(st.st_mode & 0o7777 == 0o1777 and st.st_uid == ANNE, f"the pool: mode {st.st_mode:o} uid {st.st_uid}")
        check(run(pool, BERT, "run", "--cpu", "1", "--", "true", umask=0o077).returncode == 0, "the second")
        check(run(pool, ANNE, "set", "slot=1").returncode == 0, "its owner sets a capacity")
        check(run(pool, BERT, "set", "slot=2").returncode == 77, "another sets a capacity")
        check(run(pool, BERT, "run", "-r", "slot=1", "--", "true").returncode == 0, "the second has it")
    return ""


def test_nobody_touches_what_is_anothers():
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=1) as pool:
        holder = hold(pool, ANNE, "-r", "slot=1", umask=0o077)
        name = entry_of(pool, holder.pid)
        party = name.split(",")[1]
        base = f"{pool.path}/u{ANNE}"
        done = run(pool, BERT, "release", party)
        check(done.returncode == 77 and done.stderr.startswith("berth: "), f"release of another's: {done.returncode} {done.stderr!r}")
        check(run(pool, BERT, "release", party[:4]).returncode == 77, "release by prefix of another's")
        check(run(pool, BERT, "release", "zzzzzzzzzz").returncode == 1, "release of none")
        check(run(pool, BERT, "release", "--label", "none").returncode == 1, "release of none by label")
        check(run(pool, BERT, "unset", "slot").returncode == 77, "unset by a stranger")
        attempts = {
            "unlink the record": lambda: os.unlink(f"{pool.path}/{name}"),
            "rename the record": lambda: os.rename(f"{pool.path}/{name}", f"{pool.path}/w{name[1:]}"),
            "rename over the record": lambda: (os.symlink("x", f"{pool.path}/mine"), os.rename(f"{pool.path}/mine", f"{pool.path}/{name}")),
            "unlink the life": lambda: os.unlink(f"{base}/{party}.l"),
            "unlink the bell": lambda: os.unlink(f"{base}/{party}.b"),
            "replace the life": lambda: os.rename(f"{base}/{party}.b", f"{base}/{party}.l"),
            "make a file beside them": lambda: os.mkfifo(f"{base}/x"),
            "rename the directory": lambda: os.rename(base, f"{pool.path}/u9"),
            "change the directory's mode": lambda: os.chmod(base, 0o777),
            "lend it life": lambda: os.open(f"{base}/{party}.l", os.O_WRONLY | os.O_NONBLOCK),
            "hear its bell": lambda: os.open(f"{base}/{party}.b", os.O_RDONLY | os.O_NONBLOCK),
            "remove the settings": lambda: os.unlink(f"{pool.path}/pool"),
            "rename the settings": lambda: os.rename(f"{pool.path}/pool", f"{pool.path}/old"),
            "remove the pool": lambda: os.rename(pool.path, pool.path + "2"),
        }
        for what, attempt in attempts.items():
            said = as_uid(BERT, attempt)
            check(said.startswith("PermissionError"), f"uid {BERT} may {what}: {said or 'it worked'}")
        for what, attempt in {"ask whether it lives": lambda: os.open(f"{base}/{party}.l", os.O_RDONLY | os.O_NONBLOCK),
                              "ring its bell": lambda: os.open(f"{base}/{party}.b", os.O_WRONLY | os.O_NONBLOCK)}.items():
            said = as_uid(BERT, attempt)
            check(said == "", f"uid {BERT} may not {what}: {said}")
        check(run(pool, BERT, "run", "--no-wait", "-r", "slot=1", "--", "true").returncode == 75, "the place is taken still")
        check(run(pool, ANNE, "release", party[:4]).returncode == 0, "release of one's own")
        check(run(pool, BERT, "run", "--no-wait", "-r", "slot=1", "--", "true").returncode == 0, "the place is free")
        check(is_running(holder.pid), "its job runs on")
        check(end_holder(holder) == 0, f"the holder: {holder.returncode}")
        second = hold(pool, ANNE, "-r", "slot=1")
        check(pool.run("release", entry_of(pool, second.pid).split(",")[1]).returncode == 0, "root releases anybody's")
        end_holder(second)
    return f"{len(attempts)} attempts"


@contextlib.contextmanager
def sysctls(value):
    """fs.protected_* at this value; raises OSError where that cannot be."""
    paths = [f"/proc/sys/fs/protected_{what}" for what in ("fifos", "regular")]
    before = []
    try:
        for path in paths:
            with open(path, encoding="ascii") as f:
                before.append(f.read())
            with open(path, "w", encoding="ascii") as f:
                f.write(f"{value}\n")
        yield
    finally:
        for path, old in zip(paths, before):
            with open(path, "w", encoding="ascii") as f:
                f.write(old)


def test_protected_fifos():
    why = missing()
    if why:
        return f"skipped: {why}"
    for value in (0, 1, 2):
        try:
            with sysctls(value):
                two_users(ANNE, (0o077, 0o022))
                with shared_pool(slot=1) as pool:
                    holder = hold(pool, ANNE, "-r", "slot=1")
                    waiter = spawn(pool, BERT, "run", "-r", "slot=1", "--", "true")
                    wait_name(pool, "w1,")
                    end_holder(holder)
                    check(wait_exit(waiter, 10, pool) == 0, f"at {value}: {pool.err(waiter)!r}")
        except OSError as e:
            return f"skipped: fs.protected_fifos cannot be set: {e.strerror}"
    return ""


def test_the_dead_of_one_do_not_block_another():
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=1) as pool:
        for _ in range(5):
            holder = hold(pool, ANNE, "-r", "slot=1")
            name = entry_of(pool, holder.pid)
            job = job_of(holder)
            waiter = spawn(pool, BERT, "run", "-r", "slot=1", "--", "true")
            wait_until(lambda w=waiter: entry_of(pool, w.pid), 10, "a waiter", pool)
            kill(holder.pid)
            holder.wait(5)
            done = run(pool, BERT, "run", "--no-wait", "-r", "slot=1", "--", "true")
            check(done.returncode == 75, f"its job {job} still runs, and the place is given away: {done.returncode}")
            begun = time.monotonic()
            kill(job)
            check(wait_exit(waiter, 10, pool) == 0, f"the waiter: {pool.err(waiter)!r}")
            check(time.monotonic() - begun < 1, f"the waiter was seated only {time.monotonic() - begun:.2f} s after the death")
            pid_ended(job)
            check(os.path.lexists(f"{pool.path}/{name}"), "a stranger removed the record")
            done = run(pool, BERT, "run", "--no-wait", "-r", "slot=1", "--", "true")
            check(done.returncode == 0, f"beside the dead record: {done.returncode} {done.stderr!r}")
            check(run(pool, BERT, "status", "--json").stdout.count('"state"') == 0, "status lists the dead")
        for _ in range(3):
            check(run(pool, ANNE, "run", "--no-wait", "-r", "slot=1", "--", "true").returncode == 0, "its owner's next command")
        check(pool.leftovers() == [], f"its owner's next commands left {pool.leftovers()}")
    return ""


def user_name(uid):
    """As status says it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def test_a_hidden_life_is_named():
    """Whoever lets nobody look keeps what he had, dead or not; who waits for it is told whose it is."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=1) as pool:
        holder = hold(pool, ANNE, "-r", "slot=1")
        job = job_of(holder)
        os.chmod(f"{pool.path}/u{ANNE}", 0o700)
        kill(holder.pid)
        kill(job)
        holder.wait(5)
        pid_ended(job)
        waiter = spawn(pool, BERT, "run", "-r", "slot=1", "--", "true")
        wait_name(pool, "w1,")
        told = json.loads(run(pool, BERT, "status", "--json").stdout)["leases"]
        reasons = [lease["reason"] for lease in told if lease["state"] == "waiting"]
        check(len(reasons) == 1 and f"({user_name(ANNE)}), who hides whether it lives" in reasons[0], f"the waiter's reason: {reasons}")
        check([lease["uid"] for lease in pool.leases("held")] == [], "root sees that it is dead")
        os.chmod(f"{pool.path}/u{ANNE}", 0o755)
        check(pool.run("run", "--no-wait", "--cpu", "1", "--", "true").returncode == 0, "root's next command")
        check(wait_exit(waiter, 10, pool) == 0, pool.err(waiter))
    return ""


# ---------------------------------------------------------------- forgery

def forged(name, **fields):
    """A record's name with other fields: state, uid, arrival, priority, grant, claim, parent."""
    order = ["state", "party", "uid", "arrival", "priority", "expect", "seated", "grant", "claim", "parent"]
    parts = name.split(",")
    for field, value in fields.items():
        at = order.index(field)
        if field == "state":
            parts[0] = value + "1"
            continue
        parts += [""] * (at + 1 - len(parts))
        parts[at] = str(value)
    return ",".join(parts)


class Forger:
    """A stranger's process with a directory of its own in the pool, which it fills as it likes."""

    def __init__(self, pool):
        self.pool = pool
        self.life = None

    def record(self, name, target="\npid 1"):
        said = as_uid(BERT, lambda: os.symlink(target, f"{self.pool.path}/{name}"))
        check(said == "", f"the forger cannot write: {said}")

    def live(self, party):
        """A life of its own under this id. end() ends it."""
        base = f"{self.pool.path}/u{BERT}"

        def make():
            os.makedirs(base, exist_ok=True)
            os.mkfifo(f"{base}/{party}.l")
        check(as_uid(BERT, make) == "", "the forger cannot make a life")
        os.chmod(f"{base}/{party}.l", 0o644)
        self.life = os.open(f"{base}/{party}.l", os.O_RDWR | os.O_NONBLOCK)

    def end(self):
        os.close(self.life)


def test_forged_twin_does_not_seat_a_waiter():
    """A twin of a waiter's record, with a smaller claim: the waiter is not seated on the twin's word."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=4) as pool:
        holder = hold(pool, ANNE, "-r", "slot=3")
        waiter = spawn(pool, ANNE, "run", "-r", "slot=4", "--", "cat", stdin=subprocess.PIPE)
        wait_name(pool, "w1,")
        mine = entry_of(pool, waiter.pid)
        forger = Forger(pool)
        forger.record(forged(mine, arrival=1, claim="slot=1"))
        for _ in range(3):  # make it look again
            run(pool, ANNE, "run", "--timeout", "20ms", "-r", "slot=4", "--", "true")
            pool.run("set", "slot=4")
        with contextlib.suppress(subprocess.TimeoutExpired):
            waiter.wait(0.3)
        check(waiter.poll() is None, f"the waiter ended: {waiter.returncode} {pool.err(waiter)!r}")
        held = {lease["pid"]: lease["claim"]["resources"]["slot"] for lease in pool.leases("held")}
        records = [n for n in os.listdir(pool.path) if n.startswith("h1,")]
        check(len(records) == 1, f"of 4 slots 7 are held: {records} {held}")
        check(end_holder(holder) == 0, "the holder")
        wait_until(lambda: entry_of(pool, waiter.pid).startswith("h1,"), 10, "the waiter to be seated", pool)
        end_holder(waiter)
    return ""


def test_forged_twin_with_other_devices():
    """A twin of a GPU waiter's record that lists more devices than the waiter has: no crash."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with Pool(sim_gpus="1x24G", slot=4) as pool:
        holder = hold(pool, ANNE, "--gpus", "1")
        waiter = spawn(pool, ANNE, "run", "--gpus", "1", "--", "true")
        wait_name(pool, "w1,")
        mine = entry_of(pool, waiter.pid)
        forger = Forger(pool)
        forger.record(forged(mine, arrival=1, claim="@"), "gpu=8+" + "+".join(f"on=FAKE-{i}:1" for i in range(40)) + "\npid 1")
        pool.run("set", "slot=4")
        with contextlib.suppress(subprocess.TimeoutExpired):
            waiter.wait(0.3)
        if waiter.poll() is not None:
            fail(f"the waiter ended: {waiter.returncode} {pool.err(waiter)!r}")
        end_holder(holder)
        check(wait_exit(waiter, 10, pool) == 0, f"the waiter: {waiter.returncode} {pool.err(waiter)!r}")
    return ""


def test_forged_twin_does_not_end_a_life():
    """A twin of a holder's record with a life of the forger's: when that ends, the holder's lease stands."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=1) as pool:
        holder = hold(pool, ANNE, "-r", "slot=1")
        mine = entry_of(pool, holder.pid)
        party = mine.split(",")[1]
        forger = Forger(pool)
        forger.live(party)
        forger.record(forged(mine, uid=BERT))
        waiter = spawn(pool, ANNE, "run", "-r", "slot=1", "--", "cat", stdin=subprocess.PIPE)
        wait_name(pool, "w1,")
        status = run(pool, ANNE, "run", "--timeout", "20ms", "-r", "slot=1", "--", "true").returncode
        check(status == 124, f"exit {status} beside a living holder")
        forger.end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            waiter.wait(0.5)
        records = [n for n in os.listdir(pool.path) if n.startswith("h1,") and not f",{BERT}," in n]
        check(len(records) == 1 and records[0] == mine, f"one slot is held twice: {records}")
        check([lease["pid"] for lease in pool.leases("held")] == [holder.pid], f"status: {pool.leases('held')}")
        begun = time.monotonic()
        check(end_holder(holder) == 0, "the holder")
        wait_until(lambda: entry_of(pool, waiter.pid).startswith("h1,"), 10, "the waiter to be seated", pool)
        check(time.monotonic() - begun < 1, "the waiter did not hear of the release")
        end_holder(waiter)
    return ""


def test_forged_twin_made_beforehand():
    """As before, but the forger's link is older than the record that it becomes the twin of by a rename."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=1) as pool:
        forger = Forger(pool)
        forger.record("x", "\npid 99\nlabel not hers")
        holder = hold(pool, ANNE, "-r", "slot=1")
        mine = entry_of(pool, holder.pid)
        party = mine.split(",")[1]
        forger.live(party)
        twin = forged(mine, uid=BERT, claim="other=1")
        check(as_uid(BERT, lambda: os.rename(f"{pool.path}/x", f"{pool.path}/{twin}")) == "", "the forger cannot rename what is his")
        try:
            done = run(pool, ANNE, "run", "--no-wait", "-r", "slot=1", "--", "true")
            check(done.returncode == 75, f"the holder does not count any more: exit {done.returncode} {done.stderr!r}")
            check(holder.pid in [lease["pid"] for lease in pool.leases("held")], f"status: {pool.leases('held')}")
            waiter = spawn(pool, ANNE, "run", "-r", "slot=1", "--", "true")
            wait_name(pool, "w1,", lambda: waiter.poll() is not None)
        finally:
            forger.end()
        done = run(pool, ANNE, "run", "--no-wait", "-r", "slot=1", "--", "true")
        check(done.returncode == 75, f"the holder died with the twin: exit {done.returncode} {done.stderr!r}")
        done = run(pool, ANNE, "release", party)
        check(done.returncode == 0, f"release of one's own: {done.returncode} {done.stderr!r}")
        check(wait_exit(waiter, 10, pool) == 0, pool.err(waiter))
        end_holder(holder)
    return ""


def test_forged_twin_is_another_party():
    """A twin in its maker's own directory, of an older life than the true one: both count, each as its owner's."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=2) as pool:
        holder = hold(pool, ANNE, "-r", "slot=1")
        mine = entry_of(pool, holder.pid)
        party = mine.split(",")[1]
        forger = Forger(pool)
        forger.live(party)
        forger.record(forged(mine, uid=BERT, claim="slot=1"))
        time.sleep(0.02)
        os.chmod(f"{pool.path}/u{ANNE}/{party}.l", 0o644)  # the true life has a later ctime now
        told = sorted((lease["uid"], lease["id"]) for lease in pool.leases("held"))
        check(told == [(ANNE, party), (BERT, party)], f"status: {told}")
        done = run(pool, ANNE, "run", "--no-wait", "-r", "slot=1", "--", "true")
        check(done.returncode == 75, f"both slots are held: exit {done.returncode} {done.stderr!r}")
        waiter = spawn(pool, ANNE, "run", "-r", "slot=2", "--", "true")
        wait_name(pool, "w1,")
        done = run(pool, BERT, "release", party)
        check(done.returncode == 0 and os.path.lexists(f"{pool.path}/{mine}"), f"the forger releases his own: {done.stderr!r}")
        forger.record(forged(mine, uid=BERT, claim="slot=1"))
        done = run(pool, ANNE, "release", party)
        check(done.returncode == 0 and not os.path.lexists(f"{pool.path}/{mine}"), f"release of one's own: {done.stderr!r}")
        check(waiter.poll() is None, f"one slot is held still: {waiter.returncode}")
        begun = time.monotonic()
        forger.end()
        check(wait_exit(waiter, 10, pool) == 0, pool.err(waiter))
        check(time.monotonic() - begun < 1, "the waiter did not see the twin's death")
        end_holder(holder)
    return ""


def test_squatted_name_that_falls_free():
    """Whose u<UID> was taken has another directory, keeps to it, and comes inside its own leases."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=2) as pool:
        check(as_uid(BERT, lambda: os.mkdir(f"{pool.path}/u{ANNE}")) == "", "squatting")
        go = os.path.join(pool.tmp, "go")
        os.mkfifo(go)
        os.chmod(go, 0o666)
        outer = spawn(pool, ANNE, "run", "-r", "slot=2", "--", "sh", "-c",
                      f"read x < {go}; exec {public_berth()} run --no-wait -r slot=2 -- sh -c 'exit 5'")
        wait_name(pool, "h1,")
        check(entry_of(pool, outer.pid).split(",")[2] == f"{ANNE}.1", f"its directory: {entry_of(pool, outer.pid)}")
        os.rmdir(f"{pool.path}/u{ANNE}")
        with open(go, "w", encoding="ascii") as f:
            f.write("go\n")
        status = wait_exit(outer, 10, pool)
        check(status == 5, f"inside its own lease: exit {status}: {pool.err(outer)!r}")
        check(not os.path.lexists(f"{pool.path}/u{ANNE}"), "a second directory was made")
    return ""


def test_forged_twin_does_not_hide_a_death():
    """A twin with a living FIFO of the forger's: the holder's death is still noticed at once."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=1) as pool:
        holder = hold(pool, ANNE, "-r", "slot=1")
        mine = entry_of(pool, holder.pid)
        forger = Forger(pool)
        forger.live(mine.split(",")[1])
        forger.record(forged(mine, uid=BERT, claim="other=1"))
        waiter = spawn(pool, ANNE, "run", "-r", "slot=1", "--", "true")
        wait_name(pool, "w1,")
        job = job_of(holder)
        kill(holder.pid)
        begun = time.monotonic()
        kill(job)
        status = wait_exit(waiter, 10, pool)
        took = time.monotonic() - begun
        forger.end()
        check(status == 0 and took < 1, f"the waiter: exit {status} after {took:.1f} s")
    return ""


def test_forged_twin_does_not_keep_an_owner_from_release():
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=9) as pool:
        holder = hold(pool, ANNE, "-r", "slot=1")
        mine = entry_of(pool, holder.pid)
        party = mine.split(",")[1]
        Forger(pool).record(forged(mine, claim="slot=2"), "\npid 99\nlabel not hers\ncmd rm")
        told = [lease for lease in pool.leases() if lease["id"] == party]
        check(len(told) == 1 and told[0]["uid"] == ANNE and told[0]["pid"] == holder.pid, f"status shows the forgery: {told}")
        done = run(pool, ANNE, "release", party)
        check(done.returncode == 0, f"release of one's own: {done.returncode} {done.stderr!r}")
        check(not os.path.lexists(f"{pool.path}/{mine}"), "the record stands")
        end_holder(holder)
    return ""


def check_inside_a_lease(forge):
    """Whoever asks inside of a lease of slot=2 gets it out of that lease, whatever `forge(pool, its record)` puts beside
    it. `forge` returns its Forgers."""
    why = missing()
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=2) as pool:
        go = os.path.join(pool.tmp, "go")
        os.mkfifo(go)
        os.chmod(go, 0o666)
        program = public_berth()
        outer = spawn(pool, ANNE, "run", "-r", "slot=2", "--", "sh", "-c",
                      f"read x < {go}; exec {program} run --no-wait -r slot=2 -- sh -c 'exit 5'")
        wait_name(pool, "h1,")
        forgers = forge(pool, entry_of(pool, outer.pid))
        with open(go, "w", encoding="ascii") as f:
            f.write("go\n")
        status = wait_exit(outer, 10, pool)
        for forger in forgers:
            forger.end()
        check(status == 5, f"inside its own lease: exit {status}: {pool.err(outer)!r}")
    return ""


def test_forged_children_take_nothing_from_a_lease():
    """A stranger's record that says it is inside another's lease takes no room in it."""
    def forge(pool, mine):
        child = Forger(pool)
        child.live("abcdefghij")
        child.record(forged(mine, uid=BERT, party="abcdefghij", claim="slot=2", parent=mine.split(",")[1]))
        return [child]
    return check_inside_a_lease(forge)


def test_forged_children_of_a_twin_take_nothing():
    """The same with a twin of the lease itself, so that the stranger's lease "of that id" is his own."""
    def forge(pool, mine):
        party = mine.split(",")[1]
        twin, child = Forger(pool), Forger(pool)
        twin.live(party)
        twin.record(forged(mine, uid=BERT, claim="other=1"))
        child.live("abcdefghij")
        child.record(forged(mine, uid=BERT, party="abcdefghij", claim="slot=2", parent=party))
        return [twin, child]
    return check_inside_a_lease(forge)


# ---------------------------------------------------------------- namespaces

def unshare_missing(*flags):
    try:
        done = subprocess.run(["unshare", *flags, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, text=True)
    except FileNotFoundError:
        return "there is no unshare"
    return "" if done.returncode == 0 else done.stderr.strip() or "unshare does not work"


def spawn_in(pool, flags, *words, uid=None, **kw):
    """A berth in namespaces of its own, as a spawned one."""
    if uid is not None:
        kw.update(as_user(uid))
    kw.setdefault("stdin", subprocess.DEVNULL)
    pool.count_of_ns = getattr(pool, "count_of_ns", 0) + 1
    path = os.path.join(pool.tmp, f"ns.{pool.count_of_ns}.stderr")
    with open(path, "wb") as err:
        process = subprocess.Popen(["unshare", *flags, public_berth(), *words], env=pool.env, stdout=subprocess.DEVNULL,
                                   stderr=err, **kw)
    process.said = {"stderr": path, "stdout": "/dev/null"}
    return process


def next_job(pool, holder):
    """The `sleep` that runs below this process."""
    def look():
        for pid in descendants(holder.pid):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                if f.read() == "sleep\n":
                    return pid
        return 0
    return wait_until(look, 10, "the job to start", pool)


def namespaces(flags, uid):
    """Jobs inside and outside compete; a death on either side is seen on the other."""
    with shared_pool(slot=1) as pool:
        count = compete(pool, [lambda *w: spawn_in(pool, flags, "run", *w, uid=uid), lambda *w: pool.spawn("run", *w),
                               lambda *w: spawn(pool, BERT, "run", *w)], 6)
        # A holder inside dies, with all of its processes: a waiter outside has its place at once, and the other way round.
        # `cat` dies with the end of its input, which is in our hand; who is killed is the wrapper and the job together.
        for holder_inside in (True, False):
            words = ("run", "-r", "slot=1", "--", "sleep", "1000")
            holder = spawn_in(pool, flags, *words, uid=uid) if holder_inside else pool.spawn(*words)
            wait_name(pool, "h1,", lambda h=holder: h.poll() is not None)
            waiting = ("run", "-r", "slot=1", "--", "true")
            waiter = pool.spawn(*waiting) if holder_inside else spawn_in(pool, flags, *waiting, uid=uid)
            wait_name(pool, "w1,", lambda w=waiter: w.poll() is not None)
            check(waiter.poll() is None, f"the waiter did not wait: {waiter.returncode} {pool.err(waiter)!r}")
            job = next_job(pool, holder)
            victims = [holder.pid, *descendants(holder.pid)]
            check(job in victims, "the job is no child of the holder")
            begun = time.monotonic()
            for pid in reversed(victims):
                kill(pid)
            check(wait_exit(waiter, 10, pool) == 0, f"the waiter: {waiter.returncode} {pool.err(waiter)!r}")
            check(time.monotonic() - begun < 1, f"the death was seen after {time.monotonic() - begun:.2f} s")
            holder.wait(5)
        for _ in range(3):  # everybody tidies up after himself
            done = pool.run("run", "-r", "slot=1", "--", "true")
            check(done.returncode == 0 and not done.stderr, f"afterwards: {done.returncode} {done.stderr!r}")
            inside = spawn_in(pool, flags, "run", "-r", "slot=1", "--", "true", uid=uid)
            check(wait_exit(inside, 10, pool) == 0, f"afterwards: {inside.returncode} {pool.err(inside)!r}")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")
    return f"{count} jobs"


def test_pid_namespaces():
    flags = ("-p", "-f", "--mount-proc", "--kill-child")
    why = missing() or unshare_missing(*flags)
    return f"skipped: {why}" if why else namespaces(flags, None)


def test_user_namespaces():
    flags = ("-U", "-r")
    why = missing() or as_uid(ANNE, lambda: subprocess.run(["unshare", *flags, "true"], check=True,
                                                                               stderr=subprocess.DEVNULL))
    return f"skipped: {why}" if why else namespaces(flags, ANNE)


def test_inside_a_lease_and_a_user_namespace():
    """A lease's own job in a user namespace, where its uid has another number, comes inside of it."""
    flags = ("-U", "-r")
    why = missing() or as_uid(ANNE, lambda: subprocess.run(["unshare", *flags, "true"], check=True, stderr=subprocess.DEVNULL))
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=2) as pool:
        go = os.path.join(pool.tmp, "go")
        os.mkfifo(go)
        os.chmod(go, 0o666)
        berth = public_berth()
        outer = spawn(pool, ANNE, "run", "-r", "slot=2", "--", "unshare", *flags, berth, "run", "--no-wait", "-r", "slot=2", "--",
                      "sh", "-c", f"read x < {go}; exec {berth} run --no-wait -r slot=1 -- true")
        wait_until(lambda: len([n for n in os.listdir(pool.path) if n.startswith("h1,")]) == 2, 10, "two leases", pool)
        told = [(lease["uid"], lease["parent"] is not None) for lease in pool.leases("held")]
        check(sorted(told) == [(ANNE, False), (ANNE, True)], f"status: {told}")
        with open(go, "w", encoding="ascii") as f:
            f.write("go\n")
        check(wait_exit(outer, 10, pool) == 0, f"exit {outer.returncode}: {pool.err(outer)!r}")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")
    return ""


def test_user_and_pid_namespaces():
    flags = ("-U", "-r", "-p", "-f", "--kill-child")
    why = missing() or as_uid(ANNE, lambda: subprocess.run(["unshare", *flags, "true"], check=True,
                                                                               stderr=subprocess.DEVNULL))
    return f"skipped: {why}" if why else namespaces(flags, ANNE)


def test_root_of_a_user_namespace_is_no_root():
    """It may neither set capacities nor end another's lease."""
    flags = ("-U", "-r")
    why = missing() or as_uid(ANNE, lambda: subprocess.run(["unshare", *flags, "true"], check=True, stderr=subprocess.DEVNULL))
    if why:
        return f"skipped: {why}"
    with shared_pool(slot=1) as pool:
        holder = hold(pool, BERT, "-r", "slot=1")
        party = entry_of(pool, holder.pid).split(",")[1]
        for words in (("set", "slot=5"), ("unset", "slot"), ("release", party)):
            process = spawn_in(pool, flags, *words, uid=ANNE)
            status = wait_exit(process, 10, pool)
            check(status == 77, f"{words[0]}: exit {status}: {pool.err(process)!r}")
        check(os.readlink(f"{pool.path}/pool").count("slot=1") == 1, "the settings were changed")
        check(entry_of(pool, holder.pid), "the record was removed")
        process = spawn_in(pool, flags, "run", "-p", "1000", "-r", "slot=1", "--timeout", "50ms", "--", "true", uid=ANNE)
        wait_name(pool, "w1,", lambda: process.poll() is not None)
        priorities = [int(n.split(",")[4]) for n in os.listdir(pool.path) if n.startswith("w1,")]
        check(priorities in ([], [10]), f"its priority is above the policy's: {priorities}")
        check(wait_exit(process, 10, pool) == 124, f"exit {process.returncode}: {pool.err(process)!r}")
        end_holder(holder)
    return ""


main([test_two_users_and_root, test_two_users_with_umask_077, test_first_party_is_no_root, test_a_user_makes_the_pool,
      test_nobody_touches_what_is_anothers, test_protected_fifos, test_the_dead_of_one_do_not_block_another, test_a_hidden_life_is_named,
      test_forged_twin_does_not_seat_a_waiter, test_forged_twin_with_other_devices, test_forged_twin_does_not_end_a_life,
      test_forged_twin_made_beforehand, test_forged_twin_is_another_party,
      test_squatted_name_that_falls_free, test_forged_twin_does_not_hide_a_death, test_forged_twin_does_not_keep_an_owner_from_release,
      test_forged_children_take_nothing_from_a_lease,
      test_forged_children_of_a_twin_take_nothing, test_pid_namespaces, test_user_namespaces,
      test_inside_a_lease_and_a_user_namespace, test_user_and_pid_namespaces, test_root_of_a_user_namespace_is_no_root])
