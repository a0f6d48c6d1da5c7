"""A lease that is removed behind its job's back: entered again where its place is free, told where not."""
import array
import fcntl
import os
import shutil
import subprocess
import sys
import termios

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, berth, check, children, kill, main, sleeps, wait_exit, wait_until  # noqa: E402
from faultkit import strace_missing  # noqa: E402


def record(pool, state="h"):
    names = [n for n in os.listdir(pool.path) if n.startswith(state + "1,")]
    check(len(names) == 1, names)
    return names[0]


def running(pool, *options):
    process = pool.spawn("run", "-r", "slot=1", *options, "--", "sleep", "600")
    pool.wait_for(held=1)
    return process, pool.leases("held")[0]["id"]


def end(process, pool, text=None):
    process.terminate()
    wait_exit(process, pool=pool)
    said = pool.err(process)
    check(text is None or text in said, said)
    return said


def test_a_removed_record_is_entered_again_under_its_id():
    with Pool(slot=1) as pool:
        process, lease = running(pool)
        for _ in range(2):
            os.unlink(os.path.join(pool.path, record(pool)))
            pool.wait_for(held=1)
            check(pool.leases("held")[0]["id"] == lease, pool.leases())
            check(pool.run("run", "-r", "slot=1", "--no-wait", "--", "true").returncode == 75, "the place was given away")
        end(process, pool, "it has been entered again")
        wait_until(lambda: not pool.leases(), what="the place free")


def test_a_wiped_pool_is_filled_again():
    with Pool(slot=1) as pool:
        process, lease = running(pool)
        for name in os.listdir(pool.path):
            path = os.path.join(pool.path, name)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        pool.wait_for(held=1)
        check(pool.leases("held")[0]["id"] == lease, pool.leases())
        # Its new life is berth's alone: the place is kept by the command all the same when berth is gone.
        pid = pool.leases("held")[0]["pid"]
        kill(process.pid)
        wait_exit(process, pool=pool)
        check(pool.leases("held"), "the place was free under a command that runs")
        check(pid == process.pid, pid)


def test_a_removed_pool_is_made_again():
    with Pool(slot=1) as pool:
        process, lease = running(pool)
        shutil.rmtree(pool.path)
        wait_until(lambda: os.path.isdir(pool.path) and pool.leases("held"), what="the pool")
        check(pool.leases("held")[0]["id"] == lease, pool.leases())
        end(process, pool, "entered again")
        wait_until(lambda: not pool.leases(), what="the place free")


def held_by_another(pool, *options):
    """A job whose record went while it was stopped, and another that took its place."""
    process, lease = running(pool, *options)
    kill(process.pid, 19)
    os.unlink(os.path.join(pool.path, record(pool)))
    other = pool.spawn("run", "-r", "slot=1", "--", "sleep", "600")
    pool.wait_for(held=1)
    kill(process.pid, 18)
    return process, lease, other


def test_a_place_that_others_have_is_not_taken_back():
    with Pool(slot=1) as pool:
        process, lease, other = held_by_another(pool)
        wait_until(lambda: "others have its place by now; it runs on" in pool.err(process), what="the word", pool=pool)
        check(process.poll() is None, "it was ended")
        check([x["id"] for x in pool.leases()] != [lease], pool.leases())
        end(process, pool)
        check(other.poll() is None, "the other one was ended")


def test_on_lost_term_ends_the_command():
    with Pool(slot=1) as pool:
        process, _, _ = held_by_another(pool, "--on-lost", "term")
        check(wait_exit(process, pool=pool) == 76, process.returncode)
        check("--on-lost term" in pool.err(process), pool.err(process))


def test_what_release_ends_stays_ended():
    with Pool(slot=2) as pool:
        jobs = []
        for options in (), ("--on-lost", "term"):
            process = pool.spawn("run", "-r", "slot=1", *options, "--", "sleep", "600")
            wait_until(lambda p=process: (pool.lease_of(p) or {}).get("state") == "held", what="held", pool=pool)
            jobs.append((process, pool.lease_of(process)["id"]))
        wait_until(lambda: all(sleeps(p.pid) > 2 for p, _ in jobs), what="their first looks")
        for _, lease in jobs:
            check(pool.run("release", lease).returncode == 0, "release")
        before = [sleeps(p.pid) for p, _ in jobs]
        wait_until(lambda: all(sleeps(p.pid) > b + 1 for (p, _), b in zip(jobs, before)), what="their looks after it")
        check(not pool.leases(), "one came back")
        for process, _ in jobs:
            check(process.poll() is None, "it was ended")
            check("removed" not in end(process, pool), "it spoke of a loss")


