"""berth history: every way in which a lease ends is written down, and nothing that befalls the book hurts a job."""
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time

import gpukit
from berthtest import Pool, berth, check, descendants, is_running, job_of, kill, main, slower, wait_exit, wait_until
from faultkit import as_user, public_berth


LONG = 2.1  # a job of that length sees to it that the database is up to date


def history(pool, *filters, code=0, **kw):
    """The jobs, decoded."""
    done = pool.run("history", "--json", *filters, **kw)
    check(done.returncode == code, f"history {filters}: {done}")
    said = json.loads(done.stdout)
    check(said["version"] == 1, f"{said.keys()}")
    return said["jobs"]


def ends(pool, **kw):
    """By label: how it ended, with which status and signal."""
    return {job["label"]: (job["how"], job["status"], job["signal"]) for job in history(pool, **kw)}


def files(pool):
    at = os.path.join(pool.state, "berth")
    return sorted(os.listdir(at)) if os.path.isdir(at) else []


def path(pool, name):
    return os.path.join(pool.state, "berth", name)


def settled(pool):
    """Waits until nobody is at work on the history any more."""
    wait_until(lambda: not [pid for pid in descendants() if is_running(pid)], 10, "berth's children to end", pool)


def short(pool, label, *more, seconds=0.0, **kw):
    return pool.run("run", "-r", "slot=1", "-l", label, *more, "--", "sleep", str(seconds), **kw)


# ---------------------------------------------------------------- what is written down

def test_commands_of_every_end():
    with Pool(slot=2) as pool:
        for label, script in (("well", "exit 0"), ("three", "exit 3"), ("high", "exit 137"), ("killed", "kill -9 $$")):
            pool.run("run", "-r", "slot=1", "-l", label, "--", "sh", "-c", script)
        pool.run("run", "-r", "slot=1", "-l", "nowhere", "--", "/no/such/program")
        pool.run("run", "-r", "slot=1", "-l", "plain", "--", "/etc/passwd")
        pool.run("run", "-r", "slot=1", "-l", "exec", "--exec", "--", "/no/such/program")
        pool.run("run", "-r", "slot=1", "-l", "limit", "--limit", "0.1", "--", "sleep", "9")
        told = pool.spawn("run", "-r", "slot=1", "-l", "told", "--", "sleep", "9")
        job_of(told)
        kill(told.pid, signal.SIGINT)
        wait_exit(told)
        expected = {"well": ("exited", 0, None), "three": ("exited", 3, None), "high": ("exited", 137, None),
                    "killed": ("signal", 137, 9), "nowhere": ("not_started", 127, None), "plain": ("not_started", 126, None),
                    "exec": ("not_started", 127, None), "limit": ("limit", 143, 15), "told": ("signal", 130, 2)}
        check(ends(pool) == expected, f"{ends(pool)}")
        jobs = history(pool)
        check([j["label"] for j in jobs] == list(expected), "oldest first")
        one = jobs[0]
        check(one["cmd"] == "sh -c 'exit 0'" and one["uid"] == os.geteuid() and one["pool"] == pool.path and one["verb"] == "run"
              and one["claim"] == {"gpus": 0, "vram": None, "compute": None, "resources": {"slot": 1}}
              and one["granted"] == {"devices": [], "resources": {"slot": 1}, "processors": None} and one["stays"] is False, f"{one}")
        check(0.09 <= jobs[7]["held_s"] < 5 and abs(one["ended"] - time.time()) < 30, f"{jobs[7]}")


def test_waits_that_were_given_up():
    with Pool(slot=1) as pool:
        holder = pool.spawn("run", "-r", "slot=1", "-l", "holder", "--", "sleep", "60")
        pool.wait_for(held=1)
        check(short(pool, "refused", "--no-wait").returncode == 75, "busy")
        check(short(pool, "late", "--timeout", "0.2").returncode == 124, "timed out")
        unseated = pool.run("run", "-r", "slot=1", "-l", "unseated", "--timeout", "0.1", "--on-timeout", "run", "--", "sh", "-c", "exit 4")
        check(unseated.returncode == 4, f"{unseated}")
        waiter = pool.spawn("run", "-r", "slot=1", "-l", "gone", "--", "true")
        pool.wait_for(held=1, waiting=1)
        kill(waiter.pid, signal.SIGTERM)
        check(wait_exit(waiter) == -signal.SIGTERM, "it dies of the signal")
        other = pool.spawn("run", "-r", "slot=1", "-l", "ousted", "--", "true")
        pool.wait_for(held=1, waiting=1)
        pool.run("release", "--label", "ousted")
        check(wait_exit(other) == 76, "lost")
        hold = pool.run("hold", "-r", "slot=1", "-l", "shell", "--no-wait", "--for", str(os.getpid()))
        check(hold.returncode == 75, f"{hold}")
        got = ends(pool)
        check(got == {"refused": ("busy", 75, None), "late": ("timed_out", 124, None), "unseated": ("timed_out", 4, None),
                      "gone": ("cancelled", 143, 15), "ousted": ("lost", 76, None), "shell": ("busy", 75, None)}, f"{got}")
        late = [j for j in history(pool) if j["label"] == "late"][0]
        check(late["started"] is None and late["held_s"] is None and late["granted"] is None, f"{late}")
        check(0 < late["waited_s"] < 5, f"{late}")  # since it stood in the line: --timeout counts from its start
        kill(holder.pid, signal.SIGTERM)
        wait_exit(holder)


