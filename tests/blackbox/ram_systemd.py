"""Where berth can make no cgroup, the user's systemd is asked for a scope; whatever becomes of that, the command runs.

The manager is a stand-in (managerkit.py) and so is the machine's cgroup tree; libsystemd is this machine's.
"""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, berth, check, kill, main, wait_exit, wait_until  # noqa: E402
from faultkit import public_berth  # noqa: E402
from managerkit import Manager  # noqa: E402

MIB = 1 << 20
SKIPPED = 77


def hard(mib):
    return mib * MIB + mib * MIB // 16 + 16 * MIB


def soft(mib):
    return hard(mib) - mib * MIB // 128


class World:
    """A pool, and a recorded machine with a manager."""

    def __init__(self, way="well", bus=False):
        self.pool = Pool(ram="600M")
        self.way, self.bus = way, bus

    def __enter__(self):
        self.pool.__enter__()
        self.root = os.path.join(self.pool.tmp, "machine")
        os.makedirs(self.root)
        self.pool.env["BERTH_SYSFS_ROOT"] = self.root
        self.pool.env.pop("XDG_RUNTIME_DIR", None)
        self.manager = Manager(self.root, self.way, self.bus) if self.way else None
        return self

    def __exit__(self, *error):
        return self.pool.__exit__(*error)

    def ram_limit(self):
        return json.loads(self.pool.run("status", "--json").stdout)["leases"][0]["ram_limit"]


def test_the_command_is_in_a_scope_before_it_begins():
    for bus in (False, True):
        with World(bus=bus) as w:
            done = w.pool.run("run", "--ram", "64M", "--", "sh", "-c", f"cat {w.root}/proc/$$/cgroup; exit 7")
            check(done.returncode == 7 and done.stderr == "", done)
            check(len(w.manager.scopes) == 1, w.manager.calls)
            unit, properties, _ = w.manager.scopes[0]
            check(done.stdout.endswith(f"/{unit}\n") and unit.startswith("berth-") and unit.endswith(".scope"), done.stdout)
            check(properties["PIDs"] == [0], "a number may be another's elsewhere")
            limits = {key: properties[key] for key in ("MemoryMax", "MemoryHigh", "MemorySwapMax", "Delegate", "CollectMode")}
            check(limits == {"MemoryMax": hard(64), "MemoryHigh": soft(64), "MemorySwapMax": 0, "Delegate": 1,
                             "CollectMode": "inactive-or-failed"}, limits)
            check(w.manager.read(unit, "memory.oom.group") == "1", "it is ended as one")


def test_doctor_says_what_holds_it():
    with World() as w:
        said = w.pool.run("doctor").stdout
        check("note  a job that claims ram is held to it by a cgroup that systemd makes\n" in said, said)
        check(not w.manager.talks, "it only looks")
        folder = os.path.join(w.pool.tmp, "lib")
        os.makedirs(folder)
        open(os.path.join(folder, "libsystemd.so.0"), "w", encoding="ascii").close()
        said = w.pool.run("doctor", env={**w.pool.env, "LD_LIBRARY_PATH": folder}).stdout
        check("only watched here: libsystemd.so.0 cannot be loaded (install it" in said, said)
    with World(way=None) as w:
        said = w.pool.run("doctor").stdout
        check("note  a job that claims ram is only watched here: no memory cgroup is seen" in said, said)


def test_status_says_so():
    with World() as w:
        job = w.pool.spawn("run", "--ram", "64M", "--", "sleep", "100")
        w.pool.wait_for(held=1)
        wait_until(lambda: w.ram_limit() == "cgroup", 10, "the scope", w.pool)
        kill(job.pid, signal.SIGTERM)
        check(wait_exit(job) == 128 + 15, "its own end")


def test_a_job_without_a_claim_of_memory_asks_nobody():
    with World() as w:
        check(w.pool.run("run", "--cpu", "1", "--", "true").returncode == 0 and not w.manager.talks, w.manager.calls)
        inside = w.pool.run("run", "--ram", "64M", "--", berth(), "run", "--ram", "10M", "--", "true")
        check(inside.returncode == 0 and len(w.manager.scopes) == 1, f"inside a lease: {w.manager.scopes}")


def faulty(way, bus, most_s):
    with World(way, bus) as w:
        begun = time.monotonic()
        job = w.pool.spawn("run", "--ram", "64M", "--", "sh", "-c", "echo begun; sleep 1; exit 7")
        wait_until(lambda: w.pool.out(job) == "begun\n", 10, f"{way}: to begin", w.pool)
        took = time.monotonic() - begun
        check(w.ram_limit() == "watched", f"{way}: {w.ram_limit()}")
        check(wait_exit(job) == 7 and w.pool.err(job) == "", f"{way}: {job.returncode} {w.pool.err(job)}")
        check(took < most_s, f"{way}: {took} s")
        return took


