"""The contract of the command line: exit codes, status, set, release, environment, units, order, signals."""
import json
import os
import signal
import subprocess
import sys
import time

from berthtest import Pool, check, fail, is_running, job_of, kill, main, wait_exit, wait_until
from faultkit import as_user, end_holder, entry_of, public_berth, spawn_holder, wait_name

GIB = 1 << 30


def said_once(done, *words):
    check(done.stderr.startswith("berth: ") and done.stderr.count("\n") == 1, f"not one clear line: {done.stderr!r}")
    for word in words:
        check(word in done.stderr, f"no word of {word!r}: {done.stderr!r}")


# ---------------------------------------------------------------- exit codes

def test_own_codes():
    with Pool(slot=1) as pool:
        for code in (0, 1, 2, 3, 75, 124, 125, 126, 127, 128, 255):
            done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", f"echo out; echo err >&2; exit {code}")
            check((done.returncode, done.stdout, done.stderr) == (code, "out\n", "err\n"), f"exit {code}: {done}")
        for sig in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGUSR1, signal.SIGHUP):
            done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", f"ulimit -c 0; kill -{int(sig)} $$")
            check(done.returncode == 128 + sig, f"signal {sig}: exit {done.returncode}")
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")


def test_wrong_calls():
    calls = ["run", "run --nosuch true", "run --gpus 0 true", "run --gpus x true", "run --gpus -1 true", "run --vram 5Q true",
             "run --vram 0 true", "run --vram -1G true", "run --vram= true", "run --cpu 0 true", "run --cpu 1.5 true", "run --cpu 01 true",
             "run --cpu 99999999999999999999 true", "run --ram x true", "run --ram 1GG true", "run -r slot true", "run -r slot=0 true",
             "run -r slot=-1 true", "run -r =1 true", "run -r gpu=1 true", "run -r slot=1 -r slot=1 true", "run --cpu 1 -r cpu=1 true",
             "run -r a/b=1 true", "run --compute 0 true", "run --compute 101 true", "run --timeout x --cpu 1 true",
             "run --timeout 1x --cpu 1 true", "run --timeout 30m1h --cpu 1 true", "run --timeout 1h1h --cpu 1 true",
             "run --timeout= --cpu 1 true", "run --expect soon --cpu 1 true", "run -p high --cpu 1 true", "run -p 1.5 --cpu 1 true",
             "run --no-wait=1 --cpu 1 true", "run --cpu", "run --only 9 true", "run --only , true", "run --exclude SIM-9 true",
             "nosuch", "status --nosuch", "status x", "set", "set slot", "set slot=", "set slot=x", "set slot=-1", "set gpu=1", "set a/b=1",
             "set vram=8G", "set policy.age=0", "unset", "unset nosuch", "release --nosuch", "release --label", "release a b"]
    with Pool(slot=1, sim_gpus="2x24G") as pool:
        before = os.readlink(f"{pool.path}/pool")
        for call in calls:
            done = pool.run(*call.split())
            check(done.returncode == 2 and done.stdout == "", f"berth {call}: exit {done.returncode}, out {done.stdout!r}, {done.stderr!r}")
            said_once(done)
        check(pool.run().returncode == 2, "no verb at all")
        done = pool.run("run", "--gpsu", "1", "true")
        said_once(done, "--gpsu", "did you mean --gpus")
        done = pool.run("stauts")
        said_once(done, "did you mean status")
        check(os.readlink(f"{pool.path}/pool") == before and pool.leftovers() == [], "something was changed")
        env = dict(pool.env, BERTH_SIM_GPUS="2x24Q")
        done = pool.run("run", "true", env=env)
        check(done.returncode == 2, f"BERTH_SIM_GPUS=2x24Q: exit {done.returncode}")
        said_once(done, "BERTH_SIM_GPUS")
    return f"{len(calls)} calls"


