"""Cards shared by two users, of whom neither may look into the other's processes."""
import json
import os
import shutil
import subprocess

from berthtest import berth, check, job_of, kill, main, pid_ended, wait_until
from faultkit import as_user, public, public_berth
from gpukit import Card, end, job, library, machine, seated, sees_everybody, waits

A = "GPU-aaaaaaaa-0001"
GIB = 1 << 30
ANNE, BERT = 1001, 1002


def missing():
    if os.geteuid() != 0:
        return "not root"
    return "" if sees_everybody() else "the driver's pids mean nothing here"


def prepare(gpus, pool):
    pool.env["LD_LIBRARY_PATH"] = os.path.dirname(public(library()))
    os.mkdir(pool.path)
    os.chmod(pool.path, 0o1777)
    os.chmod(gpus.env["STANDIN_NVML"], 0o644)


def by(pool, uid):
    """How this user starts a job, see gpukit.job()."""
    return lambda *words, **kw: pool.spawn(*words, executable=public_berth(), **as_user(uid), **kw)


def run(pool, uid, *words):
    return pool.run(*words, executable=public_berth(), **as_user(uid))


def seen_by(pool, uid):
    """The only card, as this user's `berth status` shows it."""
    done = run(pool, uid, "status", "--json")
    check(done.returncode == 0, f"{done}")
    return json.loads(done.stdout)["devices"][0]


def test_another_users_lease_is_no_stranger():
    if missing():
        return f"skipped: {missing()}"
    with machine(Card(A)) as (gpus, pool):
        prepare(gpus, pool)
        first = job(pool, "--vram", "10G", "--label", "annes", script=f"hold {A} 9G", how=by(pool, ANNE))
        seated(pool, first)
        command = job_of(first)
        wait_until(lambda: seen_by(pool, BERT)["vram_used"] == 9 * GIB, 10, "it to load", pool)
        for uid in (ANNE, BERT):
            device = seen_by(pool, uid)
            check(device["unleased"] == [] and device["vram_free"] == 14 * GIB, f"uid {uid}: {device}")
        done = run(pool, BERT, "run", "--no-wait", "--vram", "14G", "--", "true")
        check(done.returncode == 0, f"14 beside 10: {done}")
        check(run(pool, BERT, "run", "--no-wait", "--vram", "15G", "--", "true").returncode == 75, "15 are too much")
        # Without its wrapper nothing leads from the command to the lease but an environment that is not for Bert.
        first.kill()
        first.wait(10)
        for uid in (ANNE, BERT):
            device = seen_by(pool, uid)
            check(device["unleased"] == [] and device["vram_free"] == 14 * GIB, f"uid {uid}, its wrapper killed: {device}")
        check(run(pool, BERT, "run", "--no-wait", "--vram", "14G", "--", "true").returncode == 0, "14 still fit")
        kill(command)
        pid_ended(command)
        done = run(pool, BERT, "run", "--timeout", "10s", "--gpus", "1", "--", "true")
        check(done.returncode == 0, f"all of it afterwards: {done}")
    return ""


def test_another_users_stranger_is_one():
    if missing():
        return f"skipped: {missing()}"
    with machine(Card(A)) as (gpus, pool):
        prepare(gpus, pool)
        # What it says of itself is not believed of another user's lease.
        mine = job(pool, "--vram", "2G", how=by(pool, BERT))
        seated(pool, mine)
        lease = pool.lease_of(mine)["id"]
        with subprocess.Popen(["sleep", "1000"], env=dict(pool.env, BERTH_ID=lease), **as_user(ANNE)) as other:
            gpus.hold(other.pid, A, "20G")
            [unleased] = seen_by(pool, BERT)["unleased"]
            check((unleased["pid"], unleased["cmd"], unleased["vram"]) == (other.pid, "sleep 1000", 20 * GIB), f"{unleased}")
            waiter = job(pool, "--vram", "4G", how=by(pool, BERT))
            waits(pool, waiter, str(other.pid), "20 GiB")
            kill(other.pid)
        seated(pool, waiter)
        end(waiter)
        end(mine)
    return ""


def test_from_another_pid_namespace_nothing_is_counted_twice():
    if missing() or not shutil.which("unshare"):
        return f"skipped: {missing() or 'no unshare'}"
    with machine(Card(A)) as (gpus, pool):
        first = job(pool, "--vram", "8G")
        seated(pool, first)
        command = job_of(first)
        gpus.cards[0].used = "18G"
        gpus.cards[0].processes = [f"{command} 8G", "4000001 10G"]
        gpus.write()
        inside = lambda *words: subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", berth(), *words], env=pool.env, timeout=30,
                                               check=False, capture_output=True, text=True)
        # 8 that were granted, loaded or not, and 10 of nobody that is seen from there.
        for words, status in ((["--vram", "6G"], 0), (["--vram", "7G"], 75), (["--gpus", "1"], 75)):
            done = inside("run", "--no-wait", *words, "--", "true")
            check(done.returncode == status, f"{words}: {done}")
        done = inside("status", "--json")
        [device] = json.loads(done.stdout)["devices"]
        check(device["vram_free"] == 6 * GIB and device["unleased"] == [], f"{device}")
        check("10 GiB are used by no process" in inside("status").stdout, "whose they are is not known")
        end(first)
    return ""


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