def test_holds_and_adopted_ones():
    with Pool(slot=4) as pool:
        for label, more, end in (("ttl", ["--ttl", "0.1"], None), ("released", [], "release"), ("over", [], "process"), ("ended", [], "keeper")):
            process = subprocess.Popen(["sleep", "60"])
            held = pool.run("hold", "-r", "slot=1", "-l", label, *more, "--for", str(process.pid))
            check(held.returncode == 0, f"{held}")
            if end == "release":
                pool.run("release", "--label", label)
            elif end == "keeper":
                keeper = [pid for pid in descendants() if b"hold" in open(f"/proc/{pid}/cmdline", "rb").read()]
                kill(keeper[0], signal.SIGTERM)
            if end == "process":
                kill(process.pid)
                process.wait()
            pool.wait_for(held=0)
            kill(process.pid)
            process.wait()
        adopted = subprocess.Popen(["sleep", "60"])
        check(pool.run("adopt", str(adopted.pid), "-r", "slot=1", "-l", "adopted").returncode == 0, "adopt")
        kill(adopted.pid)
        adopted.wait()
        pool.wait_for(held=0)
        settled(pool)
        got = ends(pool)
        check(got == {"ttl": ("ttl", None, None), "released": ("released", None, None), "over": ("process_ended", None, None),
                      "ended": ("terminated", None, None), "adopted": ("process_ended", None, None)}, f"{got}")
        jobs = {j["label"]: j for j in history(pool)}
        check(jobs["adopted"]["verb"] == "adopt" and jobs["adopted"]["cmd"] == "sleep 60" and jobs["ttl"]["verb"] == "hold", f"{jobs}")


def test_a_hold_that_was_released_just_before_its_process_ended():
    with Pool(slot=1) as pool:
        process = subprocess.Popen(["sleep", "60"])
        check(pool.run("hold", "-r", "slot=1", "-l", "one", "--for", str(process.pid)).returncode == 0, "hold")
        keeper = [pid for pid in descendants() if b"hold" in open(f"/proc/{pid}/cmdline", "rb").read()][0]
        kill(keeper, signal.SIGSTOP)  # it hears of both at once
        check(pool.run("release", "--label", "one").returncode == 0, "release")
        kill(process.pid)
        process.wait()
        kill(keeper, signal.SIGCONT)
        settled(pool)
        check(ends(pool) == {"one": ("released", None, None)}, f"{ends(pool)}")


def test_what_ended_while_its_place_was_away_held_nothing_then():
    with Pool(slot=1) as pool:
        held = pool.run("hold", "--for", str(os.getpid()), "-r", "slot=1", "--label", "away", "--reclaimable",
                        "--on-reclaim", "true").stdout.strip()
        other = pool.spawn("run", "-r", "slot=1", "-p", "5", "--", "sleep", "600")
        wait_until(lambda: pool.lease_of(other)["state"] == "held", what="its place to be away", pool=pool)
        check(pool.run("release", held).returncode == 0, "released")
        wait_until(lambda: len(history(pool, "--label", "away")) == 2, what="its end", pool=pool)
        gave, waited = history(pool, "--label", "away")
        check((gave["how"], waited["how"]) == ("reclaimed", "released"), (gave, waited))
        check(gave["held_s"] >= 0 and gave["granted"]["resources"] == {"slot": 1}, gave)
        check(waited["started"] is None and waited["held_s"] is None and waited["granted"] is None, waited)
        check(waited["waited_s"] >= 0, waited)
        kill(other.pid, signal.SIGTERM)
        wait_exit(other)