def test_never_possible():
    with Pool(slot=3, sim_gpus="2x24G") as pool:
        for call, words in (("-r slot=4", ("4 slot", "3")), ("-r nosuch=1", ("no nosuch", "berth set nosuch=N")), ("--gpus 3", ("3 GPUs", "2")),
                            ("--vram 25G", ("25 GiB", "24 GiB")), ("--gpus 2 --only 0", ("2 GPUs", "--only 0 leaves 1")),
                            ("--gpus 1 --exclude 0,1", ("1 GPU", "--exclude 0,1 leaves none")), ("--cpu 100000", ("100000",)), ("--ram 100T", ("100 TiB",))):
            for extra in ([], ["--no-wait"], ["--timeout", "1s"]):
                done = pool.run("run", *call.split(), *extra, "--", "true")
                check(done.returncode == 3 and done.stdout == "", f"berth run {call} {extra}: exit {done.returncode}: {done.stderr!r}")
                said_once(done, *words)
        check(pool.leftovers() == [], f"left behind: {pool.leftovers()}")


def test_no_gpu_here():
    """What is not there cannot be read: 4, and a word on what to do."""
    with Pool() as pool:
        if pool.status()["devices"]:
            return "skipped: this machine has GPUs"
        for words in (["--gpus", "1"], [], ["--vram", "8G"]):
            done = pool.run("run", *words, "--", "true")
            check(done.returncode == 4, f"exit {done.returncode}: {done.stderr!r}")
            said_once(done, "BERTH_SIM_GPUS")
    return ""


def test_busy():
    with Pool(slot=1) as pool:
        holder = spawn_holder(pool, "-r", "slot=1", "--label", "the holder", "--expect", "1h")
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "echo", "not me")
        check(done.returncode == 75 and done.stdout == "", f"exit {done.returncode}, out {done.stdout!r}")
        check(done.stderr.count("\n") == 1, f"not one line: {done.stderr!r}")
        told = json.loads(done.stderr)
        check(told["error"] == "busy" and (told["eta_s"] is None or isinstance(told["eta_s"], (int, float))), f"{told}")
        check([(h["label"], h["pid"]) for h in told["holders"]] == [("the holder", holder.pid)], f"{told}")
        check(set(told["holders"][0]) >= set(LEASE), f"a holder lacks {set(LEASE) - set(told['holders'][0])}")
        end_holder(holder)
        check(pool.run("run", "--no-wait", "-r", "slot=1", "--", "true").returncode == 0, "free again")


def test_timed_out():
    with Pool(slot=1) as pool:
        holder = spawn_holder(pool, "-r", "slot=1")
        for text, seconds in (("0", 0), ("200ms", 0.2), ("0.3", 0.3), ("1s", 1)):
            begun = time.monotonic()
            done = pool.run("run", "--timeout", text, "-r", "slot=1", "--", "true")
            took = time.monotonic() - begun
            check(done.returncode == 124 and done.stdout == "", f"--timeout {text}: exit {done.returncode}: {done.stderr!r}")
            check(seconds <= took < seconds + 0.7, f"--timeout {text}: gave up after {took:.2f} s")
            check(all(line.startswith("berth: ") for line in done.stderr.splitlines()) and done.stderr, f"{done.stderr!r}")
        end_holder(holder)
        check(pool.run("run", "--timeout", "0", "-r", "slot=1", "--", "true").returncode == 0, "--timeout 0 with a free place")


def test_not_started():
    with Pool(slot=1) as pool:
        plain = os.path.join(pool.tmp, "plain")
        with open(plain, "w", encoding="ascii") as f:
            f.write("x")
        for word, status in ((plain, 126), ("/", 126), ("/no/such", 127), ("no-such-command", 127), ("", 127), (plain + "/x", 126)):
            done = pool.run("run", "-r", "slot=1", "--", word)
            check(done.returncode == status, f"{word!r}: exit {done.returncode} instead of {status}: {done.stderr!r}")
            said_once(done)
            check(pool.leftovers() == [], f"{word!r}: left behind: {pool.leftovers()}")


# ---------------------------------------------------------------- status

NUMBER = (int,)
RESOURCE = {"name": (str,), "capacity": NUMBER, "held": NUMBER, "free": NUMBER}
DEVICE = {"index": NUMBER, "uuid": (str,), "name": (str,), "vendor": (str,), "simulated": (bool,), "vram_total": NUMBER,
          "vram_used": (int, type(None)), "vram_held": NUMBER, "vram_free": NUMBER, "util_pct": (int, type(None)),
          "compute_held": NUMBER, "unleased": (list,)}
