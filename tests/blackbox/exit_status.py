"""Every row of the table of exit statuses, as somebody at a shell would meet it.

A transcript is lines of `$ COMMAND`, then `= STATUS`, then what shows, a regular expression a line:
`> ` on stdout, `! ` on stderr. Nothing else shows.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import time

from berthtest import Pool, berth, check, kill, main, wait_exit


def shell(pool, line, **kw):
    env = dict(pool.env, PATH=os.path.dirname(berth()) + ":" + os.environ["PATH"], TMP=pool.tmp)
    return subprocess.run(["bash", "-c", line], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                          check=False, **kw)


def matches(shown, patterns):
    return len(shown) == len(patterns) and all(re.fullmatch(p, s) for p, s in zip(patterns, shown))


def transcript(pool, text, **kw):
    for step in re.split(r"^\s*\$ ", text, flags=re.M)[1:]:
        lines = [line.strip() for line in step.strip().splitlines()]
        command, status = lines[0], int(lines[1].removeprefix("= "))
        done = shell(pool, command, **kw)
        check(done.returncode == status, f"$ {command}\nexit {done.returncode} instead of {status}: {done.stdout}{done.stderr}")
        for stream, mark in ((done.stdout, ">"), (done.stderr, "!")):
            patterns = [line[2:] for line in lines[2:] if line[0] == mark]
            check(matches(stream.splitlines(), patterns), f"$ {command}\nshows {stream!r} instead of {patterns}")
    check(not pool.leases(), f"leases are left: {pool.leases()}")


def test_the_commands_own():
    with Pool(slot=1) as pool:
        transcript(pool, r"""
          $ berth run -r slot=1 -- sh -c 'echo out; echo err >&2; exit 0'
          = 0
          > out
          ! err
          $ berth run -r slot=1 -- sh -c 'exit 1'
          = 1
          $ berth run -r slot=1 -- sh -c 'exit 75'
          = 75
          $ berth run -r slot=1 -- sh -c 'exit 255'
          = 255
        """)


def test_128_and_the_signal_that_ended_it():
    with Pool(slot=1) as pool:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGRTMAX):
            code = pool.run("run", "-r", "slot=1", "--", "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$").returncode
            check(code == 128 + number, f"signal {int(number)}: exit {code}")


def test_2_the_call_is_wrong():
    with Pool(slot=1) as pool:
        for words in ("run", "run -r slot=1", "run -r slot=1 --", "run --nosuch true", "run -r slot true", "run -r slot=0 true",
                      "run -r slot=-1 true", "run --gpus 0 true", "run --gpus x true", "run --vram 0 true", "run --cpu 1.5 true",
                      "run --timeout soon true", "run --until later true", "run --on-timeout run true", "run --on-timeout stop true",
                      "run --exec --limit 1s true", "run --exec --until command true", "run --visible name true", "run --nice 99 true",
                      "run --threads 0 true", "run -r slot=1 -r slot=1 true", "run --no-wait=yes true", "run --for 1 true",
                      "hold --for x", "hold --for $$ true", "nosuch", ""):
            done = shell(pool, f"berth {words}")
            check(done.returncode == 2 and done.stdout == "", f"berth {words}: {done}")
            check(done.stderr.startswith("berth: ") and done.stderr.count("\n") == 1, f"berth {words}: {done}")
        check(pool.leftovers() == [], "something was started")


def test_3_can_never_be_met():
    with Pool(slot=2, sim_gpus="2x24G") as pool:
        transcript(pool, r"""
          $ berth run -r slot=3 -- touch $TMP/ran
          = 3
          ! berth: can never run here: it asks for 3 slot, but the pool has 2
          $ berth run -r nosuch=1 -- touch $TMP/ran
          = 3
          ! berth: can never run here: it asks for 1 nosuch, but the pool has no nosuch: berth set nosuch=N gives it some
          $ berth run --gpus 3 -- touch $TMP/ran
          = 3
          ! berth: can never run here: it asks for 3 GPUs, but there are 2
          $ berth run --vram 25G -- touch $TMP/ran
          = 3
          ! berth: can never run here: it asks for 25 GiB vram, but the cards it may use have 24 GiB
          $ berth run --ram 900T --no-wait -- touch $TMP/ran
          = 3
          ! berth: can never run here: it asks for 900 TiB ram, but (the pool has|this shell's cgroup may have only) .* [GT]iB.*
          $ ls $TMP
          = 0
        """)
        if len(os.sched_getaffinity(0)) > 1:
            transcript(pool, rf"""
              $ taskset -c {min(os.sched_getaffinity(0))} berth run --cpu 2 -- touch $TMP/ran
              = 3
              ! berth: can never run here: it asks for 2 cpu, but this shell may use only 1 of them \(taskset, a cgroup or a lease around it says so\)
            """)


def test_4_no_gpu_could_be_read():
    with Pool(slot=1) as pool:
        done = pool.run("run", "--no-wait", "true", env=dict(pool.env, BERTH_SIM_GPUS=""))
        # A machine may have one.
        check(done.returncode == 0 or (done.returncode == 4 and done.stderr.count("\n") == 1), f"{done}")
        check(pool.run("run", "-r", "slot=1", "true").returncode == 0, "a claim without a GPU needs none")


def test_75_busy():
    with Pool(slot=2, sim_gpus="1x24G") as pool:
        holder = pool.spawn("run", "-r", "slot=2", "--vram", "20G", "--label", "train", "--expect", "1h", "--", "sleep", "100")
        pool.wait_for(held=1)
        for claim in (["-r", "slot=1"], ["--vram", "8G"], ["--gpus", "1"]):
            done = pool.run("run", *claim, "--no-wait", "--", "touch", pool.tmp + "/ran")
            check(done.returncode == 75 and done.stdout == "" and done.stderr.count("\n") == 1, f"{claim}: {done}")
            said = json.loads(done.stderr)
            check(set(said) >= {"error", "holders", "eta_s"} and said["error"] == "busy", f"{said}")
            check([h["label"] for h in said["holders"]] == ["train"] and said["holders"][0]["pid"] == holder.pid, f"{said}")
        done = pool.run("hold", "-r", "slot=1", "--no-wait", "--for", str(os.getpid()))
        check(done.returncode == 75 and json.loads(done.stderr)["error"] == "busy", f"hold: {done}")
        check(not os.path.exists(pool.tmp + "/ran"), "it ran")
        kill(holder.pid, signal.SIGTERM)


def test_76_the_place_in_line_was_taken_away():
    with Pool(slot=1) as pool:
        holder = pool.spawn("run", "-r", "slot=1", "--", "sleep", "100")
        pool.wait_for(held=1)
        waiter = pool.spawn("run", "-r", "slot=1", "--", "touch", pool.tmp + "/ran")
        pool.wait_for(waiting=1)
        check(pool.run("release", pool.lease_of(waiter)["id"]).returncode == 0, "release")
        check(wait_exit(waiter, 10, pool) == 76, f"exit {waiter.returncode}: {pool.err(waiter)}")
        check(pool.err(waiter).splitlines()[-1].startswith("berth: ") and not os.path.exists(pool.tmp + "/ran"), pool.err(waiter))
        kill(holder.pid, signal.SIGTERM)


def test_124_the_timeout_passed():
    with Pool(slot=1) as pool:
        holder = pool.spawn("run", "-r", "slot=1", "--", "sleep", "100")
        pool.wait_for(held=1)
        begun = time.monotonic()
        done = pool.run("run", "-r", "slot=1", "--timeout", "200ms", "--", "touch", pool.tmp + "/ran")
        check(done.returncode == 124 and 0.2 <= time.monotonic() - begun < 5, f"{done}")
        check(re.search(r"gave up after .* without a place\n$", done.stderr), f"{done}")
        check(pool.run("run", "-r", "slot=1", "--timeout", "0", "true").returncode == 124, "at once")
        check(not os.path.exists(pool.tmp + "/ran"), "it ran")
        pool.wait_for(held=1, waiting=0)
        kill(holder.pid, signal.SIGTERM)


def test_125_berth_itself_could_not():
    with Pool(slot=1) as pool:
        open(pool.tmp + "/file", "w", encoding="ascii").close()
        os.mkdir(pool.tmp + "/foreign")
        with open(pool.tmp + "/foreign/pool", "w", encoding="ascii") as f:
            f.write("something else")
        transcript(pool, r"""
          $ BERTH_POOL=$TMP/file berth run --cpu 1 true
          = 125
          ! berth: .*file.*
          $ BERTH_POOL=$TMP/no/such/place berth run --cpu 1 true
          = 125
          ! berth: .*no/such/place.*
          $ BERTH_POOL=$TMP/foreign berth run --cpu 1 true
          = 125
          ! berth: the entry "pool" is not .*
          $ BERTH_POOL=/proc berth run --cpu 1 true
          = 125
          ! berth: .*/proc.*
          $ ulimit -n 6; ulimit -Hn 6; berth run -r slot=1 touch $TMP/ran
          = 125
          ! berth: .*
          $ ls $TMP/ran 2>/dev/null
          = 2
        """)


def test_125_the_pools_file_system_is_full():
    probe = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    if os.geteuid() != 0 or not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "skipped: no mounts here"
    with Pool(slot=1) as pool:
        done = shell(pool, "unshare -m sh -c 'mount -t tmpfs -o size=64k,nr_inodes=4 none /mnt && mkdir -m 1777 /mnt/p && "
                     "touch /mnt/1 /mnt/2; BERTH_POOL=/mnt/p berth run --cpu 1 touch $TMP/ran'")
        check(done.returncode == 125 and done.stderr.startswith("berth: ") and not os.path.exists(pool.tmp + "/ran"), f"{done}")


def test_126_127():
    with Pool(slot=1) as pool:
        transcript(pool, r"""
          $ berth run -r slot=1 -- /dev/null
          = 126
          ! berth: /dev/null: Permission denied
          $ berth run -r slot=1 -- /
          = 126
          ! berth: /: Permission denied
          $ touch $TMP/plain; chmod 755 $TMP/plain; berth run -r slot=1 -- $TMP/plain; echo $?
          = 0
          > 0
          $ berth run -r slot=1 -- /no/such/program
          = 127
          ! berth: /no/such/program: command not found
          $ berth run -r slot=1 -- no-such-program
          = 127
          ! berth: no-such-program: command not found
          $ printf '#!/no/such/interpreter\n' > $TMP/script; chmod 755 $TMP/script; berth run -r slot=1 -- $TMP/script
          = 127
          ! berth: .*/script: .*
          $ berth run --exec -r slot=1 -- no-such-program
          = 127
          ! berth: no-such-program: command not found
        """)


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
