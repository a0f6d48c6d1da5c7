"""Containers, stood in for by namespaces: one pool for all that mount it, a clear word to who did not.

A container is `unshare -m -p` (and -U) with a /run of its own. With the pool mounted it is started as
`docker run -v /run/berth:/run/berth` would; nothing else is shared, --pid=host least of all.
"""
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

from berthtest import Pool, check, children, descendants, is_running, kill, main, wait_exit, wait_until
from faultkit import as_user, public_berth

AS_ROOT = ["unshare", "-m", "-p", "--fork", "--mount-proc", "--kill-child"]
ROOTLESS = ["unshare", "-U", "-r", "-m", "-p", "--fork", "--mount-proc", "--kill-child"]
CARDS = "2x24G"


def missing(flags, **who):
    if not shutil.which("unshare"):
        return "no unshare"
    done = subprocess.run([*flags, "sh", "-c", "mount -t tmpfs none /run"], capture_output=True, text=True, check=False, **who)
    return "" if done.returncode == 0 else (done.stderr.strip() or "no namespaces here")


# What can be stood in for here: (name, how it is started, as whom).
KINDS = [(name, flags, who) for name, flags, who in (
    ("root", AS_ROOT, {}), ("rootless root", ROOTLESS, {}), ("rootless user", ROOTLESS, as_user(1001) if os.geteuid() == 0 else {}))
    if not missing(flags, **who)]


class Container:
    """Runs shell scripts inside; `berth` is the program. `mounted`: the pool stands at /run/berth."""

    def __init__(self, pool, kind, mounted):
        _, self.flags, self.who = kind
        self.env = {k: v for k, v in pool.env.items() if k != "BERTH_POOL"}
        self.env.update(BERTH_SIM_GPUS=CARDS, PATH=os.path.dirname(public_berth()) + ":" + os.environ["PATH"])
        mount = f"mkdir /run/berth && mount --bind {shlex.quote(pool.path)} /run/berth && " if mounted else ""
        self.before = f"mount -t tmpfs none /run && {mount}chmod 755 /run && cd / || exit 99; "

    def start(self, script, **kw):
        return subprocess.Popen([*self.flags, "sh", "-c", self.before + script], env=self.env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, **{"stdin": subprocess.DEVNULL, **self.who, **kw})

    def run(self, script):
        process = self.start(script)
        out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(script, process.returncode, out, err)


def each_kind(test):
    """A test of one kind of container, for all there are."""
    def all_kinds():
        for kind in KINDS:
            with Pool(sim_gpus=CARDS, cpu=2) as pool:
                test(pool, kind)
        return ", ".join(name for name, _, _ in KINDS)
    all_kinds.__name__ = test.__name__
    return all_kinds


def ask(pool, *claim):
    return pool.run("run", *claim, "--no-wait", "true").returncode


@each_kind
def test_without_the_pool_a_gpu_is_refused_with_the_line_to_add(pool, kind):
    done = Container(pool, kind, mounted=False).run("berth run --gpus 1 --no-wait -- echo ran")
    check(done.returncode == 125 and done.stdout == "" and done.stderr.count("\n") == 1, f"{done}")
    check("-v /run/berth:/run/berth" in done.stderr, f"{done}")
    done = Container(pool, kind, mounted=False).run("berth run --vram 1G --dry-run true; berth hold --gpus 1 --for $$")
    check(done.returncode == 125 and done.stdout == "" and done.stderr.count("-v /run/berth:/run/berth") == 2, f"{done}")
    check(pool.status()["leases"] == [], "nobody outside is concerned")


@each_kind
def test_without_the_pool_what_is_its_own_is_granted(pool, kind):
    done = Container(pool, kind, mounted=False).run("berth run --cpu 1 -- echo ran; berth status --short")
    check(done.returncode == 0 and re.match(r"ran\n0 held, 0 waiting", done.stdout), f"{done}")