def test_released_under_its_command():
    with Pool(slot=1) as pool:
        job = pool.spawn("run", "-r", "slot=1", "-l", "job", "--", "sh", "-c", "sleep 0.5; exit 5")
        pool.wait_for(held=1)
        check(pool.run("release", "--label", "job").returncode == 0, "release")
        check(wait_exit(job) == 5, "its own status")
        check(ends(pool) == {"job": ("released", 5, None)}, f"{ends(pool)}")


def test_what_stays_is_marked():
    with Pool(slot=1) as pool:
        done = pool.run("run", "-r", "slot=1", "-l", "parent", "--", "sh", "-c", "sleep 1 >/dev/null 2>&1 & exit 0")
        check("stays taken" in done.stderr, f"{done}")
        job = history(pool)[0]
        check(job["stays"] is True and job["how"] == "exited" and job["held_s"] < 0.9, f"{job}")


def test_one_inside_another():
    with Pool(slot=2) as pool:
        env = dict(pool.env, PATH=os.path.dirname(berth()) + ":" + os.environ["PATH"])
        pool.run("run", "-r", "slot=2", "-l", "outer", "--", "sh", "-c", "berth run -r slot=1 -l inner -- sleep 2.1", env=env)
        jobs = {j["label"]: j for j in history(pool)}
        check(jobs["inner"]["parent"] == jobs["outer"]["id"] and jobs["outer"]["parent"] is None, f"{jobs}")


def test_what_nobody_saw_is_not_written_down():
    with Pool(slot=1) as pool:
        job = pool.spawn("run", "-r", "slot=1", "-l", "killed", "--", "sleep", "0.3")
        job_of(job)
        kill(job.pid)
        wait_exit(job)
        pool.run("run", "-r", "slot=1", "-l", "exec", "--exec", "--", "true")
        pool.run("run", "-r", "slot=9", "-l", "never", "--", "true")
        pool.run("run", "-r", "slot=1", "-l", "dry", "--dry-run", "--", "true")
        short(pool, "off", env=dict(pool.env, BERTH_HISTORY="off"))
        check(files(pool) == [] and history(pool) == [], f"{files(pool)}: {history(pool)}")


def test_gpus_and_what_they_took():
    with gpukit.Gpus(gpukit.Card("GPU-a"), gpukit.Card("GPU-b", "0000:2a:00.0")) as gpus, Pool(env=gpus.env) as pool:
        script = gpukit.HOLD + "hold GPU-a 2G; sleep 2.5"
        done = pool.run("run", "--vram", "8G", "--only", "0", "-l", "small", "--", "sh", "-c", script)
        check(done.returncode == 0, f"{done}")
        script = gpukit.HOLD + "hold GPU-a 3G; sleep 9"
        done = pool.run("run", "--vram", "1G", "--only", "0", "-l", "large", "--over-use", "term", "--grace", "1", "--", "sh", "-c", script)
        small, large = history(pool)
        gib = 1 << 30
        check(small["claim"]["gpus"] == 1 and small["claim"]["vram"] == 8 * gib and small["peak_vram"] == 2 * gib
              and small["granted"]["devices"] == [{"uuid": "GPU-a", "index": 0, "vram": 8 * gib}], f"{small}")
        check(large["how"] == "over_use" and large["peak_vram"] == 3 * gib and large["signal"] == 15, f"{large}")


def test_how_much_memory_a_job_had():
    mib = 1 << 20
    fill = "x = bytearray(b'x') * (60 << 20)"
    two = f"import os, time; pid = os.fork(); {fill}; time.sleep(1.6); pid and os.wait()"
    with Pool(ram="1G") as pool:
        for words in (["--cpu", "1"], ["--ram", "300M"]):
            pool.run("run", *words, "--", "python3", "-c", fill)
        pool.run("run", "--ram", "300M", "--", "python3", "-c", two)
        pool.run("run", "--ram", "300M", "--", "true")
        one, limited, both, none = [job["peak_ram"] for job in history(pool)]
        check(60 * mib < one < 100 * mib, f"without a claim, what its largest process had: {one}")
        check(60 * mib < limited < 100 * mib, f"as short as it is: {limited}")
        check(120 * mib < both < 180 * mib, f"of two at once: {both}")
        check(none is None or none < 20 * mib, f"{none}")
        shown = pool.run("history").stdout.splitlines()
        check(re.search(r"(\d+\.?\d*) MiB +well$", shown[3]), shown)


# ---------------------------------------------------------------- how it is shown