def wait_heard(pool, process, lease):
    """Waits until the supervisor has emptied its bell, and sleeps again."""
    bell = os.open(os.path.join(pool.path, f"u{os.geteuid()}", lease + ".b"), os.O_RDWR | os.O_NONBLOCK)

    def heard():
        left = array.array("i", [0])
        fcntl.ioctl(bell, termios.FIONREAD, left)
        with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
            return left[0] == 0 and f.read().rsplit(")", 1)[1].split()[0] == "S"

    try:
        wait_until(heard, what="the bell to be heard", pool=pool)
    finally:
        os.close(bell)


def test_a_resized_lease_is_missed_too_and_comes_back_as_it_was_last():
    with Pool(slot=3) as pool:
        process = pool.spawn("run", "-r", "slot=3", "--", "sleep", "600")
        pool.wait_for(held=1)
        lease = pool.leases("held")[0]["id"]
        check(pool.run("resize", lease, "-r", "slot=1").returncode == 0, "resize")
        wait_heard(pool, process, lease)
        os.unlink(os.path.join(pool.path, record(pool)))
        pool.wait_for(held=1)
        check(pool.leases("held")[0]["claim"]["resources"] == {"slot": 1}, pool.leases())
        os.unlink(os.path.join(pool.path, record(pool)))  # and once more, after a look
        pool.wait_for(held=1)
        end(process, pool, "entered again")


def calls(log, *words):
    """When the calls that have all these words in them were made: seconds, as strace wrote them down."""
    with open(log, encoding="utf-8", errors="replace") as f:
        return [float(line.split()[0]) for line in f if all(word in line for word in words) and line.endswith("\n")]


def test_a_forged_word_of_leaving_is_not_believed_for_long():
    if strace_missing():
        return f"skipped: {strace_missing()}"
    with Pool(slot=1) as pool:
        log = os.path.join(pool.tmp, "calls")
        process = subprocess.Popen(["strace", "-qq", "-ttt", "-o", log, "-e", "trace=read,newfstatat", berth(), "run",  # pylint: disable=consider-using-with
                                    "-r", "slot=1", "--", "sleep", "600"], env=pool.env, stdin=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        pool.wait_for(held=1)
        lease = pool.leases("held")[0]["id"]
        with open(os.path.join(pool.path, f"u{os.geteuid()}", lease + ".b"), "wb") as bell:
            bell.write(b"e")
        heard = wait_until(lambda: calls(log, 'read(', '"e"'), 30, "the word to be heard", pool)[0]
        # A look finds the entries where they belong, the bell last. One within a tenth of a second may believe the word.
        wait_until(lambda: calls(log, f"{lease}.b", " = 0")[-1:] > [heard + 0.2], 60, "a look some seconds later", pool)
        os.unlink(os.path.join(pool.path, record(pool)))
        pool.wait_for(held=1, timeout=60)
        kill(children(process.pid)[0], 15)
        said = process.communicate(timeout=30)[1].decode()
        check("entered again" in said, said)
        return None


def test_a_keeper_comes_back_too():
    with Pool(slot=1) as pool:
        done = pool.run("hold", "-r", "slot=1", "--for", str(os.getpid()))
        check(done.returncode == 0, done)
        lease = done.stdout.strip()
        os.unlink(os.path.join(pool.path, record(pool)))
        pool.wait_for(held=1)
        check(pool.leases("held")[0]["id"] == lease, pool.leases())
        check(pool.run("release", lease).returncode == 0, "release")
        wait_until(lambda: not pool.leases(), what="no lease")


if __name__ == "__main__":
    main([test_a_removed_record_is_entered_again_under_its_id, test_a_wiped_pool_is_filled_again,
          test_a_removed_pool_is_made_again, test_a_place_that_others_have_is_not_taken_back,
          test_on_lost_term_ends_the_command, test_what_release_ends_stays_ended,
          test_a_resized_lease_is_missed_too_and_comes_back_as_it_was_last,
          test_a_forged_word_of_leaving_is_not_believed_for_long, test_a_keeper_comes_back_too])
