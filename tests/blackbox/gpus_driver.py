"""Drivers that say no, crash, or do not answer: what berth makes of them, and whom it keeps out of it."""
import fcntl
import os
import shutil
import signal
import subprocess
import time

from berthtest import berth, check, descendants, is_running, main, wait_exit, wait_until
from gpukit import Card, end, job, leave, machine, seated, still_waits, stranger, waits

A, B = "GPU-aaaaaaaa-0001", "GPU-bbbbbbbb-0002"
QUICK = "1s"  # for a driver that hangs


def one():
    return Card(A, "0000:17:00.0")


def said_once(done, *words):
    check(done.stderr.startswith("berth: ") and done.stderr.count("\n") == 1, f"not one clear line: {done.stderr!r}")
    for word in words:
        check(word in done.stderr, f"no word of {word!r}: {done.stderr!r}")


def nobody_left(what):
    """No process that this test has started runs any more, whoever its parent was."""
    try:
        wait_until(lambda: not any(is_running(pid) for pid in descendants()), 3, what)
    finally:
        for pid in descendants():
            if not is_running(pid):
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass


# ---------------------------------------------------------------- in the driver's own words

def test_the_drivers_own_words():
    cases = [("fail nvmlInit 9", "Driver Not Loaded"), ("fail nvmlInit 18", "Driver/library version mismatch"),
             ("fail nvmlInit 4", "Insufficient Permissions"), ("fail nvmlInit 15", "GPU is lost"),
             ("fail nvmlDeviceGetCount 15", "GPU is lost"), ("fail nvmlDeviceGetHandleByIndex 15", "GPU is lost"),
             ("fail nvmlDeviceGetHandleByIndex 4", "Insufficient Permissions"), ("fail * 15", "GPU is lost"),
             ("fail nvmlDeviceGetMemoryInfo 15", "GPU is lost")]
    with machine(one()) as (gpus, pool):
        for line, words in cases:
            gpus.lines = [line]
            gpus.write()
            for extra in ([], ["--no-wait"], ["--dry-run"], ["--timeout", "5s"], ["--vram", "1G"]):
                done = pool.run("run", *extra, "--", "true")
                check(done.returncode == 4 and done.stdout == "", f"{line}, {extra}: {done}")
                said_once(done, words)
            done = pool.run("hold", "--gpus", "1", "--print", "env")
            check((done.returncode, done.stdout) == (4, "(exit 4)\n"), f"{line}, hold: {done}")
            done = pool.run("status")
            check(done.returncode == 0 and words in done.stdout, f"{line}: {done}")
            short = pool.run("status", "--short").stdout
            check(words in short and short.count("\n") == 1, f"{line}: {short!r}")
            status = pool.status()
            check(words in str(status["complaints"]) + str([d["trouble"] for d in status["devices"]]), f"{line}: {status}")
            check(pool.run("run", "--cpu", "1", "--", "true").returncode == 0, f"{line}: a CPU claim")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")


def test_one_of_two_is_enough():
    with machine(one(), Card(B, "0000:2a:00.0")) as (gpus, pool):
        gpus.lines = [f"fail nvmlDeviceGetUUID 15 {A}"]
        gpus.write()
        done = pool.run("run", "--", "sh", "-c", "echo $BERTH_DEVICES")
        check(done.stdout == B + "\n", f"{done}")
        check("GPU is lost" in str(pool.status()["complaints"]), f"{pool.status()}")
        done = pool.run("run", "--gpus", "2", "--", "true")
        check(done.returncode == 3, f"two of them: {done}")


def test_no_gpu_at_all():
    with machine() as (_, pool):
        done = pool.run("run", "--", "true")
        check(done.returncode == 4, f"{done}")
        said_once(done, "no GPU", "BERTH_SIM_GPUS")
        check(pool.status()["devices"] == [] and pool.status()["complaints"] == [], f"{pool.status()}")


def test_a_library_that_crashes():
    with machine(one()) as (gpus, pool):
        for call in ("nvmlInit", "nvmlDeviceGetMemoryInfo", "nvmlShutdown"):
            gpus.lines = [f"crash {call}"]
            gpus.write()
            done = pool.run("run", "--", "true")
            check(done.returncode == 4, f"{call}: {done}")
            said_once(done, "signal 11")
            done = pool.run("status")
            check(done.returncode == 0 and "signal 11" in done.stdout, f"{call}: {done}")
            check(pool.run("run", "--cpu", "1", "--", "true").returncode == 0, f"{call}: a CPU claim")
        nobody_left("the probes to be gone")