def test_filters():
    with Pool(slot=1) as pool:
        for label in ("a", "b", "a", "c"):
            short(pool, label)
        check([j["label"] for j in history(pool, "--label", "a")] == ["a", "a"], "by label")
        check([j["label"] for j in history(pool, "-n", "2")] == ["a", "c"], "the last")
        check([j["label"] for j in history(pool, "--limit=1", "-l", "b")] == ["b"], "together")
        check(len(history(pool, "--user", str(os.geteuid()))) == 4 and not history(pool, "--user", "65533"), "by user")
        check(len(history(pool, "--since", "1h")) == 4 and not history(pool, "--since", "@" + str(int(time.time()) + 60)), "by time")
        tomorrow = time.strftime("%Y-%m-%d", time.localtime(time.time() + 86400))
        check(not history(pool, "--since", tomorrow), "by day")
        for words, said in ((["--since", "soon"], "is no time"), (["--limit", "0"], "from 1 up"), (["--user", "no such user"], "no user"),
                            (["--limit"], "needs a value"), (["-x"], "unknown option"), (["a"], "unknown word")):
            done = pool.run("history", *words)
            check(done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, f"{words}: {done}")
        table = pool.run("history").stdout.splitlines()
        check(len(table) == 5 and table[0].startswith("ID") and " c " in table[-1], f"{table}")


def test_an_empty_one_is_no_error():
    with Pool() as pool:
        done = pool.run("history")
        check(done.returncode == 0 and done.stderr == "" and done.stdout.startswith("No job"), f"{done}")
        check(history(pool) == [] and files(pool) == [], "and nothing is made for a look")
        for env in ({"BERTH_HISTORY": "off"}, {"XDG_STATE_HOME": "relative", "HOME": ""}):
            done = pool.run("history", "--json", env={**pool.env, **env})
            check(done.returncode == 0 and json.loads(done.stdout)["jobs"] == [] and "no history is kept" in done.stderr, f"{done}")


# ---------------------------------------------------------------- many at once, and how much

def test_fifty_that_end_at_once():
    with Pool(slot=50) as pool:
        gate = os.path.join(pool.tmp, "gate")
        os.mkfifo(gate)
        jobs = [pool.spawn("run", "-r", "slot=1", "-l", f"j{i}", "--", "sh", "-c", f"read x <{gate}; exit 0") for i in range(50)]
        pool.wait_for(held=50, timeout=30)
        time.sleep(LONG)  # of some length, so that every one of them sees to the database
        with open(gate, "w", encoding="ascii"):
            pass
        for job in jobs:
            wait_exit(job, 30, pool)
        looked = 0
        until = time.monotonic() + 1
        while time.monotonic() < until:  # and somebody looks meanwhile
            looked += len(history(pool)) == 50
        check(looked > 0 and sorted(ends(pool)) == sorted(f"j{i}" for i in range(50)), f"{len(history(pool))}")
        settled(pool)
        check(len(history(pool)) == 50 and "history.new" not in files(pool) and "history.folding" not in files(pool), f"{files(pool)}")


def line(i, **more):
    job = {"id": f"x{i:09}", "uid": os.geteuid(), "verb": "run", "cmd": "true", "label": f"l{i}", "arrival_us": 10**15 + i,
           "seated_us": 10**15 + i, "ended_us": 10**15 + i, "how": "exited", "status": 0, "claim": {"resources": {"cpu": 1}}}
    return json.dumps(dict(job, **more)) + "\n"


def put_journal(pool, lines, name="history.new"):
    os.makedirs(os.path.join(pool.state, "berth"), exist_ok=True)
    with open(path(pool, name), "a", encoding="utf-8") as f:
        f.writelines(lines)


def test_it_stays_bounded():
    with Pool(slot=1) as pool:
        for first in range(0, 30000, 10000):
            put_journal(pool, (line(i) for i in range(first, first + 10000)))
            pool.run("history")
        jobs = history(pool)
        check(len(jobs) == 20000 and jobs[-1]["label"] == "l29999" and jobs[0]["label"] == "l10000", f"{len(jobs)}")
        check(os.path.getsize(path(pool, "history.db")) < 20e6, f"{os.path.getsize(path(pool, 'history.db'))}")
        put_journal(pool, (line(i, how="busy") for i in range(30000, 33000)))
        jobs = history(pool)
        check(sum(j["how"] == "busy" for j in jobs) == 1000 and jobs[-1]["label"] == "l32999", "refusals crowd out nothing")
        return f"{os.path.getsize(path(pool, 'history.db')) >> 10} KiB"