LEASE = {"id": (str,), "state": (str,), "label": (str,), "user": (str,), "uid": NUMBER, "pid": NUMBER, "cmd": (str,), "priority": NUMBER,
         "since": NUMBER, "waited_s": NUMBER, "expect_s": (int, type(None)), "remaining_s": (int, type(None)),
         "eta_s": (int, type(None)), "position": (int, type(None)), "reason": (str, type(None)), "reclaimable": (bool,),
         "reclaim_requested": (bool,), "claim": (dict,), "granted": (dict, type(None))}
WHOLE = {"version": NUMBER, "pool": (str,), "now": NUMBER, "resources": (list,), "devices": (list,), "leases": (list,)}


def shaped(what, value, shape):
    for key, types in shape.items():
        check(key in value, f"{what} has no {key!r}: {value}")
        good = isinstance(value[key], types) and (bool in types or not isinstance(value[key], bool))
        check(good, f"{what}: {key} is {value[key]!r}")


def test_status_json():
    with Pool(slot=3, sim_gpus="2x24G") as pool:
        empty = pool.status()
        shaped("status", empty, WHOLE)
        check(empty["version"] == 1 and empty["pool"] == pool.path and empty["leases"] == [], f"{empty}")
        check(abs(empty["now"] - time.time()) < 5, f"now {empty['now']}")
        holder = spawn_holder(pool, "--vram", "8G", "-r", "slot=2", "--label", "one", "--expect", "1h")
        waiter = pool.spawn("run", "--gpus", "2", "-r", "slot=2", "--label", "two", "-p", "3", "--", "true")
        told = pool.wait_for(held=1, waiting=1)
        for resource in told["resources"]:
            shaped("a resource", resource, RESOURCE)
        slot = next(r for r in told["resources"] if r["name"] == "slot")
        check((slot["capacity"], slot["held"], slot["free"]) == (3, 2, 1), f"{slot}")
        check([r["name"] for r in told["resources"]][:2] == ["cpu", "ram"], "cpu and ram are always there")
        for device in told["devices"]:
            shaped("a device", device, DEVICE)
            check(device["simulated"] and device["vram_total"] == 24 * GIB, f"{device}")
            check(device["vram_free"] == device["vram_total"] - device["vram_held"], f"{device}")
        check([d["index"] for d in told["devices"]] == [0, 1] and [d["uuid"] for d in told["devices"]] == ["SIM-0", "SIM-1"], "devices")
        check(sorted(d["vram_held"] for d in told["devices"]) == [0, 8 * GIB], "held memory")
        by_label = {lease["label"]: lease for lease in told["leases"]}
        one, two = by_label["one"], by_label["two"]
        for lease in (one, two):
            shaped("a lease", lease, LEASE)
            check(lease["uid"] == os.geteuid() and len(lease["id"]) == 10 and abs(lease["since"] - time.time()) < 30, f"{lease}")
        check((one["state"], one["pid"], one["cmd"], one["priority"]) == ("held", holder.pid, "cat", 0), f"{one}")
        check(one["claim"] == {"gpus": 1, "vram": 8 * GIB, "resources": {"slot": 2}}, f"{one}")
        check(one["expect_s"] == 3600 and 3590 <= one["remaining_s"] <= 3600 and one["position"] is None and one["reason"] is None, f"{one}")
        granted = one["granted"]
        check(granted["resources"] == {"slot": 2} and len(granted["devices"]) == 1, f"{one}")
        shaped("a granted device", granted["devices"][0], {"uuid": (str,), "index": NUMBER, "vram": NUMBER})
        check(granted["devices"][0]["vram"] == 8 * GIB, f"{one}")
        check((two["state"], two["pid"], two["priority"], two["position"]) == ("waiting", waiter.pid, 3, 1), f"{two}")
        check(two["claim"] == {"gpus": 2, "vram": None, "resources": {"slot": 2}} and two["granted"] is None, f"{two}")
        check(two["reason"] and two["remaining_s"] is None and two["expect_s"] is None, f"{two}")
        end_holder(holder)
        check(wait_exit(waiter, 10, pool) == 0, pool.err(waiter))
        check(pool.status()["leases"] == [], "all gone")


