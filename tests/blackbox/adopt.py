"""adopt: what runs already becomes a lease, for as long as it lives."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, berth, check, descendants, kill, main, wait_exit, wait_until  # noqa: E402
from gpukit import Card, Gpus  # noqa: E402

G = 1 << 30


def sleeper():
    return subprocess.Popen(["sleep", "600"])


def proc_name(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return ""


def end(process):
    process.kill()
    process.wait()


def test_the_drivers_word_is_the_claim():
    with Gpus(Card("GPU-a", "0000:17:00.0"), Card("GPU-b", "0000:2a:00.0")) as gpus, Pool(env=gpus.env) as pool:
        server = sleeper()
        gpus.hold(server.pid, "GPU-b", "14G")
        check(pool.status()["devices"][1]["unleased"][0]["pid"] == server.pid, "a stranger before")
        done = pool.run("adopt", str(server.pid), "--label", "ollama")
        check(done.returncode == 0 and done.stderr == "", done)
        status = pool.status()
        lease, = status["leases"]
        check(lease["id"] == done.stdout.strip() and lease["label"] == "ollama" and lease["pid"] == server.pid, lease)
        check(lease["cmd"] == "sleep 600", lease)
        check(lease["granted"]["devices"] == [{"uuid": "GPU-b", "index": 1, "vram": 14 * G}], lease)
        check(status["devices"][1]["unleased"] == [] and status["devices"][1]["vram_free"] == 10 * G, status)
        check(pool.run("run", "--no-wait", "--vram", "10G", "--only", "1", "--", "true").returncode == 0, "beside it")
        check(pool.run("run", "--no-wait", "--vram", "11G", "--only", "1", "--", "true").returncode == 75, "too much")
        waiter = pool.spawn("run", "--only", "1", "--", "true")
        pool.wait_for(held=1, waiting=1)
        end(server)
        check(wait_exit(waiter) == 0, pool.err(waiter))
        wait_until(lambda: not pool.leftovers(), what="the keeper has gone")


def test_what_is_in_a_lease_is_not_booked_twice():
    with Pool(cpu=4, license=2) as pool:
        holder = pool.spawn("run", "-l", "server", "--cpu", "2", "--", "sh", "-c", "sleep 600 & wait")
        pool.wait_for(held=1)
        inner = wait_until(lambda: [p for p in descendants(holder.pid) if proc_name(p) == "sleep"], what="its command")[0]
        done = pool.run("adopt", str(inner), "--cpu", "1")
        check(done.returncode == 2 and "already" in done.stderr and "cpu" in done.stderr, done)
        check(done.stderr.count("\n") == 1 and pool.leases()[0]["id"] in done.stderr, done)
        check(pool.run("adopt", str(inner), "-r", "license=1").returncode == 0, "what its lease does not have")
        check(pool.run("adopt", str(inner), "-r", "license=1").returncode == 2, "and that once")
        kill(inner)
        pool.wait_for(held=0)


def test_it_never_waits_and_says_what_is_over_committed():
    with Gpus(Card("GPU-a")) as gpus, Pool(env=gpus.env, cpu=4) as pool:
        holder = pool.spawn("run", "--cpu", "3", "--vram", "20G", "--", "sleep", "600")
        pool.wait_for(held=1)
        server = sleeper()
        done = pool.run("adopt", str(server.pid), "--cpu", "2", "--vram", "8G")
        check(done.returncode == 0, done)
        notes = pool.status()["notes"]
        check("over-committed: 5 cpu held of 4 cpu" in notes, notes)
        check("GPU 0 is over-committed: 28 GiB held of 24 GiB" in notes, notes)
        check(pool.run("run", "--no-wait", "--cpu", "1", "--", "true").returncode == 75, "more was given away")
        check(pool.run("release", done.stdout.strip()).returncode == 0, "release")
        check(pool.status()["notes"] == [], pool.status()["notes"])
        end(server)
        kill(holder.pid)


def test_what_this_shell_may_have_limits_nobody_else():
    with Pool(cpu=2, ram="2G") as pool:
        server = sleeper()
        first = str(min(os.sched_getaffinity(0)))
        for words in (["taskset", "-c", first, berth()], [berth(), "run", "--ram", "64M", "--", berth()]):
            done = subprocess.run([*words, "adopt", str(server.pid), "--cpu", "2", "--ram", "1G"], env=pool.env,
                                  capture_output=True, text=True, timeout=20, check=False)
            check(done.returncode == 0, f"{words}: {done}")
            check(pool.run("release", done.stdout.strip()).returncode == 0, "release")
        end(server)


def test_a_cpu_claim_needs_no_driver():
    with Pool(cpu=4) as pool:
        server = sleeper()
        done = pool.run("adopt", "--cpu", "4", str(server.pid))
        check(done.returncode == 0, done)
        check(pool.run("run", "--no-wait", "--cpu", "1", "--", "true").returncode == 75, "it was given away")
        waiter = pool.spawn("run", "--cpu", "1", "--", "true")
        pool.wait_for(held=1, waiting=1)
        end(server)
        check(wait_exit(waiter) == 0, pool.err(waiter))


def test_what_is_wrong_is_said():
    with Gpus(Card("GPU-a", "0000:17:00.0"), Card("GPU-b", "0000:2a:00.0")) as gpus, Pool(env=gpus.env) as pool:
        server = sleeper()
        for words, status, text in (
                (("2147483646",), 2, "there is no process 2147483646"),
                (("x",), 2, "x is not the id of a process"),
                ((), 2, "which process?"),
                (("1", "2"), 2, "2 is one word too many"),
                ((str(server.pid),), 2, "the driver does not say that it uses a GPU"),
                ((str(server.pid), "--vram", "8G"), 2, "not clear which 1 of 2 GPUs"),
                ((str(server.pid), "--no-wait"), 2, "--no-wait is an option of run"),
                ((str(server.pid), "--vran", "8G"), 2, "did you mean --vram?")):
            done = pool.run("adopt", *words)
            check(done.returncode == status and text in done.stderr, f"{words}: {done}")
            check(done.stderr.count("\n") <= 2, done.stderr)
        check(pool.run("adopt", str(server.pid), "--vram", "8G", "--only", "1").returncode == 0, "--only")
        end(server)


def test_without_the_drivers_word_only_says_which():
    with Gpus(Card("GPU-a", "0000:17:00.0"), Card("GPU-b", "0000:2a:00.0")) as gpus, Pool(env=gpus.env) as pool:
        server = sleeper()
        done = pool.run("adopt", str(server.pid), "--only", "0,1")
        check(done.returncode == 2 and "not clear which 1 of 2 GPUs it uses; say --only and --gpus" in done.stderr, done)
        done = pool.run("adopt", str(server.pid), "--only", "1")
        check(done.returncode == 0, done)
        check(pool.leases()[0]["granted"]["devices"] == [{"uuid": "GPU-b", "index": 1, "vram": 24 * G}], pool.leases())
        check(pool.leases()[0]["claim"] == {"gpus": 1, "vram": None, "resources": {}}, pool.leases())
        end(server)
        pool.wait_for(held=0)
        # Where the driver has a word, it counts for that card.
        server = sleeper()
        gpus.hold(server.pid, "GPU-b", "2G")
        for words in (("--only", "0"), ("--exclude", "1")):
            done = pool.run("adopt", str(server.pid), *words)
            check(done.returncode == 2 and "by the driver's word it uses GPU-b and none of these" in done.stderr, done)
        check(pool.run("adopt", str(server.pid), "--only", "1").returncode == 0, "--only")
        check(pool.leases()[0]["granted"]["devices"][0]["vram"] == 2 * G, pool.leases())
        end(server)


def test_of_ones_own_only():
    if os.getuid() != 0:
        return "skipped: not root"
    with Pool(cpu=4) as pool:
        os.chmod(pool.root, 0o755)
        os.chmod(pool.path, 0o1777)
        server = sleeper()
        # Where everybody can run it; the checkout may be in root's home.
        program = shutil.copy(berth(), os.path.join(pool.root, "berth"))
        done = subprocess.run([program, "adopt", str(server.pid), "--cpu", "1"], user=61001, env=pool.env, cwd="/",
                              capture_output=True, text=True, timeout=30, check=False)
        check(done.returncode == 77 and "belongs to root" in done.stderr, done)
        end(server)


main([test_the_drivers_word_is_the_claim, test_what_is_in_a_lease_is_not_booked_twice,
      test_it_never_waits_and_says_what_is_over_committed, test_what_this_shell_may_have_limits_nobody_else,
      test_a_cpu_claim_needs_no_driver, test_what_is_wrong_is_said,
      test_without_the_drivers_word_only_says_which, test_of_ones_own_only])