def test_a_journal_that_nobody_takes_in_stays_bounded():
    with Pool(slot=1) as pool, without_library(pool):
        put_journal(pool, (line(i) for i in range(6000)))
        for i in range(3):
            short(pool, f"new{i}")
            settled(pool)  # it is set aside by one that outlives the job
        check(os.path.getsize(path(pool, "history.old")) > 1 << 20 and os.path.getsize(path(pool, "history.new")) < 1 << 12, f"{files(pool)}")
        check(len(history(pool)) == 6003, "both are read")


def test_garbage_in_a_journal():
    with Pool(slot=1) as pool:
        put_journal(pool, [line(1), "\0\xff nonsense\n", "{}\n", "[" * 20000 + "\n", line(2)[:40]])
        short(pool, "after")
        check([j["label"] for j in history(pool)] == ["l1", "after"], f"{history(pool)}")


def test_what_a_taker_left_is_taken_in_once():
    """One that is killed between commit and unlink leaves lines that are in the database already."""
    with Pool(slot=1) as pool:
        put_journal(pool, [line(1), line(2)])
        history(pool)
        put_journal(pool, [line(1), line(2), line(3)], "history.folding")
        put_journal(pool, [line(4)])
        check([j["label"] for j in history(pool)] == ["l1", "l2", "l3", "l4"], f"{history(pool)}")
        check("history.folding" not in files(pool), f"{files(pool)}")


# ---------------------------------------------------------------- nothing hurts a job

def timed(call):
    begun = time.monotonic()
    done = call()
    return done, time.monotonic() - begun


def unhurt(pool, seconds=LONG, most=1.0, **kw):
    """A job of some length is as it would be without a history."""
    done, took = timed(lambda: short(pool, "job", seconds=seconds, **kw))
    check(done.returncode == 0 and done.stderr == "" and took < seconds + most, f"{took:.2f} s: {done}")
    return took - seconds


