#!/usr/bin/env python3
"""What a thousand waiting `berth run` cost: CPU in ten seconds, memory each, and who wakes for a release."""
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

WAITERS = int(os.environ.get("WAITERS", "1000"))
SECONDS = 10
BERTH = os.path.abspath(os.environ.get("BERTH", os.path.join(os.path.dirname(__file__), "..", "build", "berth")))


def cpu_ms(pid):
    with open(f"/proc/{pid}/schedstat") as f:
        return int(f.read().split()[0]) / 1e6


def private_kib(pid):
    total = 0
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith("Private_"):
                total += int(line.split()[1])
    return total


def sleeps(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("voluntary_ctxt_switches"):
                return int(line.split()[1])
    return 0


def count_waiting(env):
    out = subprocess.run([BERTH, "status", "--json"], env=env, capture_output=True, check=True).stdout
    return sum(1 for lease in json.loads(out)["leases"] if lease["state"] == "waiting")


def main():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        env = dict(os.environ, BERTH_POOL=os.path.join(scratch, "pool"), XDG_STATE_HOME=os.path.join(scratch, "state"))
        subprocess.run([BERTH, "set", "slot=1"], env=env, check=True)
        quiet = {"env": env, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        holders = [subprocess.Popen([BERTH, "run", "-r", "slot=1", "--", "sleep", "600"], **quiet)]
        waiters = []
        try:
            while count_waiting(env) != 0 or not holders:
                time.sleep(0.01)
            for _ in range(WAITERS):
                waiters.append(subprocess.Popen([BERTH, "run", "-r", "slot=1", "--", "sleep", "5"], **quiet))
            for _ in range(6000):
                if count_waiting(env) == WAITERS:
                    break
                time.sleep(0.05)
            else:
                sys.exit("waiters: they do not all stand in line")
            time.sleep(2)
            before = {p.pid: cpu_ms(p.pid) for p in waiters}
            time.sleep(SECONDS)
            used = sum(cpu_ms(p.pid) - before[p.pid] for p in waiters)
            memory = [private_kib(p.pid) for p in waiters]
            asleep = {p.pid: sleeps(p.pid) for p in waiters}
            holders[0].send_signal(signal.SIGTERM)
            holders[0].wait()
            time.sleep(0.5)
            woken = sum(1 for p in waiters if sleeps(p.pid) != asleep[p.pid])
            print(f"{f'{WAITERS} waiting berth run, CPU in {SECONDS} s, ms':44} {used:9.1f}")
            print(f"{'private memory each, KiB (median, most)':44} {statistics.median(memory):9.0f} {max(memory):9.0f}")
            print(f"{'woken by one release':44} {woken:9d}")
        finally:
            for p in holders + waiters:
                p.kill()
            for p in holders + waiters:
                p.wait()
            subprocess.run(["pkill", "-KILL", "-f", "^sleep 600$"], check=False)


if __name__ == "__main__":
    main()