@each_kind
def test_a_pool_that_is_named_is_meant(pool, kind):
    done = Container(pool, kind, mounted=False).run("BERTH_POOL=/run/mine berth run --gpus 1 --no-wait -- echo ran")
    check((done.returncode, done.stdout, done.stderr) == (0, "ran\n", ""), f"{done}")


@each_kind
def test_with_the_pool_each_card_has_one_holder(pool, kind):
    """The host and two containers want three of two cards."""
    host = pool.spawn("run", "--gpus", "1", "--", "sleep", "100")
    pool.wait_for(held=1)
    first = Container(pool, kind, mounted=True).start("exec berth run --gpus 1 -- sh -c 'echo $BERTH_DEVICES; exec sleep 100'")
    check(first.stdout.readline() == "SIM-1\n", "the other card")
    done = Container(pool, kind, mounted=True).run("berth run --gpus 1 --no-wait -- echo ran")
    check(done.returncode == 75 and '"error":"busy"' in done.stderr, f"{done}")
    second = Container(pool, kind, mounted=True).start("exec berth run --gpus 1 -- sh -c 'echo $BERTH_DEVICES'")
    pool.wait_for(held=2, waiting=1)
    # The whole container is killed: what held its life is gone, whoever has which pid where.
    kill(first.pid)
    check(second.stdout.readline() == "SIM-1\n" and wait_exit(second, 10, pool) == 0, f"{second.stderr.read()}")
    kill(host.pid, signal.SIGTERM)
    pool.wait_for(held=0, waiting=0)


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        return ""


@each_kind
def test_the_wrapper_dies_and_the_job_keeps_its_place(pool, kind):
    inside = Container(pool, kind, mounted=True).start("berth run --gpus 2 -- tail -f /dev/null; sleep 100")
    job = wait_until(lambda: [p for p in descendants(inside.pid) if name_of(p) == "tail"], 10, "the job", pool)[0]
    wrapper = next(p for p in descendants(inside.pid) if name_of(p) == "berth" and job in children(p))
    kill(wrapper)
    wait_until(lambda: not is_running(wrapper))
    check(is_running(job) and ask(pool, "--gpus", "1") == 75, "the place was given away")
    kill(job)
    check(pool.run("run", "--gpus", "2", "--timeout", "5", "true").returncode == 0, "not free")
    kill(inside.pid)


@each_kind
def test_equal_pids_are_not_the_same_job(pool, kind):
    """Two containers in which every process has the pid of one in the other."""
    script = "exec berth run --cpu 1 -- sh -c 'echo $PPID $$; exec sleep 100'"
    both = [Container(pool, kind, mounted=True).start(script) for _ in range(2)]
    pids = [one.stdout.readline() for one in both]
    check(pids[0] == pids[1] != "", f"{pids}")
    check(len(pool.wait_for(held=2)["leases"]) == 2 and ask(pool, "--cpu", "1") == 75, "two jobs hold")
    kill(both[0].pid)
    pool.wait_for(held=1)
    check(ask(pool, "--cpu", "1") == 0 and ask(pool, "--cpu", "2") == 75, "one of them is left")
    kill(both[1].pid)
    pool.wait_for(held=0)


@each_kind
def test_signals_and_exit_status_inside(pool, kind):
    """berth as pid 1 of its container, as in `docker run IMAGE berth run CMD`: TERM from outside reaches CMD."""
    script = "exec berth run --gpus 1 -- sh -c 'trap \"echo told; exit 9\" TERM; echo ready; while :; do sleep 0.01; done'"
    inside = Container(pool, kind, mounted=True).start(script)
    check(inside.stdout.readline() == "ready\n", "it runs")
    kill(children(inside.pid)[0], signal.SIGTERM)
    out, err = inside.communicate(timeout=10)
    check((inside.returncode, out) == (9, "told\n"), f"{inside.returncode} {out!r} {err!r}")
    pool.wait_for(held=0)


if __name__ == "__main__":
    if not KINDS:
        print("skipped:", missing(ROOTLESS))
        sys.exit(77)
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