def test_with_its_standard_descriptors_closed():
    with machine(one()) as (_, pool):
        for closed in ("<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"):
            script = f"{berth()} run --only {A} -- sh -c 'echo $BERTH_DEVICES >{pool.tmp}/out' {closed}"
            done = subprocess.run(["sh", "-c", script], env=pool.env, timeout=20, check=False)
            with open(f"{pool.tmp}/out", encoding="ascii") as f:
                check(done.returncode == 0 and f.read() == A + "\n", f"{closed}: exit {done.returncode}")
            os.unlink(f"{pool.tmp}/out")


def test_doctor_knows_the_mend():
    cases = [("fail nvmlInit 18", "version mismatch", "reboot", 1), ("fail nvmlInit 4", "Insufficient Permissions", "/dev/nvidia", 1),
             ("fail nvmlDeviceGetMemoryInfo 15", "GPU is lost", "Xid", 1), ("crash nvmlInit", "signal 11", "nvidia-smi", 1),
             ("hang nvmlInit", "not answered", "reboot", 1), ("util 5", "NVIDIA Test", "", 0)]
    with machine(one()) as (gpus, pool):
        pool.env["BERTH_PROBE_LIMIT"] = QUICK
        check(pool.run("set", "slot=1").returncode == 0, "set")
        before = pool.run("doctor", env=dict(pool.env, BERTH_SIM_GPUS="1x24G")).stdout.count("WRONG")
        for line, words, mend, wrong in cases:
            gpus.lines = [line]
            gpus.write()
            done = pool.run("doctor")
            check(words in done.stdout and done.stdout.count("WRONG") == before + wrong, f"{line}: {done}")
            check(done.returncode == (1 if before + wrong else 0), f"{line}: {done}")
            if mend:
                lines = done.stdout.splitlines()
                at = next(i for i, text in enumerate(lines) if words in text)
                check(lines[at + 1].startswith("      mend: ") and mend in lines[at + 1], f"{line}: {done.stdout}")
        gpus.lines = ["fail nvmlInit 9"]
        gpus.write()
        done = pool.run("doctor")
        check("note  NVML: Driver Not Loaded" in done.stdout or "modprobe nvidia" in done.stdout, f"no card here: {done}")


# ---------------------------------------------------------------- a CPU claim and the driver

def test_a_cpu_claim_asks_no_driver():
    with machine(one()) as (gpus, pool):
        gpus.lines = ["hang nvmlInit"]
        gpus.write()
        begun = time.monotonic()
        for words in (["run", "--cpu", "1"], ["run", "--ram", "1G", "--no-wait"], ["run", "--cpu", "1", "--dry-run"]):
            done = pool.run(*words, "--", "true")
            check(done.returncode == 0, f"{words}: {done}")
        check(pool.run("set", "slot=1").returncode == 0, "set")
        check(time.monotonic() - begun < 2, "it was held up")
        if shutil.which("strace"):
            trace = os.path.join(pool.tmp, "trace")
            subprocess.run(["strace", "-f", "-o", trace, "-e", "trace=open,openat,openat2,fork,vfork,clone,clone3", berth(), "run",
                            "--cpu", "1", "--", "true"], env=pool.env, timeout=20, check=False, stderr=subprocess.DEVNULL)
            with open(trace, encoding="utf-8", errors="replace") as f:
                calls = f.read()
            check(calls and "nvidia" not in calls and "/drm" not in calls and "kfd" not in calls, "it looked for a GPU's driver")


# ---------------------------------------------------------------- a driver that hangs

def hanging(*cards):
    return _Quick(cards or (one(),))


class _Quick:
    """machine(), whose berth loses patience with the driver after QUICK."""

    def __init__(self, cards):
        self.inner = machine(*cards)

    def __enter__(self):
        gpus, pool = self.inner.__enter__()
        pool.env["BERTH_PROBE_LIMIT"] = QUICK
        return gpus, pool

    def __exit__(self, *_):
        return self.inner.__exit__()


def hang(gpus, call="nvmlInit"):
    gpus.lines = [f"hang {call}"] if call else []
    gpus.write()