def test_it_leaves_nobody_behind():
    """Neither a zombie nor somebody who holds what was the caller's, even where the database is locked."""
    with Pool(slot=1) as pool:
        short(pool, "first", seconds=LONG)
        settled(pool)
        other = sqlite3.connect(path(pool, "history.db"), isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        took = unhurt(pool)  # reads its stdout and stderr to their end
        left = [pid for pid in descendants() if is_running(pid)]
        for pid in left:
            fds = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
            check(all(fd == "/dev/null" or fd.startswith(pool.state) for fd in fds), f"{fds}")
            check(os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/cwd") == "/", "a session and a directory of its own")
        other.execute("ROLLBACK")
        settled(pool)
        check([j["label"] for j in history(pool)] == ["first", "job"], f"{history(pool)}")
    return f"{len(left)} at work {took * 1e3:.0f} ms after the job"


def test_a_locked_database():
    with Pool(slot=1) as pool:
        short(pool, "first", seconds=LONG)
        settled(pool)
        other = sqlite3.connect(path(pool, "history.db"), isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        unhurt(pool)
        settled(pool)
        (done, took) = timed(lambda: pool.run("history"))
        check(done.returncode == 125 and "locked" in done.stderr and done.stderr.count("\n") == 1 and took < 5, f"{took:.1f} s: {done}")
        check("job" in done.stdout and "first" not in done.stdout, f"{done}")
        other.execute("ROLLBACK")
        check([j["label"] for j in history(pool)] == ["first", "job"], f"{history(pool)}")
    return f"history said so after {took:.1f} s"


def test_a_garbled_database():
    with Pool(slot=1) as pool:
        short(pool, "first", seconds=LONG)
        settled(pool)
        with open(path(pool, "history.db"), "r+b") as f:
            f.write(os.urandom(6000))
        unhurt(pool)
        settled(pool)
        check([j["label"] for j in history(pool)] == ["job"] and "history.db.garbled" in files(pool), f"{files(pool)}")
        with open(path(pool, "history.db"), "wb") as f:
            f.write(b"this is no database" * 100)
        short(pool, "last")
        done = pool.run("history")
        check(done.returncode == 0 and "was garbled" in done.stderr and "last" in done.stdout, f"{done}")
        done = pool.run("history")
        check(done.returncode == 0 and done.stderr == "" and "last" in done.stdout, f"{done}")


def test_things_in_its_way():
    for name, make in (("history.new", os.mkfifo), ("history.new", os.mkdir), ("history.db", os.mkdir), ("history.db", os.mkfifo),
                       ("history.lock", os.mkdir), ("history.lock", os.mkfifo), ("history.learned", os.mkfifo),
                       ("history.folding", os.mkdir), ("", None)):
        with Pool(slot=1) as pool:
            os.makedirs(pool.state if not name else os.path.join(pool.state, "berth"))
            if name:
                make(path(pool, name))
            else:
                with open(os.path.join(pool.state, "berth"), "w", encoding="ascii"):
                    pass
            unhurt(pool)
            settled(pool)
            done, took = timed(lambda: pool.run("history"))
            check(took < 5 and done.stderr.count("\n") <= 1, f"{name}: {took:.1f} s: {done}")


class without_library:
    """libsqlite3.so.0 is something else here."""

    def __init__(self, pool):
        self.pool = pool

    def __enter__(self):
        place = os.path.join(self.pool.tmp, "lib")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "libsqlite3.so.0"), "w", encoding="ascii") as f:
            f.write("no library\n")
        self.pool.env["LD_LIBRARY_PATH"] = place

    def __exit__(self, *_):
        del self.pool.env["LD_LIBRARY_PATH"]


def test_without_the_library():
    with Pool(slot=1) as pool:
        with without_library(pool):
            unhurt(pool)
            settled(pool)
            done = pool.run("history")
            check(done.returncode == 0 and "libsqlite3" in done.stderr and done.stderr.count("\n") == 1 and "job" in done.stdout, f"{done}")
        check([j["label"] for j in history(pool)] == ["job"] and "history.db" in files(pool), "once it is there")
        with without_library(pool):
            short(pool, "later")
            done = pool.run("history")
            check(done.returncode == 125 and "later" in done.stdout and "cannot be read" in done.stderr, f"{done}")


def test_a_directory_that_cannot_be_written():
    if os.geteuid() != 0:
        return "skipped: needs root"
    with Pool() as pool:
        pool.env["BERTH_POOL"] = pool.path = os.path.join(pool.root, "others")
        os.mkdir(pool.path)
        os.chmod(pool.path, 0o1777)
        os.makedirs(pool.state)
        os.chmod(pool.state, 0o555)

        def as_somebody(*words):
            with subprocess.Popen([public_berth(), *words], env=pool.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  **as_user(1234)) as process:
                out, err = process.communicate(timeout=20)
                return process.returncode, out, err

        check(as_somebody("run", "--cpu", "1", "--", "sh", "-c", "exit 6") == (6, "", ""), "no place to write it")
        check(as_somebody("run", "--cpu", "1", "--", "sleep", str(LONG)) == (0, "", ""), "no place to write it, and of some length")
        code, out, err = as_somebody("history", "--json")
        check(code == 0 and json.loads(out)["jobs"] == [] and err == "", f"{code} {out} {err}")
        # What there is can be read, though.
        os.chmod(pool.state, 0o755)
        put_journal(pool, [line(1)])
        for name in (path(pool, "history.new"), os.path.dirname(path(pool, ""))):
            os.chmod(name, 0o755)
        code, out, err = as_somebody("history", "--json")
        check(code == 0 and [j["label"] for j in json.loads(out)["jobs"]] == ["l1"] and err == "", f"{code} {out} {err}")
        # And root leaves nothing in another's home.
        os.chown(pool.state, 1234, 1234)
        shutil.rmtree(os.path.join(pool.state, "berth"))
        check(short_cpu(pool).returncode == 0 and files(pool) == [], "root in another's home")
    return None


def short_cpu(pool):
    return pool.run("run", "--cpu", "1", "--", "true")


def in_namespace(pool, script, **kw):
    """A shell with a file system of its own, as root; None where that cannot be."""
    words = ["unshare", "-m", "sh", "-c"]
    probe = ["mount -t tmpfs -o size=64k none /mnt"]
    if os.geteuid() != 0 or not shutil.which("unshare") or subprocess.run(words + probe, capture_output=True, check=False).returncode != 0:
        return None
    env = dict(pool.env, BERTH=berth(), **kw)
    return subprocess.run(words + [script], env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_full_disk():
    with Pool(cpu=1) as pool:
        done = in_namespace(pool, """mount -t tmpfs -o size=16k,nr_inodes=9 none /mnt && mkdir /mnt/berth && cat /dev/zero >/mnt/fill 2>/dev/null
            "$BERTH" run --cpu 1 -- sh -c 'exit 7'; echo $?
            "$BERTH" run --cpu 1 -- sleep 2.1; echo $?
            "$BERTH" history; echo $?
            rm /mnt/fill
            "$BERTH" run --cpu 1 -l now -- true; echo $?
            cat /dev/zero >/mnt/fill 2>/dev/null
            "$BERTH" history | grep -c now; "$BERTH" history --json | grep -o '"label":"now"'
            """, XDG_STATE_HOME="/mnt")
        if done is None:
            return "skipped: no mounts here"
        lines = done.stdout.splitlines()
        check(lines[0] == "7" and lines[1] == "0" and lines[3] == "0" and lines[4:] == ["0", "1", '"label":"now"'], f"{done}")
        check(done.stderr.count("\n") <= 3, f"{done.stderr}")
        return done.stderr.strip().splitlines()[-1] if done.stderr else None


def test_a_read_only_home():
    with Pool(cpu=1) as pool:
        done = in_namespace(pool, """mount -t tmpfs -o ro none /mnt && "$BERTH" run --cpu 1 -- sh -c 'exit 7'; echo $?
            "$BERTH" run --cpu 1 -- sleep 2.1; echo $?; "$BERTH" history --json; echo $?""", XDG_STATE_HOME="/mnt/x/y")
        if done is None:
            return "skipped: no mounts here"
        lines = done.stdout.splitlines()
        check(lines[:2] == ["7", "0"] and '"jobs":[]' in lines[2] and lines[3] == "0" and done.stderr == "", f"{done}")
    return None


# Stands in for a home on a server that is gone: whoever opens something there is not heard of for 20 s.
HANGS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
int open(const char* path, int flags, ...) {
  int (*real)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, "open");
  if (strstr(path, "/berth/history")) sleep(20);
  return real(path, flags, 0600);
}
"""


def test_a_home_that_hangs():
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        return "skipped: no C compiler"
    with Pool(slot=1) as pool:
        source, library = os.path.join(pool.tmp, "hangs.c"), os.path.join(pool.tmp, "hangs.so")
        with open(source, "w", encoding="ascii") as f:
            f.write(HANGS)
        subprocess.run([compiler, "-w", "-shared", "-fPIC", "-o", library, source], check=True)
        env = dict(pool.env, LD_PRELOAD=library)
        late = []
        for seconds in (0.2, LONG):
            done, took = timed(lambda: pool.run("run", "-r", "slot=1", "--", "sh", "-c", f"sleep {seconds}; exit 5", env=env))
            check(done.returncode == 5 and done.stderr == "" and took < seconds + 2, f"{took:.1f} s: {done}")
            late.append(took - seconds)
        told = pool.spawn("run", "-r", "slot=1", "--", "sleep", "60", env=env)
        job = job_of(told)
        time.sleep(0.1)
        _, took = timed(lambda: (kill(job, signal.SIGTERM), wait_exit(told)))
        check(told.returncode == 143 and took < 2, f"{took}")
        return ", ".join(f"{s:.2f} s" for s in late) + " late"


# ---------------------------------------------------------------- a history for the whole machine

def test_a_machine_wide_one():
    with Pool() as pool:
        pool.env["BERTH_POOL"] = "/mnt/pool"
        script = """mount -t tmpfs none /mnt && mount -t tmpfs none /var/lib && mkdir -m 1777 /mnt/pool && mkdir -m 755 /mnt/a /mnt/b &&
            chown 1234 /mnt/a && chown 1235 /mnt/b && install -d -m 2770 -g 4321 /var/lib/berth && install -m 660 -g 4321 /dev/null /var/lib/berth/history.db
            as() { uid=$1; shift; setpriv --reuid "$uid" --regid "$uid" --groups "$group" "$@"; }
            group=4321; B="$PUBLIC"
            XDG_STATE_HOME=/mnt/a as 1234 "$B" run --cpu 1 -l one -- sleep 2.1; echo $?
            XDG_STATE_HOME=/mnt/b as 1235 "$B" run --cpu 1 -l two -- sleep 2.1; echo $?
            sleep 0.5
            XDG_STATE_HOME=/mnt/b as 1235 "$B" history --json
            XDG_STATE_HOME=/mnt/b as 1235 "$B" history --json --user 1234
            group=4322
            XDG_STATE_HOME=/mnt/a as 1234 "$B" run --cpu 1 -l own -- true; echo $?
            XDG_STATE_HOME=/mnt/a as 1234 "$B" history --json; echo $?
            chmod 755 /var/lib/berth
            XDG_STATE_HOME=/mnt/a as 1234 "$B" history --json; echo $?
            ls /mnt/a/berth /var/lib/berth"""
        if not shutil.which("setpriv"):
            return "skipped: no setpriv"
        pool.env["PUBLIC"] = public_berth()
        done = in_namespace(pool, script)
        if done is None:
            return "skipped: no mounts here"
        lines = done.stdout.splitlines()
        labels = [[j["label"] for j in json.loads(text)["jobs"]] for text in lines if text.startswith("{")]
        check(lines[:2] == ["0", "0"] and labels[0] == ["one", "two"] and labels[1] == ["one"], f"{done}")
        check(labels[2] == ["own"] and done.stderr == "" and "history.db" in lines[-6:], f"who may not write there has his own: {done}")
    return None


def test_no_library_is_linked_for_it():
    """Each would be found and relocated at every start of a job."""
    if not shutil.which("ldd"):
        return "skipped: no ldd"
    if slower() > 1:
        return "skipped: a sanitizer is linked"
    needed = [l.split()[0].split("/")[-1] for l in subprocess.run(["ldd", berth()], capture_output=True, text=True, check=True).stdout.splitlines()]
    check(not [l for l in needed if not l.startswith(("linux-vdso", "libc.so", "ld-linux", "ld-musl"))], f"{needed}")
    return ", ".join(needed)


# ---------------------------------------------------------------- what is learned

def test_estimates_are_learned():
    with Pool(slot=1) as pool:
        second = 10**6
        put_journal(pool, (line(i, label="train", cmd=f"python {i}", ended_us=10**15 + i + d * second)
                           for i, d in enumerate([100, 120, 110, 5000, 90, 95, 105, 115])))
        put_journal(pool, (line(i, label="", cmd="make", ended_us=10**15 + i + 60 * second) for i in range(20, 22)))
        history(pool)
        with open(path(pool, "history.learned"), encoding="ascii") as f:
            lessons = f.read().splitlines()
        check(len(lessons) == 1 and lessons[0].startswith("l ") and lessons[0].endswith(" 115"), f"{lessons}")
        put_journal(pool, [line(30, label="", cmd="make", ended_us=10**15 + 30 + 80 * second)])
        history(pool)
        with open(path(pool, "history.learned"), encoding="ascii") as f:
            lessons = f.read().splitlines()
        check(len(lessons) == 2 and lessons[1].startswith("c ") and lessons[1].endswith(" 80"), f"{lessons}")


def test_a_learned_estimate_is_used_where_it_is_asked_for():
    with Pool(slot=1) as pool:
        short(pool, "other", "--expect", "learned")  # nothing is known, not even the directory
        put_journal(pool, (line(i, label="train", cmd="sleep 60", ended_us=10**15 + i + 7 * 10**6) for i in range(3)))
        history(pool)

        def expected(*words):
            job = pool.spawn("run", "-r", "slot=1", *words)
            job_of(job)
            said = pool.lease_of(job)["expect_s"]
            kill(job.pid, signal.SIGTERM)
            wait_exit(job)
            return said

        check(expected("-l", "train", "--expect", "learned", "--", "sleep", "61") == 7, "by label")
        check(expected("-l", "another", "--expect", "learned", "--", "sleep", "60") == 7, "by command")
        check(expected("-l", "another", "--expect", "learned", "--", "sleep", "62") is None, "unknown")
        check(expected("-l", "train", "--", "sleep", "60") is None and expected("-l", "train", "--expect", "none", "--", "sleep", "60") is None
              and expected("-l", "train", "--expect", "9", "--", "sleep", "60") == 9, "only where it is asked for")
        check(pool.run("adopt", str(os.getpid()), "-r", "slot=1", "--expect", "learned").returncode == 2, "not of what runs already")


def test_a_resize_that_nobody_could_ring_for():
    for names in (["slot"], [letter * 32 for letter in "abcdef"]):  # in the record's name, and in its target
        with Pool(**{name: 4 for name in names}) as pool:
            claim = [word for name in names for word in ("-r", name + "=4")]
            process = pool.spawn("run", *claim, "--", "cat", stdin=subprocess.PIPE)
            pool.wait_for(held=1)
            lease = pool.leases("held")[0]["id"]
            os.unlink(os.path.join(pool.path, f"u{os.geteuid()}", lease + ".b"))
            check(pool.run("resize", lease, "-r", names[0] + "=1").returncode == 0, "resize")
            process.stdin.close()
            check(wait_exit(process, pool=pool) == 0, pool.err(process))
            check(history(pool)[0]["claim"]["resources"] == {**{name: 4 for name in names}, names[0]: 1}, f"{history(pool)}")


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
