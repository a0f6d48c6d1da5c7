"""Jobs, strangers, kills and a driver in moods, at random. Judged from outside, by what the jobs themselves wrote down."""
import os
import random
import time

from berthtest import check, main, seed, wait_until
from gpukit import HOLD, Card, leave, machine, sees_everybody, stranger

TOTAL = 24
UUIDS = ["GPU-aaaaaaaa-0001", "GPU-bbbbbbbb-0002"]
NOTICED = 1.0  # a stranger that is there for so long was seen by whoever is seated

# The job says when it came, loads slowly, works, and says when it ends: seconds since boot, to 10 ms.
JOB = HOLD + ("now() { read t x </proc/uptime; }; now; echo \"start $1 $2 $BERTH_DEVICES $t\" >>$0; sleep $3; "
              "hold $BERTH_DEVICES ${2}G; sleep $4; now; echo \"end $1 $2 $BERTH_DEVICES $t\" >>$0")


def uptime():
    with open("/proc/uptime", encoding="ascii") as f:
        return float(f.read().split()[0])


def judge(log, strangers):
    """Goes through what the jobs wrote and fails on any moment at which a card had more than it has."""
    running = {uuid: {} for uuid in UUIDS}
    # The order of the lines is that of the events: a place is given back after its job's last word.
    for line in log:
        what, tag, size, uuid, at = line.split()
        if what == "end":
            del running[uuid][tag]
            continue
        at = float(at)
        running[uuid][tag] = int(size)
        claims = sum(running[uuid].values())
        check(claims <= TOTAL, f"at {at}: {running[uuid]} on {uuid}")
        known = sum(s["size"] for s in strangers if s["uuid"] == uuid and s["from"] + NOTICED < at < s["to"])
        check(claims + known <= TOTAL,
              f"at {at}: job {tag} of {size} G beside {running[uuid]} and {known} G of strangers on {uuid}")


def test_at_random():
    rnd = random.Random(seed())
    with machine(Card(UUIDS[0], "0000:17:00.0"), Card(UUIDS[1], "0000:2a:00.0")) as (gpus, pool):
        path = os.path.join(pool.tmp, "jobs")
        jobs, present, past = [], [], []
        killed = 0
        until = time.monotonic() + float(os.environ.get("SECONDS_OF_CHAOS", "15"))
        while time.monotonic() < until:
            dice = rnd.random()
            if dice < 0.6 and sum(j.poll() is None for j in jobs) < 14:
                size = rnd.choice([2, 4, 8, 8, 14, 20, TOTAL])
                claim = ["--gpus", "1"] if size == TOTAL else ["--vram", f"{size}G"]
                if rnd.random() < 0.3:
                    claim += ["--only", str(rnd.randrange(2))]
                words = [str(len(jobs)), str(size), str(rnd.choice([0, 0.05, 0.3])), str(rnd.choice([0, 0.1, 0.5]))]
                jobs.append(pool.spawn("run", *claim, "--", "sh", "-c", JOB, path, *words))
            elif dice < 0.7 and len(present) < 2:
                size, uuid = rnd.choice([3, 10, 21]), rnd.choice(UUIDS)
                present.append({"process": stranger(pool, gpus, uuid, f"{size}G"), "size": size, "uuid": uuid, "from": uptime()})
            elif dice < 0.8 and present:
                one = present.pop(rnd.randrange(len(present)))
                one["to"] = uptime()
                leave(one["process"])
                past.append(one)
            elif dice < 0.88 and jobs:
                victim = rnd.choice(jobs)
                if victim.poll() is None:
                    victim.kill()
                    killed += 1
            elif dice < 0.95:
                gpus.lines = [rnd.choice(["linger 300", "order 1 0", "delay nvmlInit 200", "fail nvmlInit 18", f"fail * 15 {UUIDS[0]}", "linger 0"])]
                gpus.write()
            time.sleep(rnd.choice([0.005, 0.02, 0.1]))
        gpus.lines = []
        gpus.write()
        for one in present:
            one["to"] = uptime()
            leave(one["process"])
        past += present
        for process in jobs:
            wait_until(lambda p=process: p.poll() is not None, 60, f"pid {process.pid} to end", pool)
        refused = [p for p in jobs if p.returncode not in (0, -9)]
        for p in refused:
            check(p.returncode == 4, f"exit {p.returncode}: {pool.err(p)!r}")
        wait_until(lambda: not pool.leases(), 20, "the jobs of those who were killed to end", pool)
        with open(path, encoding="ascii") as f:
            log = f.read().splitlines()
        judge(log, past if sees_everybody() else [])
        ran = sum(line.startswith("start") for line in log)
        check(ran >= len(jobs) - killed - len(refused), f"{ran} of {len(jobs)} ran, {killed} were killed")
        # Idle again: the whole machine can be had.
        done = pool.run("run", "--gpus", "2", "--timeout", "10s", "--", "true")
        check(done.returncode == 0, f"afterwards: {done}")
    return f"{ran} jobs, {killed} kills, {len(past)} strangers, {len(refused)} refused while the driver was ill"


if __name__ == "__main__":
    main([test_at_random])
