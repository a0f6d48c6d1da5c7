"""berth demo: it leaves nothing behind, however it ends."""
import os
import signal
import subprocess
import time

from berthtest import Pool, berth, check, descendants, is_running, kill, main, wait_until


def pools():
    return {name for name in os.listdir("/dev/shm") if name.startswith("berth-demo-")}


def broken_off(stop):
    """Starts a demo, and once it shows something `stop(process)` is called; its exit status."""
    before = pools()
    with Pool() as pool:
        with subprocess.Popen([berth(), "demo"], env=pool.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as process:
            seen = b""
            while b"waits, 1" not in seen:
                got = os.read(process.stdout.fileno(), 65536)
                check(got, f"it ended: {seen!r}")
                seen += got
            check(pools() - before, "there is no pool to leave behind")
            jobs = descendants(process.pid)
            check(jobs, "nothing runs")
            began = time.monotonic()
            stop(process)
            status = process.wait(20)
        took = time.monotonic() - began
        check(pools() <= before, f"left behind: {pools() - before}")
        wait_until(lambda: not [pid for pid in jobs if is_running(pid)], 5, "its jobs to be gone")
        return status, took


def test_a_signal_ends_it_and_it_tidies_up():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        status, took = broken_off(lambda process, n=number: kill(process.pid, n))
        check(status == -number and took < 3, f"{number}: {status} after {took:.1f} s")


def test_nobody_reads_it():
    status, _ = broken_off(lambda process: process.stdout.close())
    check(status == -signal.SIGPIPE, f"{status}")


main([test_a_signal_ends_it_and_it_tidies_up, test_nobody_reads_it])