def test_status_for_people():
    with Pool(slot=3, sim_gpus="2x24G") as pool:
        pool.spawn("run", "--vram", "8G", "-r", "slot=3", "--label", "one", "--", "sleep", "1000")
        pool.wait_for(held=1)
        pool.spawn("run", "-r", "slot=1", "--label", "two", "--", "true")
        told = pool.wait_for(held=1, waiting=1)
        table = pool.run("status")
        check(table.returncode == 0 and table.stderr == "", f"{table}")
        for word in (pool.path, "RESOURCE", "cpu", "ram", "slot", "GPU", "SIM-0", "SIM-1", "24 GiB", "one", "two", "sleep 1000", "held",
                     "wait", *(lease["id"] for lease in told["leases"])):
            check(word in table.stdout, f"no word of {word!r} in\n{table.stdout}")
        check("simulated" in table.stdout.lower(), "simulated GPUs are not marked as such")
        short = pool.run("status", "--short")
        check(short.returncode == 0 and short.stdout.count("\n") == 1, f"{short}")
        for word in ("1 held", "1 waiting", "GPU 1/2", "slot 0/3"):
            check(word in short.stdout, f"no word of {word!r} in {short.stdout!r}")
        for verb in ("run", "status", "set", "unset", "release"):
            done = pool.run(verb, "--help")
            check(done.returncode == 0 and f"berth {verb}" in done.stdout and done.stderr == "", f"{verb} --help: {done}")
            check(max(map(len, done.stdout.splitlines())) <= 80, f"{verb} --help is wider than 80")


def test_status_of_nothing():
    with Pool() as pool:
        for words in (["status"], ["status", "--json"], ["status", "--short"]):
            done = pool.run(*words)
            check(done.returncode == 0 and done.stdout and done.stderr == "", f"{words}: {done}")
        shaped("status", pool.status(), WHOLE)
        check([r["name"] for r in pool.status()["resources"]] == ["cpu", "ram"], "the machine's own figures")
        check(not os.path.exists(pool.path), "status made the pool")


def test_status_into_a_closed_pipe():
    with Pool(slot=1) as pool:
        read, write = os.pipe()
        os.close(read)
        done = pool.run("status", stdout=write)
        os.close(write)
        check(done.returncode in (-signal.SIGPIPE, 125), f"exit {done.returncode}")
        if os.path.exists("/dev/full"):
            with open("/dev/full", "wb") as full:
                done = pool.run("status", stdout=full)
            check(done.returncode == 125, f"/dev/full: exit {done.returncode}")
            said_once(done, "No space")


# ---------------------------------------------------------------- set, unset, release

def capacity(pool, name):
    return next((r["capacity"] for r in pool.status()["resources"] if r["name"] == name), None)


def test_set_and_unset():
    with Pool() as pool:
        check(pool.run("set", "license=2", "ram=96G", "cpu=12").returncode == 0, "set")
        check((capacity(pool, "license"), capacity(pool, "ram"), capacity(pool, "cpu")) == (2, 96 * GIB, 12), f"{pool.status()['resources']}")
        check(pool.run("set", "good=1", "bad=x").returncode == 2 and capacity(pool, "good") is None, "a set that is half wrong did half")
        holder = spawn_holder(pool, "-r", "license=2")
        check(pool.run("set", "license=1").returncode == 0, "shrink below what is held")
        slot = next(r for r in pool.status()["resources"] if r["name"] == "license")
        check((slot["capacity"], slot["held"], slot["free"]) == (1, 2, 0), f"{slot}")
        check(is_running(job_of(holder)), "the holder was ended")
        waiter = pool.spawn("run", "-r", "license=1", "--", "true")
        wait_name(pool, "w1,")
        check(pool.run("set", "license=3").returncode == 0, "grow")
        check(wait_exit(waiter, 5, pool) == 0, f"a waiter that now fits: {pool.err(waiter)!r}")
        end_holder(holder)
        check(pool.run("set", "license=0").returncode == 0, "set to 0")
        check(pool.run("run", "-r", "license=1", "--", "true").returncode == 3, "nothing there")
        check(pool.run("unset", "license").returncode == 0 and capacity(pool, "license") is None, "unset")
        check(pool.run("unset", "cpu", "ram").returncode == 0, "unset cpu and ram")
        check(capacity(pool, "cpu") == os.sysconf("SC_NPROCESSORS_ONLN"), f"cpu goes back to {capacity(pool, 'cpu')}")
        done = pool.run("set", *[f"r{i}=1" for i in range(63)])
        check(done.returncode == 2, f"65 resources: exit {done.returncode}")
        said_once(done, "at most")