def test_a_hang_has_an_end():
    with hanging() as (gpus, pool):
        for call in ("nvmlInit", "nvmlDeviceGetComputeRunningProcesses", "nvmlShutdown"):
            hang(gpus, call)
            for words in (["run"], ["run", "--no-wait"], ["run", "--dry-run"], ["hold", "--for", str(os.getpid())]):
                begun = time.monotonic()
                done = pool.run(*words, *([] if words[0] == "hold" else ["--", "true"]))
                took = time.monotonic() - begun
                check(done.returncode == 4, f"{call}, {words}: {done}")
                said_once(done, "not answered for 1 s;")
                check(0.9 < took < 4, f"{call}, {words}: after {took:.1f} s")
            nobody_left(f"{call}: the probe to be gone")
            check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")


def test_a_hang_without_further_words():
    """The limits as they are: ten seconds for a claim, three for status."""
    with machine(one()) as (gpus, pool):
        hang(gpus)
        begun = time.monotonic()
        done = pool.run("status")
        took = time.monotonic() - begun
        check(done.returncode == 0 and "not answered for 3 s" in done.stdout and took < 6, f"after {took:.1f} s: {done}")
        check("Nobody holds" in done.stdout and "cpu" in done.stdout, "all else is told as ever")
        begun = time.monotonic()
        done = pool.run("run", "--", "true")
        took = time.monotonic() - begun
        check(done.returncode == 4 and 9.5 < took < 14, f"after {took:.1f} s: {done}")
        nobody_left("the probe to be gone")


def test_ctrl_c_at_the_first_look():
    with machine(one()) as (gpus, pool):
        hang(gpus)
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            process = pool.spawn("run", "--", "true")
            wait_until(lambda p=process: len(descendants(p.pid)) == 1, 10, "the probe")
            process.send_signal(sig)
            check(wait_exit(process, 3) == -sig, f"signal {sig}: {process.returncode}")
            nobody_left(f"signal {sig}: the probe to be gone")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")


def asking(pool, gpus, *claim):
    """A waiter whose turn has come and whose driver has hung just then; no limit soon."""
    holder = job(pool, "--gpus", "1")
    seated(pool, holder)
    waiter = job(pool, "--gpus", "1", *claim, env=dict(pool.env, BERTH_PROBE_LIMIT="60s"))
    wait_until(lambda: pool.lease_of(waiter), 10, "it to wait", pool)
    hang(gpus)
    end(holder)
    wait_until(lambda: len(descendants(waiter.pid)) == 1, 10, "it to ask", pool)
    return waiter


def test_who_asks_can_be_interrupted():
    with hanging() as (gpus, pool):
        for sig in (signal.SIGINT, signal.SIGTERM):
            hang(gpus, None)
            waiter = asking(pool, gpus)
            waiter.send_signal(sig)
            check(wait_exit(waiter, 3, pool) == -sig, f"{waiter.returncode}: {pool.err(waiter)}")
            nobody_left("the probe to be gone")
        hang(gpus, None)
        begun = time.monotonic()
        waiter = asking(pool, gpus, "--timeout", "3s")
        check(wait_exit(waiter, 6, pool) == 124 and time.monotonic() - begun > 2.8, f"{waiter.returncode}: {pool.err(waiter)}")
        nobody_left("the probe to be gone")
        hang(gpus, None)
        waiter = asking(pool, gpus)
        waiter.kill()
        waiter.wait(10)
        nobody_left("killed: the probe to be gone")
        check(pool.run("run", "--cpu", "1", "--", "true").returncode == 0 and pool.leases() == [], "all tidy")


