#!/usr/bin/env python3
"""Wall time of `berth run --cpu 1 -- true` beside `flock FILE true`, turn by turn."""
import os
import statistics
import subprocess
import tempfile
import time

ROUNDS = 400
BERTH = os.environ.get("BERTH", os.path.join(os.path.dirname(__file__), "..", "build", "berth"))


def wall_ms(argv, env):
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env)
    os.waitpid(pid, 0)
    return (time.perf_counter() - start) * 1e3


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def main():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        env = dict(os.environ, BERTH_POOL=os.path.join(scratch, "pool"), XDG_STATE_HOME=os.path.join(scratch, "state"), PATH="/usr/bin:/bin")
        ours = [os.path.abspath(BERTH), "run", "--cpu", "1", "--", "true"]
        theirs = ["/usr/bin/flock", os.path.join(scratch, "lock"), "true"]
        rows = {"ours": [], "theirs": []}
        for i in range(ROUNDS + 20):
            pair = [("ours", ours), ("theirs", theirs)]
            for name, argv in pair if i % 2 else reversed(pair):
                took = wall_ms(argv, env)
                if i >= 20:
                    rows[name].append(took)
        a, b = statistics.median(rows["ours"]), statistics.median(rows["theirs"])
        print(f"{'berth run --cpu 1 -- true, ms':44} {a:9.3f} {quantile(rows['ours'], .99):9.3f}   "
              f"{'flock FILE true':24} {b:8.3f} {quantile(rows['theirs'], .99):8.3f}   {a / b:6.2f}")


if __name__ == "__main__":
    main()