def test_release():
    with Pool(slot=2) as pool:
        holder = spawn_holder(pool, "-r", "slot=2", "--label", "the one")
        job = job_of(holder)
        party = pool.lease_of(holder)["id"]
        waiter = pool.spawn("run", "-r", "slot=2", "--", "true")
        wait_name(pool, "w1,")
        done = pool.run("release", party[:5])
        check((done.returncode, done.stdout, done.stderr) == (0, "", ""), f"{done}")
        check(wait_exit(waiter, 2, pool) == 0, f"the next in line: {pool.err(waiter)!r}")
        check(is_running(job) and holder.poll() is None, "the job was ended")
        check(pool.lease_of(holder) is None, "it is still listed")
        check(pool.run("release", party).returncode == 1, "a second time")
        check(end_holder(holder) == 0, f"the job's own status: {holder.returncode} {pool.err(holder)!r}")
        check(pool.run("run", "-r", "slot=1", "--", "true").returncode == 0 and pool.leftovers() == [], f"{pool.leftovers()}")
        # By label: all of one's own that bear it.
        holders = [spawn_holder(pool, "-r", "slot=1", "--label", "twin") for _ in range(2)]
        pool.wait_for(held=2)
        check(pool.run("release", "--label", "nobody").returncode == 1, "a label that nobody bears")
        check(pool.run("release", "--label", "twin").returncode == 0 and pool.leases() == [], f"{pool.leases()}")
        for one in holders:
            end_holder(one)
        # A waiter's place in line can be ended too.
        holder = spawn_holder(pool, "-r", "slot=2")
        waiter = pool.spawn("run", "-r", "slot=1", "--", "true")
        wait_name(pool, "w1,")
        check(pool.run("release", pool.lease_of(waiter)["id"]).returncode == 0, "release of a waiter")
        check(wait_exit(waiter, 5, pool) == 76, f"the waiter: {waiter.returncode} {pool.err(waiter)!r}")
        done = pool.run("release")
        check(done.returncode in (1, 2), f"outside of a lease: {done}")
        said_once(done)
        end_holder(holder)
        with Pool() as nothing:
            check(nothing.run("release", "abc").returncode == 1, "release without a pool")


def test_release_from_inside():
    """Without an ID, the lease that one is in; the command runs on and its status counts."""
    with Pool(slot=1) as pool:
        holder = pool.spawn("run", "-r", "slot=1", "--", "sh", "-c", '"$0" release && echo released && read x; exit 9',
                            os.environ.get("BERTH") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../../build/berth")),
                            stdin=subprocess.PIPE)
        wait_until(lambda: pool.out(holder) == "released\n" or holder.poll() is not None, 10, "the release", pool)
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
        check(done.returncode == 0, f"the place is not free: {done.stderr!r}; inside: {pool.err(holder)!r}")
        holder.stdin.close()
        check(wait_exit(holder, 10, pool) == 9, f"exit {holder.returncode}: {pool.err(holder)!r}")


# ---------------------------------------------------------------- environment

def environment(pool, *words, env=None):
    done = pool.run("run", *words, "--", "env", "-0", env=env or pool.env)
    check(done.returncode == 0, f"berth run {words}: exit {done.returncode}: {done.stderr!r}")
    entries = done.stdout.split("\0")[:-1]
    names = [e.split("=", 1)[0] for e in entries]
    check(len(names) == len(set(names)), f"a name stands twice: {sorted(n for n in names if names.count(n) > 1)}")
    return dict(e.split("=", 1) for e in entries)


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
VISIBLE = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "BERTH_DEVICES")