def test_who_does_not_wait_asks_again_where_the_answer_has_aged():
    with machine(one()) as (gpus, pool):
        check(pool.run("set", "slot=1").returncode == 0, "set")
        for hung in (False, True):
            lock = os.open(pool.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = pool.spawn("run", "--no-wait", "--", "true")
            time.sleep(0.5)  # it has its first answer, and waits for the lock
            hang(gpus, "nvmlInit" if hung else None)
            time.sleep(0.6)
            os.close(lock)
            if hung:
                wait_until(lambda p=process: len(descendants(p.pid)) == 1, 10, "it to ask", pool)
                process.send_signal(signal.SIGINT)
            check(wait_exit(process, 3, pool) == (-signal.SIGINT if hung else 0), f"{process.returncode}: {pool.err(process)}")
        nobody_left("the probe to be gone")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")


def test_others_go_on_while_the_driver_hangs():
    with hanging() as (gpus, pool):
        pool.run("set", "slot=2")
        other = stranger(pool, gpus, A, "21G")
        refused = job(pool, "--gpus", "1", "-r", "slot=2")
        waits(pool, refused, "21 GiB")
        holder = job(pool, "-r", "slot=2")
        seated(pool, holder)
        behind = job(pool, "-r", "slot=2")
        waits(pool, behind, "held by")
        hang(gpus)
        time.sleep(1.5)
        begun = time.monotonic()
        end(holder)
        seated(pool, behind, 5)
        check(time.monotonic() - begun < 3.5, "held up by a driver that it does not need")
        waits(pool, refused)
        check(refused.poll() is None, "it waits for its driver")
        leave(other)
        end(behind)
        hang(gpus, None)
        seated(pool, refused, 20)
        check(end(refused) == 0, "well in the end")


def test_whose_turn_it_is_when_the_driver_hangs():
    """It is asked about until the limit; then those behind pass, and it keeps its place."""
    with hanging() as (gpus, pool):
        pool.run("set", "slot=1")
        holder = job(pool, "--gpus", "1", "-r", "slot=1")
        seated(pool, holder)
        first = job(pool, "--gpus", "1", "-r", "slot=1")
        waits(pool, first)
        second = job(pool, "-r", "slot=1")
        waits(pool, second)
        hang(gpus)
        begun = time.monotonic()
        end(holder)
        seated(pool, second, 8)
        took = time.monotonic() - begun
        check(took < 4, f"passed after {took:.1f} s")
        check("does not answer" in pool.err(first), f"{pool.err(first)!r}")
        check(waits(pool, first)["position"] == 1, "its place is its own")
        hang(gpus, None)
        still_waits(pool, first, 0.3)
        end(second)
        seated(pool, first, 15)
        check(end(first) == 0, "well in the end")


def test_a_slow_driver_is_waited_for():
    with machine(one()) as (gpus, pool):
        gpus.lines = ["delay nvmlInit 700"]
        gpus.write()
        begun = time.monotonic()
        done = pool.run("run", "--no-wait", "--", "true")
        took = time.monotonic() - begun
        check(done.returncode == 0 and took < 1.4, f"asked once: {took:.2f} s, {done}")
        holder = job(pool, "--gpus", "1")
        seated(pool, holder)
        waiter = job(pool, "--gpus", "1")
        waits(pool, waiter)
        time.sleep(0.6)
        end(holder)
        seated(pool, waiter)
        end(waiter)


def test_an_answer_that_was_not_read_in_time_is_old():
    """It was asked and stopped; meanwhile the driver answered, and then the card was taken."""
    with machine(one()) as (gpus, pool):
        holder = job(pool, "--gpus", "1")
        seated(pool, holder)
        waiter = job(pool, "--gpus", "1")
        waits(pool, waiter)
        time.sleep(0.6)
        gpus.lines = ["delay nvmlInit 300"]
        gpus.write()
        end(holder)
        wait_until(lambda: len(descendants(waiter.pid)) == 1, 10, "it to ask", pool)
        waiter.send_signal(signal.SIGSTOP)
        time.sleep(1)
        gpus.lines = []
        other = stranger(pool, gpus, A, "21G")
        gpus.write()
        waiter.send_signal(signal.SIGCONT)
        waits(pool, waiter, "21 GiB")
        still_waits(pool, waiter, 0.5)
        leave(other)
        seated(pool, waiter)
        end(waiter)


def test_a_driver_that_comes_back():
    with machine(one()) as (gpus, pool):
        holder = job(pool, "--gpus", "1")
        seated(pool, holder)
        waiter = job(pool, "--gpus", "1")
        waits(pool, waiter)
        gpus.lines = ["fail nvmlInit 18"]
        gpus.write()
        end(holder)
        wait_until(lambda: "version mismatch" in pool.err(waiter), 10, "it to say why", pool)
        lease = waits(pool, waiter)
        check("mismatch" in lease["reason"], f"{lease['reason']!r}")
        gpus.lines = []
        gpus.write()
        seated(pool, waiter)
        end(waiter)


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
