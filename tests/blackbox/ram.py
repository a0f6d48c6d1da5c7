"""--ram is real: jobs beyond the pool's memory wait, and who takes more than it claimed is named or ended."""
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, check, children, kill, main, wait_exit, wait_until  # noqa: E402

MIB = 1 << 20
# Touches as much as makes it ARG MiB large with all it has, says since when, and stays a moment.
JOB = """
import sys, time
def own():
    return int([l for l in open("/proc/self/status") if l.startswith("RssAnon")][0].split()[1]) << 10
data = bytearray(b"x") * ((int(sys.argv[1]) << 20) - own() - (1 << 20))
begun = time.monotonic()
time.sleep(float(sys.argv[2]))
print(begun, time.monotonic(), own())
"""


def most_at_once(texts):
    """The most memory that the jobs had at one time, by what each said."""
    spans = [tuple(float(word) for word in text.split()) for text in texts]
    return max(sum(own for begun, end, own in spans if begun <= at < end) for at, _, _ in spans)


def test_eighteen_hungry_jobs_and_memory_for_six():
    command = [sys.executable, "-c", JOB, "100", "0.5"]
    with Pool(ram="600M", cpu=64) as pool:
        jobs = [pool.spawn("run", "--ram", "100M", "--", *command) for _ in range(18)]
        for job in jobs:
            check(wait_exit(job, 60) == 0, f"{job.returncode}: {pool.err(job)}")
        most = most_at_once([pool.out(job) for job in jobs])
        check(3 * 95 * MIB < most <= 600 * MIB, f"{most / MIB} MiB at once")
    # The same without berth.
    free = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(18)]
    most = most_at_once([job.communicate(timeout=60)[0] for job in free])
    check(most > 600 * MIB, f"{most / MIB} MiB at once without berth: this test shows nothing")


def in_force(pool):
    done = pool.run("run", "--ram", "64M", "--", os.environ.get("BERTH", "build/berth"), "status", "--json")
    return json.loads(done.stdout)["leases"][0]["ram_limit"]


def test_status_says_which_limit_is_in_force():
    with Pool(ram="600M") as pool:
        check(in_force(pool) in ("cgroup", "watched"), "nothing said")
        job = pool.spawn("run", "--ram", "64M", "--", "sleep", "100")
        pool.wait_for(held=1)
        check(re.search(r"64 MiB ram \((cgroup|watched)\)", pool.run("status").stdout), pool.run("status").stdout)
        kill(job.pid, signal.SIGTERM)
        wait_exit(job)
        job = pool.spawn("run", "--cpu", "1", "--", "sleep", "100")
        pool.wait_for(held=1)
        check(pool.leases()[0]["ram_limit"] is None, pool.leases())
        kill(job.pid)


def test_who_takes_more_is_named():
    with Pool(ram="600M") as pool:
        # Inside another lease there is no cgroup of one's own: it is watched.
        job = pool.spawn("run", "--ram", "400M", "--", os.path.abspath(os.environ.get("BERTH", "build/berth")),
                         "run", "--ram", "100M", "--", sys.executable, "-c", JOB, "200", "20")
        wait_until(lambda: "MiB of RAM and claimed 100 MiB; others may run out of memory" in pool.err(job), 15, "a word", pool)
        check(job.poll() is None, "it was ended")
        kill(job.pid)


def test_who_takes_more_and_is_soon_over_is_named():
    with Pool(ram="600M") as pool:
        # Inside another's scope it is watched.
        done = pool.run("run", "--ram", "400M", "--", os.path.abspath(os.environ.get("BERTH", "build/berth")),
                        "run", "--ram", "50M", "--", sys.executable, "-c", JOB, "200", "0")
        check(done.returncode == 0, done)
        check(re.search(r"^berth: it use[ds] \d+\.?\d* MiB of RAM and claimed 50 MiB", done.stderr, re.M), done)
        check(len(done.stderr.splitlines()) == 1, done)


def test_inside_a_lease_that_is_in_no_cgroup_there_is_one():
    with Pool(ram="600M") as pool:
        alone = in_force(pool)
        program = os.path.abspath(os.environ.get("BERTH", "build/berth"))
        done = pool.run("run", "--cpu", "1", "--", program, "run", "--ram", "64M", "--", program, "status", "--json")
        inner = [lease["ram_limit"] for lease in json.loads(done.stdout)["leases"] if lease["ram_limit"]]
        check(inner == [alone], f"{inner}, and alone {alone}")
        nested = pool.run("run", "--ram", "200M", "--", program, "run", "--ram", "64M", "--", program, "status", "--json")
        leases = sorted(json.loads(nested.stdout)["leases"], key=lambda lease: lease["parent"] or "")
        check([lease["ram_limit"] for lease in leases] == [alone, "watched"], f"{leases}, and alone {alone}")
        # Where the outer one has a cgroup that limits both, that is said of the inner one.
        around = "cgroup" if alone == "cgroup" else None
        check([lease["ram_limit_around"] for lease in leases] == [None, around], f"{leases}, and alone {alone}")
        nested = pool.run("run", "--ram", "200M", "--", program, "run", "--ram", "64M", "--", program, "status").stdout
        check(("64 MiB ram (watched, in the outer cgroup)" in nested) == (alone == "cgroup"), nested)