def test_environment_with_gpus():
    with Pool(sim_gpus="3x24G") as pool:
        got = environment(pool, "--gpus", "2")
        check([got[name] for name in VISIBLE] == ["0,1", "PCI_BUS_ID", "SIM-0,SIM-1", "SIM-0,SIM-1"], f"{[got[n] for n in VISIBLE]}")
        check(got["BERTH_POOL"] == pool.path and len(got["BERTH_ID"]) == 10 and int(got["BERTH_LIFE_FD"]) >= 10, f"{got}")
        check(not any(name in got for name in THREADS), "thread caps without a CPU claim")
        check(environment(pool, "--only", "2")["CUDA_VISIBLE_DEVICES"] == "2", "--only 2")
        check(environment(pool, "--only", "SIM-1")["BERTH_DEVICES"] == "SIM-1", "--only SIM-1")
        check(environment(pool, "--gpus", "2", "--exclude", "1")["CUDA_VISIBLE_DEVICES"] == "0,2", "--exclude 1")
        check(environment(pool, "--only", "1,2", "--exclude", "SIM-1")["CUDA_VISIBLE_DEVICES"] == "2", "--only and --exclude")
        holder = spawn_holder(pool, "--only", "0")
        check(environment(pool)["CUDA_VISIBLE_DEVICES"] in ("1", "2"), "a card that is held was given away")
        check(environment(pool, "--vram", "1G", "--compute", "10")["CUDA_VISIBLE_DEVICES"] in ("1", "2"), "a whole card was shared")
        end_holder(holder)


def test_inherited_visibility():
    with Pool(sim_gpus="3x24G") as pool:
        for inherited, words, wanted in (("2", [], "2"), ("1,2", ["--gpus", "2"], "1,2"), ("SIM-1", [], "1"), ("2,0", ["--gpus", "2"], "0,2"),
                                         ("1,2", ["--only", "2"], "2"), ("0,9,1", [], "0")):
            env = dict(pool.env, CUDA_VISIBLE_DEVICES=inherited, NVIDIA_VISIBLE_DEVICES="all", BERTH_DEVICES="x")
            got = environment(pool, *words, env=env)
            check(got["CUDA_VISIBLE_DEVICES"] == wanted, f"CUDA_VISIBLE_DEVICES={inherited} {words}: {got['CUDA_VISIBLE_DEVICES']}")
            check(got["NVIDIA_VISIBLE_DEVICES"] == ",".join(f"SIM-{i}" for i in wanted.split(",")), f"{got['NVIDIA_VISIBLE_DEVICES']}")
        for inherited in ("", "-1", "NoDevFiles"):
            env = dict(pool.env, CUDA_VISIBLE_DEVICES=inherited)
            done = pool.run("run", "--gpus", "1", "--", "true", env=env)
            check(done.returncode in (3, 4), f"CUDA_VISIBLE_DEVICES={inherited!r}: exit {done.returncode}: {done.stderr!r}")
            said_once(done)
        # Without a GPU in the claim it is nobody's business.
        env = dict(pool.env, CUDA_VISIBLE_DEVICES="7,junk", CUDA_DEVICE_ORDER="FASTEST_FIRST", NVIDIA_VISIBLE_DEVICES="void")
        got = environment(pool, "--cpu", "1", env=env)
        check([got.get(n) for n in VISIBLE[:3]] == ["7,junk", "FASTEST_FIRST", "void"], f"{[got.get(n) for n in VISIBLE]}")
        got = environment(pool, "--cpu", "1")
        check(not any(name in got for name in VISIBLE), f"{[n for n in VISIBLE if n in got]} without a GPU claim")


def test_thread_caps():
    with Pool(cpu=8) as pool:
        cpus = min(2, len(os.sched_getaffinity(0)))
        got = environment(pool, "--cpu", str(cpus), env=dict(pool.env, OMP_NUM_THREADS="64"))
        check([got[name] for name in THREADS] == [str(cpus)] * 5, f"{[got[name] for name in THREADS]}")
        got = environment(pool, "--cpu", "1", "--threads", "3")
        check([got[name] for name in THREADS] == ["3"] * 5, "--threads 3")
        pool.run("set", "slot=1")
        got = environment(pool, "-r", "slot=1", env=dict(pool.env, OMP_NUM_THREADS="64"))
        check(got["OMP_NUM_THREADS"] == "64" and "MKL_NUM_THREADS" not in got, "thread caps without a CPU claim")
        check(environment(pool, "-r", "slot=1", "--threads", "5")["OMP_NUM_THREADS"] == "5", "--threads without --cpu")


# ---------------------------------------------------------------- units

