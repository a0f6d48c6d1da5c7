#!/usr/bin/env python3
"""From a request to give way to the hook that it starts, and on to the asker's command: wall time.

The request is a `berth run` of higher priority, so its own start is in each figure; beside it stands the wall
time of one that finds its place free, to its command.
"""
import os
import shutil
import statistics
import subprocess
import tempfile
import time

ROUNDS = 200
BERTH = os.path.abspath(os.environ.get("BERTH", os.path.join(os.path.dirname(__file__), "..", "build", "berth")))


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def row(name, values):
    print(f"{name:52} {statistics.median(values):9.3f} {quantile(values, .99):9.3f}")


def wait_until_held(env, label):
    while True:
        listing = subprocess.run([BERTH, "status", "--json"], env=env, capture_output=True, text=True, check=True).stdout
        if f'"state":"held","label":"{label}"' in listing:
            return
        time.sleep(0.002)


def main():
    scratch = tempfile.mkdtemp(dir="/dev/shm")
    hook, command = os.path.join(scratch, "hook"), os.path.join(scratch, "command")
    os.mkfifo(hook)
    os.mkfifo(command)
    env = dict(os.environ, BERTH_POOL=os.path.join(scratch, "pool"), BERTH_HISTORY="off", PATH="/usr/bin:/bin")
    os.mkdir(env["BERTH_POOL"])
    os.chmod(env["BERTH_POOL"], 0o1777)
    subprocess.run([BERTH, "set", "slot=1"], env=env, check=True)
    ears = {name: os.open(name, os.O_RDWR) for name in (hook, command)}
    ask = [BERTH, "run", "-r", "slot=1", "-p", "5", "--", "sh", "-c", f"echo >{command}"]
    free = []
    server = None
    try:
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            job = subprocess.Popen(ask, env=env)
            os.read(ears[command], 1)
            free.append((time.perf_counter() - begun) * 1e3)
            job.wait()
        server = subprocess.Popen([BERTH, "run", "-r", "slot=1", "-l", "server", "--reclaimable", "--on-reclaim",
                                   f"echo >{hook}", "--", "sleep", "1000"], env=env, stderr=subprocess.DEVNULL)
        to_hook, to_command = [], []
        for _ in range(ROUNDS):
            wait_until_held(env, "server")
            begun = time.perf_counter()
            job = subprocess.Popen(ask, env=env, stderr=subprocess.DEVNULL)
            os.read(ears[hook], 1)
            to_hook.append((time.perf_counter() - begun) * 1e3)
            os.read(ears[command], 1)
            to_command.append((time.perf_counter() - begun) * 1e3)
            job.wait()
        row("start of the asker to its command, place free, ms", free)
        row("start of the asker to the hook, ms", to_hook)
        row("start of the asker to its command, ms", to_command)
    finally:
        if server:
            server.terminate()
            server.wait()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