def test_whatever_the_manager_does_the_command_runs_and_is_watched():
    for bus in (False, True):
        for way in ("refuses", "fails", "garbage", "hangs_up", "unlimited"):
            faulty(way, bus, 1.5)
    for way in ("deaf", "mute"):
        check(faulty(way, False, 5) > 1.5, f"{way}: this test shows nothing")


def test_a_socket_that_nobody_listens_at():
    with World() as w:
        w.manager.listener.close()
        done = w.pool.run("run", "--ram", "64M", "--", "sh", "-c", "exit 7")
        check(done.returncode == 7 and done.stderr == "", done)


def test_no_library_or_a_strange_one():
    with World() as w:
        folder = os.path.join(w.pool.tmp, "lib")
        os.makedirs(folder)
        library = os.path.join(folder, "libsystemd.so.0")
        other = next(iter(glob.glob("/usr/lib/*/libm.so.6") + glob.glob("/lib*/libm.so.6")), None)
        for content in (None, other):
            if content:
                shutil.copy(content, library)
            else:
                open(library, "w", encoding="ascii").close()
            done = w.pool.run("run", "--ram", "64M", "--", "sh", "-c", "exit 7", env={**w.pool.env, "LD_LIBRARY_PATH": folder})
            check(done.returncode == 7 and done.stderr == "" and not w.manager.talks, done)


def test_a_manager_that_is_late_is_noticed():
    with World("late") as w:
        job = w.pool.spawn("run", "--ram", "64M", "--", "sh", "-c", "echo begun; exec sleep 100")
        wait_until(lambda: w.pool.out(job) == "begun\n", 10, "to begin", w.pool)
        wait_until(lambda: w.manager.scopes, 10, "the scope", w.pool)
        w.pool.run("resize", w.pool.leases("held")[0]["id"], "--ram", "100M")
        unit = w.manager.scopes[0][0]
        wait_until(lambda: w.manager.read(unit, "memory.max") == str(hard(100)), 10, "the new limit", w.pool)
        kill(job.pid, signal.SIGTERM)


def test_a_resize_reaches_the_scope_and_its_manager():
    with World() as w:
        w.pool.spawn("run", "--ram", "64M", "--", "sleep", "100")
        w.pool.wait_for(held=1)
        wait_until(lambda: w.manager.scopes, 10, "the scope", w.pool)
        done = w.pool.run("resize", w.pool.leases("held")[0]["id"], "--ram", "100M")
        check(done.returncode == 0, done)
        unit = w.manager.scopes[0][0]
        wait_until(lambda: w.manager.read(unit, "memory.max") == str(hard(100)), 10, "the new limit", w.pool)
        told = [unit, 1, [("MemoryMax", hard(100)), ("MemoryHigh", soft(100))]]
        wait_until(lambda: ("SetUnitProperties", told) in w.manager.calls, 10, f"to be told: {w.manager.calls}", w.pool)


def test_an_end_for_want_of_memory_is_told_though_the_scope_is_gone():
    with World() as w:
        go = os.path.join(w.pool.tmp, "go")
        job = w.pool.spawn("run", "--ram", "64M", "--", "sh", "-c", f"until [ -e {go} ]; do sleep 0.01; done; kill -9 $$")
        wait_until(lambda: w.manager.scopes and w.ram_limit() == "cgroup", 10, "the scope", w.pool)
        unit = w.manager.scopes[0][0]
        inotify = f"/proc/{job.pid}/fdinfo"
        wait_until(lambda: any("inotify" in open(f"{inotify}/{fd}", encoding="ascii").read() for fd in os.listdir(inotify)), 10, "to be watched")
        with open(os.path.join(w.manager.group(unit), "memory.events"), "w", encoding="ascii") as f:
            f.write("oom 1\noom_kill 1\n")
        time.sleep(0.2)  # the kernel's own order: it writes that down, ends the process, and the manager removes the group
        shutil.rmtree(w.manager.group(unit))
        open(go, "w", encoding="ascii").close()
        check(wait_exit(job) == 128 + 9, "killed")
        check("it took more than the 64 MiB of RAM that it claimed" in w.pool.err(job), w.pool.err(job))


def test_a_signal_that_comes_meanwhile_reaches_the_command():
    with World("mute") as w:
        job = w.pool.spawn("run", "--ram", "64M", "--", "sh", "-c", "trap 'echo told; exit 9' TERM; echo begun; while :; do sleep 0.1; done")
        wait_until(lambda: w.manager.calls, 10, "to be asked", w.pool)
        kill(job.pid, signal.SIGTERM)
        wait_exit(job)
        check(job.returncode in (9, 128 + 15), job.returncode)
        check(not w.pool.leases() and not w.pool.leftovers(), w.pool.leases())


def test_a_command_that_is_not_there():
    with World() as w:
        done = w.pool.run("run", "--ram", "64M", "--", "/nonexistent/it")
        check(done.returncode == 127 and "command not found" in done.stderr, done)
        done = w.pool.run("run", "--ram", "64M", "--", "/etc/passwd")
        check(done.returncode == 126 and "Permission denied" in done.stderr, done)