def test_sizes():
    with Pool(ram="100T") as pool:
        for text, size in (("8G", 8 * GIB), ("8GiB", 8 * GIB), ("8g", 8 * GIB), ("8GB", 8_000_000_000), ("512M", 512 << 20),
                           ("512MB", 512_000_000), ("8192", 8 * GIB), ("1.5G", 3 * GIB // 2), ("1T", 1 << 40), ("1TB", 10**12),
                           ("4096K", 4 << 20), ("1B", 1), ("0.5", 512 << 10)):
            holder = spawn_holder(pool, "--ram", text)
            got = pool.leases()[0]["claim"]["resources"]["ram"]
            check(got == size, f"--ram {text} is {got} and not {size}")
            end_holder(holder)


def test_durations():
    with Pool(slot=1) as pool:
        for text, seconds in (("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("1.5h", 5400), ("1d1s", 86401)):
            holder = spawn_holder(pool, "-r", "slot=1", "--expect", text)
            got = pool.leases()[0]["expect_s"]
            check(got == seconds, f"--expect {text} is {got} and not {seconds}")
            end_holder(holder)


# ---------------------------------------------------------------- order

def order_of(pool, waiters):
    """Lets the waiters ([words, tag]) stand in line one after the other behind a holder; the order in which they run."""
    log = os.path.join(pool.tmp, "order")
    if os.path.exists(log):
        os.unlink(log)
    holder = spawn_holder(pool, "-r", "slot=1")
    jobs = []
    for words, tag in waiters:
        jobs.append(pool.spawn("run", "-r", "slot=1", *words, "--", "sh", "-c", f"echo {tag} >> {log}"))
        wait_until(lambda: entry_of(pool, jobs[-1].pid) or jobs[-1].poll() is not None, 10, f"{tag} in line", pool)
        check(jobs[-1].poll() is None, f"{tag}: exit {jobs[-1].returncode}: {pool.err(jobs[-1])!r}")
    end_holder(holder)
    for job in jobs:
        check(wait_exit(job, 15, pool) == 0, pool.err(job))
    with open(log, encoding="ascii") as f:
        return f.read().split()


def test_priority():
    with Pool(slot=1) as pool:
        got = order_of(pool, [([], "a"), (["-p", "2"], "b"), (["--priority", "-1"], "c"), (["-p", "5"], "d"), ([], "e"), (["-p", "2"], "f")])
        check(got == ["d", "b", "f", "a", "e", "c"], f"seated as {got}")
        got = order_of(pool, [(["-p", str(p)], f"p{p}") for p in (0, 10, -10, 1)])
        check(got == ["p10", "p1", "p0", "p-10"], f"seated as {got}")


def test_extreme_priorities():
    """The highest is the first and the lowest the last, with the longest age a point can be worth."""
    if os.geteuid() != 0:
        return "skipped: not root, whose priority is lowered"
    with Pool(slot=1) as pool:
        allowed = [n for n in (1_000_000, 100_000, 10_000, 1000) if pool.run("run", "-p", n, "-r", "slot=1", "--", "true").returncode == 0]
        top = allowed[0]
        for age in ("1s", "1h", "366d"):
            check(pool.run("set", f"policy.age={age}").returncode == 0, f"policy.age={age}")
            got = order_of(pool, [([], "zero"), (["-p", str(-top)], "low"), (["-p", str(top)], "high"), (["-p", "1"], "one"),
                                  (["-p", str(top // 2)], "mid")])
            check(got == ["high", "mid", "one", "zero", "low"], f"policy.age={age}: seated as {got}")
    return ""


def test_priority_is_lowered():
    if os.geteuid() != 0:
        return "skipped: not root, who cannot become another"
    with Pool(slot=1) as pool:
        holder = spawn_holder(pool, "-r", "slot=1")
        pool.spawn("run", "-r", "slot=1", "-p", "1000", "--", "true", executable=public_berth(), **as_user(1001))
        told = pool.wait_for(held=1, waiting=1)
        check([l["priority"] for l in told["leases"] if l["state"] == "waiting"] == [10], f"{told['leases']}")
        end_holder(holder)
    return ""


# ---------------------------------------------------------------- signals

def test_signals_while_waiting():
    with Pool(slot=1) as pool:
        holder = spawn_holder(pool, "-r", "slot=1")
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
            waiter = pool.spawn("run", "-r", "slot=1", "--", "true")
            wait_name(pool, "w1,")
            kill(waiter.pid, sig)
            status = wait_exit(waiter, 5, pool)
            check(status == -sig, f"{sig.name}: ended with {status}: {pool.err(waiter)!r}")
            check(len([e for e in pool.leftovers() if not e.endswith(".c")]) == 3, f"{sig.name}: left behind: {pool.leftovers()}")
        end_holder(holder)


COUNT = r"""
import os, signal, sys, time
seen = []
def note(sig, frame):
    seen.append(sig)
    with open(sys.argv[1], "a") as f:
        f.write(f"{sig}\n")
for sig in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT):
    signal.signal(sig, note)
with open(sys.argv[1], "a") as f:
    f.write("ready\n")
while not os.path.exists(sys.argv[2]):
    time.sleep(0.005)
sys.exit(42)
"""


def test_signals_while_running():
    with Pool(slot=1) as pool:
        seen, stop = (os.path.join(pool.tmp, name) for name in ("seen", "stop"))

        def lines():
            if not os.path.exists(seen):
                return []
            with open(seen, encoding="ascii") as f:
                return f.read().split()

        process = pool.spawn("run", "-r", "slot=1", "--", sys.executable, "-c", COUNT, seen, stop)
        wait_until(lambda: lines() == ["ready"], 10, "the job to be ready", pool)
        sent = []
        for sig in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
                    signal.SIGCONT, signal.SIGTERM):
            kill(process.pid, sig)
            sent.append(str(int(sig)))
            wait_until(lambda: len(lines()) > len(sent), 5, f"{sig.name} to arrive", pool)
        with open(stop, "w", encoding="ascii"):
            pass
        check(wait_exit(process, 10, pool) == 42, f"exit {process.returncode}: {pool.err(process)!r}")
        check(lines() == ["ready"] + sent, f"sent {sent}, arrived {lines()[1:]}")


def test_ignored_signals_stay_ignored():
    with Pool(slot=1) as pool:
        done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", "grep SigIgn /proc/self/status",
                        preexec_fn=lambda: (signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGCHLD, signal.SIG_IGN)))
        check(done.returncode == 0, f"{done}")
        mask = int(done.stdout.split()[1], 16)
        check(mask >> (signal.SIGHUP - 1) & 1, f"nohup is lost: {done.stdout!r}")
        done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", "grep SigBlk /proc/self/status")
        check(int(done.stdout.split()[1], 16) == 0, f"the command starts with signals blocked: {done.stdout!r}")


def test_the_command_inherits_what_berth_had():
    """Limits, directory, standard streams; and of berth's descriptors nothing but the life."""
    with Pool(slot=1) as pool:
        done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", "pwd; umask; ls /proc/$$/fd", cwd="/usr", umask=0o027)
        lines = done.stdout.split()
        check(lines[:2] == ["/usr", "0027"], f"{lines}")
        fds = sorted(int(n) for n in lines[2:])
        check([fd for fd in fds if fd < 10] == [0, 1, 2] and len([fd for fd in fds if fd >= 100]) == 1, f"descriptors {fds}")
        process = pool.spawn("run", "-r", "slot=1", "--", "cat", stdin=subprocess.PIPE)
        process.stdin.write(b"through\0and through")
        process.stdin.close()
        check(wait_exit(process, 10, pool) == 0 and pool.out(process) == "through\0and through", f"{pool.out(process)!r}")


if "BERTH_ID" in os.environ:
    fail("not inside a lease, please")

main([test_own_codes, test_wrong_calls, test_never_possible, test_no_gpu_here, test_busy, test_timed_out, test_not_started,
      test_status_json, test_status_for_people, test_status_of_nothing, test_status_into_a_closed_pipe, test_set_and_unset,
      test_release, test_release_from_inside, test_environment_with_gpus, test_inherited_visibility, test_thread_caps,
      test_sizes, test_durations, test_priority, test_extreme_priorities, test_priority_is_lowered,
      test_signals_while_waiting, test_signals_while_running, test_ignored_signals_stay_ignored,
      test_the_command_inherits_what_berth_had])