def test_inside_a_cgroup_there_is_no_more_than_it_may_have():
    with Pool(ram="600M") as pool:
        if in_force(pool) != "cgroup":
            return "skipped: no cgroup can be made here"
        program = os.path.abspath(os.environ.get("BERTH", "build/berth"))
        done = pool.run("run", "--ram", "200M", "--", program, "run", "--ram", "400M", "--", "true", timeout=10)
        check(done.returncode == 3 and "it asks for 400 MiB ram, but this shell's cgroup may have only" in done.stderr, done)
        return None


def test_who_takes_more_is_ended_with_its_tree_where_it_said_so():
    with Pool(ram="600M") as pool:
        script = f"{sys.executable} -c '{JOB}' 200 20 & sleep 100 & wait"
        job = pool.spawn("run", "--ram", "400M", "--", os.path.abspath(os.environ.get("BERTH", "build/berth")),
                         "run", "--ram", "100M", "--over-use", "term", "--", "sh", "-c", script)
        check(wait_exit(job, 20) == 128 + 15, pool.err(job))
        check("so it is ended (--over-use term)" in pool.err(job), pool.err(job))
        check(not pool.leases() and not pool.leftovers(), pool.leases())


def test_a_resized_claim_is_what_counts():
    script = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
data = bytearray(b"x") * (150 << 20)
time.sleep(2.5)
"""
    with Pool(ram="600M") as pool:
        go = os.path.join(pool.tmp, "go")
        job = pool.spawn("run", "--ram", "40M", "--over-use", "term", "--", sys.executable, "-c", script, go)
        pool.wait_for(held=1)
        done = pool.run("resize", pool.leases("held")[0]["id"], "--ram", "200M")
        check(done.returncode == 0, done.stderr)
        if in_force(pool) == "cgroup":
            wait_until(lambda: limit_of(job) == LIMIT_OF_200M, what="the new limit", pool=pool)
        open(go, "w", encoding="ascii").close()
        check(wait_exit(job, 20, pool) == 0 and pool.err(job) == "", pool.err(job))


LIMIT_OF_200M = 200 * MIB + 200 * MIB // 16 + 16 * MIB  # hard_limit_bytes()


def limit_of(job):
    """What the kernel lets its command have, or None where that has no cgroup of its own."""
    for pid in children(job.pid):
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as f:
            for line in f:
                number, controllers, path = line.rstrip("\n").split(":", 2)
                if not path.endswith(f"/berth-{job.pid}"):
                    continue
                file = f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes" if controllers else \
                    f"/sys/fs/cgroup{path}/memory.max"
                with open(file, encoding="ascii") as limit:
                    return int(limit.read())
    return None


def test_what_forks_share_counts_once():
    with Pool(ram="600M") as pool:
        script = ("import os, time\ndata = bytearray(b'x') * (60 << 20)\n"
                  "[os.fork() == 0 and (time.sleep(4), os._exit(0)) for _ in range(4)]\ntime.sleep(4)\n")
        done = pool.run("run", "--ram", "400M", "--", os.path.abspath(os.environ.get("BERTH", "build/berth")),
                        "run", "--ram", "100M", "--over-use", "term", "--", sys.executable, "-c", script)
        check(done.returncode == 0 and done.stderr == "", done)


def test_one_that_is_soon_over_is_not_talked_about():
    with Pool(ram="600M") as pool:
        for _ in range(30):
            done = pool.run("run", "--ram", "64M", "--", "true")
            check(done.returncode == 0 and done.stderr == "", done)


def test_in_a_cgroup_it_dies_alone():
    with Pool(ram="600M") as pool:
        if in_force(pool) != "cgroup":
            print("      no cgroup can be made here: not tried")
            return
        done = pool.run("run", "--ram", "64M", "--", sys.executable, "-c", JOB, "300", "5")
        check(done.returncode == 128 + 9, done)
        check("it took more than the 64 MiB of RAM that it claimed, and the kernel ended it" in done.stderr, done)
        show = "grep -h . /proc/self/cgroup"
        done = pool.run("run", "--ram", "64M", "--", "sh", "-c", show)
        group = re.search(r"^(\d+):([^:]*):(.*/berth-\d+)$", done.stdout, re.M)
        check(group, done.stdout)
        top = "/sys/fs/cgroup/memory" if "memory" in group[2] else "/sys/fs/cgroup"
        check(not os.path.exists(top + group[3]), "the group is left")


def test_without_a_place_it_is_as_polite():
    with Pool(ram="600M", slot=1) as pool:
        holder = pool.spawn("run", "-r", "slot=1", "--", "sleep", "100")
        pool.wait_for(held=1)
        script = f"nice; echo $OMP_NUM_THREADS; exec {sys.executable} -c '{JOB}' 150 20"
        done = pool.run("run", "-r", "slot=1", "--cpu", "1", "--ram", "100M", "--nice", "7", "--timeout", "100ms",
                        "--on-timeout", "run", "--over-use", "term", "--", "sh", "-c", script)
        check(done.stdout.splitlines()[:2] == [str(os.nice(0) + 7), "1"], done)
        check(done.returncode in (128 + 15, 128 + 9) and "100 MiB" in done.stderr, done)
        kill(holder.pid)


main([value for name, value in list(globals().items()) if name.startswith("test_")])