def test_exec_goes_into_it_itself():
    with World() as w:
        linger = os.geteuid() == 0 or os.path.exists(f"/var/lib/systemd/linger/{subprocess.getoutput('id -un')}")
        done = w.pool.run("run", "--ram", "64M", "--exec", "--", "sh", "-c", f"cat {w.root}/proc/$$/cgroup; {berth()} status --json")
        if not linger:
            check("its --ram is only booked" in done.stderr, done)
            return
        group, said = done.stdout.split("\n", 1)
        check(group.endswith(w.manager.scopes[0][0]) and done.stderr == "", done)
        check(json.loads(said)["leases"][0]["ram_limit"] == "cgroup", said)


def test_exec_that_is_refused_says_so():
    with World("refuses") as w:
        done = w.pool.run("run", "--ram", "64M", "--exec", "--", "sh", "-c", "exit 7")
        check(done.returncode == 7 and "its --ram is only booked" in done.stderr, done)


def test_exec_without_a_cgroup_says_that_it_is_only_booked():
    with World(way=None) as w:
        done = w.pool.run("run", "--ram", "64M", "--exec", "--", berth(), "status", "--json")
        check("its --ram is only booked" in done.stderr, done.stderr)
        done = w.pool.run("run", "--ram", "64M", "--exec", "--", "sh", "-c", f"{berth()} status --json; {berth()} status")
        said, text = done.stdout.split("\n", 1)
        check(json.loads(said)["leases"][0]["ram_limit"] == "booked", said)
        check("64 MiB ram (booked only)" in text, text)


def test_hold_and_adopt_only_book():
    with World() as w:
        sleeper = subprocess.Popen(["sleep", "100"])
        done = w.pool.run("adopt", str(sleeper.pid), "--ram", "64M")
        check(done.returncode == 0 and w.ram_limit() == "booked", (done, w.ram_limit()))
        kill(sleeper.pid)
        sleeper.wait()
        w.pool.wait_for(held=0)
        done = w.pool.run("hold", "--for", str(os.getpid()), "--ram", "64M")
        check(done.returncode == 0 and w.ram_limit() == "booked", (done, w.ram_limit()))
        check(not w.manager.talks, "nobody is to be asked")


# A real `systemd --user`, in a mount namespace with a version 2 hierarchy of which a part is the user's. As the memory
# controller may be with version 1 on this machine, nothing is limited there, and that is what status has to say then.
REAL = """
mount -t tmpfs tmpfs /run && mkdir -p -m 1777 /run/berth && mount -t cgroup2 none /sys/fs/cgroup || exit 77
top=/sys/fs/cgroup/berth-test-$$
mkdir -p $top/session /run/user/$1 /run/systemd/system && chown -R $1 $top /run/user/$1 || exit 77
as="setpriv --reuid $1 --regid $1 --clear-groups env -i PATH=$PATH HOME=/tmp XDG_RUNTIME_DIR=/run/user/$1 BERTH_HISTORY=off"
(
  sh -c 'echo $PPID' > $top/session/cgroup.procs
  $as /lib/systemd/systemd --user > /dev/null 2>&1 &
  for i in $(seq 100); do [ -S /run/user/$1/systemd/private ] && break; sleep 0.1; done
  [ -S /run/user/$1/systemd/private ] || exit 77
  $as $2 run --ram 64M -- sh -c "grep ^0:: /proc/self/cgroup; cat /sys/fs/cgroup/\\$(grep ^0:: /proc/self/cgroup | cut -d: -f3)/memory.max; $2 status --json; exit 7"
)
status=$?
echo 1 > $top/cgroup.kill
for i in $(seq 100); do find $top -depth -type d -exec rmdir {} + 2> /dev/null; [ -d $top ] || break; sleep 0.05; done
exit $status
"""


def test_a_real_manager():
    if os.geteuid() != 0 or not os.path.exists("/lib/systemd/systemd") or not shutil.which("unshare"):
        return "skipped: not root, or no systemd or unshare here"
    done = subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c", REAL, "sh", "61001", public_berth()],
                          capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == SKIPPED:
        return f"skipped: no user manager can be had here: {done.stderr.strip()}"
    check(done.returncode == 7, done)
    lines = done.stdout.splitlines()
    check(re.fullmatch(r"0::.*/berth-\d+\.scope", lines[0]), done)
    limit = lines[1] if lines[1].isdigit() else None
    check(limit in (None, str(hard(64))), done)
    said = json.loads(lines[-1])["leases"][0]["ram_limit"]
    check(said == ("cgroup" if limit else "watched"), done)
    return "" if limit else "without the memory controller: watched"


if not glob.glob("/usr/lib/*/libsystemd.so.0") + glob.glob("/usr/lib*/libsystemd.so.0") + glob.glob("/lib/*/libsystemd.so.0"):
    print("skipped: there is no libsystemd here")
    sys.exit(SKIPPED)
main([value for name, value in list(globals().items()) if name.startswith("test_")])
