"""A command finds everything as it would without berth: descriptors, signals, limits, terminal."""
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys

from berthtest import Pool, Witness, berth, check, is_running, job_of, kill, main, wait_exit, wait_until
from terminal import bash

SLOT = ["run", "-r", "slot=1", "--"]

# What a process is, beside its environment: each a command that reads it.
LOOKS = (
    ["grep", "-E", "^(Umask|[UG]id|Groups|SigBlk|SigIgn|SigCgt|Cap|NoNewPrivs|Seccomp|Cpus_allowed|Mems_allowed)", "/proc/self/status"],
    ["cat", "/proc/self/limits"],
    ["cat", "/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/cgroup", "/proc/self/timerslack_ns"],
    ["sh", "-c", "ulimit -a; ulimit -Ha; umask; nice; pwd"],
    ["readlink", "/proc/self/cwd", "/proc/self/root", "/proc/self/ns/mnt", "/proc/self/ns/pid"],
    # nice, priority, policy and the rest that a child does not change by running
    ["cut", "-d ", "-f", "18,19,38,40,41", "/proc/self/stat"],
)


def with_and_without(pool, words, **kw):
    """What CMD says in a lease, and what it says by itself."""
    kw = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": pool.env,
          "timeout": 20, "check": False, **kw}
    plain = subprocess.run(words, **kw)
    wrapped = subprocess.run([berth(), *SLOT, *words], **kw)
    return plain, wrapped


def drop(limit, soft):
    resource.setrlimit(limit, (soft, resource.getrlimit(limit)[1]))


def unusual():
    """A caller that has everything otherwise than usual."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM, 40])
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGTSTP, signal.SIGWINCH):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o027)
    for limit, soft in ((resource.RLIMIT_NOFILE, 77), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_STACK, 4 << 20),
                        (resource.RLIMIT_CPU, 1000), (resource.RLIMIT_MEMLOCK, 4096), (resource.RLIMIT_FSIZE, 1 << 30)):
        drop(limit, soft)
    os.nice(3)
    os.chdir("/usr")
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as f:
        f.write("300")


def usual():
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def test_the_command_finds_everything_as_without():
    with Pool(slot=1) as pool:
        for caller in (usual, unusual):
            for words in LOOKS:
                plain, wrapped = with_and_without(pool, words, preexec_fn=caller)
                check(plain.returncode == 0 and plain.stdout, f"{words} by itself: {plain}")
                said = f"{caller.__name__}, {words[0]} {words[-1]}:\n{plain.stdout}\nbut with berth:\n{wrapped.stdout}{wrapped.stderr}"
                check((plain.returncode, plain.stdout, plain.stderr) == (wrapped.returncode, wrapped.stdout, wrapped.stderr), said)


def test_the_environment_is_the_same_but_for_ours():
    with Pool(slot=1) as pool:
        plain, wrapped = with_and_without(pool, ["env", "-0"], env={**pool.env, "EMPTY": "", "LINES": "a\nb", "OMP_NUM_THREADS": "9"})
        ours = [e for e in wrapped.stdout.split("\0") if e not in plain.stdout.split("\0")]
        check(set(plain.stdout.split("\0")) <= set(wrapped.stdout.split("\0")), f"lost: {plain.stdout} {wrapped.stdout}")
        names = sorted(e.split("=")[0] for e in ours)
        check(names == ["BERTH_ID", "BERTH_LEASE", "BERTH_LIFE_FD"], f"{ours}")


def test_descriptors_are_the_same_but_for_the_life():
    """Those of the caller under their numbers, also where ours would have been; nothing of ours but the life."""
    with Pool(slot=1) as pool, open(pool.tmp + "/f", "w+", encoding="ascii") as f:
        numbers = [57, 199, 200, 201]  # low ones are this test's own while it starts a program

        def open_them():
            for number in numbers:
                os.dup2(f.fileno(), number)

        script = 'exec 2>/dev/null; for fd in /proc/$$/fd/*; do echo "${fd##*/} $(readlink $fd)"; done; echo life $BERTH_LIFE_FD'
        plain, wrapped = with_and_without(pool, ["sh", "-c", script], preexec_fn=open_them, close_fds=False, stderr=subprocess.DEVNULL)
        before, after = (dict(line.partition(" ")[::2] for line in done.stdout.splitlines()) for done in (plain, wrapped))
        life = after.pop("life")
        check(after.pop(life, "").endswith(".l"), f"no life under {life}: {wrapped.stdout}")
        check(before.pop("life") == "" and set(before) == set(after), f"{sorted(before)} became {sorted(after)}")
        for number in map(str, numbers):
            check(after[number] == before[number] == f.name, f"{number} became {after[number]}")


def test_closed_standard_descriptors_stay_closed():
    """In every combination, also for one that has to wait and would say so."""
    with Pool(slot=1) as pool:
        found = os.path.join(pool.tmp, "found")
        script = 'o=; for fd in 0 1 2; do [ -e /proc/$$/fd/$fd ] && o="$o$fd"; done; echo "$o" > ' + found
        for closed in itertools.chain(*(itertools.combinations((0, 1, 2), n) for n in range(4))):
            holder = pool.spawn(*SLOT, "cat", stdin=subprocess.PIPE)
            pool.wait_for(held=1)
            process = subprocess.Popen([berth(), *SLOT, "sh", "-c", script], env=pool.env, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       preexec_fn=lambda gone=closed: [os.close(fd) for fd in gone])
            pool.wait_for(held=1, waiting=1)
            holder.stdin.close()
            check(wait_exit(process, 10, pool) == 0, f"closed {closed}: exit {process.returncode}")
            with open(found, encoding="ascii") as f:
                left = f.read().strip()
            check(left == "".join(str(fd) for fd in (0, 1, 2) if fd not in closed), f"closed {closed}: the command has {left!r}")
            wait_exit(holder)
            for words in (["status"], ["run", "-r", "slot=9", "true"], ["run", "-r", "slot=1", "-x"]):
                subprocess.run([berth(), *words], env=pool.env, check=False, timeout=10, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda gone=closed: [os.close(fd) for fd in gone])
            check(not pool.leases() and not pool.leftovers(), f"closed {closed}: {pool.leftovers()}")


def test_who_reads_no_more_ends_the_command():
    with Pool(slot=1) as pool:
        done = subprocess.run(["bash", "-c", f"{berth()} run -r slot=1 -- yes | head -n 1; echo ${{PIPESTATUS[0]}}"],
                              env=pool.env, capture_output=True, text=True, timeout=20, check=False, preexec_fn=usual)
        check((done.stdout, done.stderr) == ("y\n141\n", ""), f"{done}")
        # Where SIGPIPE is ignored, it is the command's to hear EPIPE.
        done = subprocess.run(["bash", "-c", f"trap '' PIPE; {berth()} run -r slot=1 -- yes | head -n 1; echo ${{PIPESTATUS[0]}}"],
                              env=pool.env, capture_output=True, text=True, timeout=20, check=False, preexec_fn=usual)
        check(done.stdout == "y\n1\n" and "Broken pipe" in done.stderr and "berth" not in done.stderr, f"{done}")


def test_a_parent_that_ignores_sigchld_hears_the_status():
    with Pool(slot=1) as pool:
        for code in (0, 7):
            # Who ignores SIGCHLD cannot wait: a shell in between tells.
            script = f"trap '' CHLD; {berth()} run -r slot=1 -- sh -c 'exit {code}'; echo $?"
            done = subprocess.run(["bash", "-c", script], env=pool.env, capture_output=True, text=True, timeout=20, check=False)
            by_exec = pool.run(*SLOT, "sh", "-c", f"exit {code}",
                               preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
            check(by_exec.returncode == code, f"{by_exec}")
            check(done.stderr == "", f"{done}")


def test_nohup():
    with Pool(slot=1) as pool:
        process = subprocess.Popen(["nohup", berth(), *SLOT, "cat"], env=pool.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        pool.wait_for(held=1)
        job = job_of(process)
        os.killpg(process.pid, signal.SIGHUP)
        kill(process.pid, signal.SIGHUP)
        check(pool.run("run", "-r", "slot=1", "--no-wait", "true").returncode == 75, "still there")
        check(is_running(job) and process.poll() is None, "HUP ended it")
        process.stdin.close()
        check(wait_exit(process) == 0, "cat")


def test_a_python_prompt():
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        terminal.send(f"{berth()} run -r slot=1 -- {sys.executable} -q\n".encode())
        terminal.expect(">>> ")
        terminal.send(b"6 * 111\n")
        terminal.expect("666")
        terminal.expect(">>> ")
        terminal.send(b"print('sle' 'eps') or __import__('time').sleep(100)\n")
        terminal.expect("sleeps")
        terminal.send(b"\x03")
        terminal.expect("KeyboardInterrupt")
        terminal.expect(">>> ")
        terminal.send(b"\x1a")
        terminal.expect("Stopped")
        terminal.expect("$ ")
        terminal.send(b"fg\n")
        terminal.send(b"5 * 111\n")
        terminal.expect("555")
        terminal.send(b"exit(3)\n")
        terminal.expect("$ ")
        terminal.send(b"echo status=$?\n")
        terminal.expect("status=3")
        terminal.close()


def test_less_and_a_pipe():
    if not shutil.which("less"):
        return "skipped: no less"
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        for words in (f"seq 500 | {berth()} run -r slot=1 -- less", f"{berth()} run -r slot=1 -- seq 500 | less"):
            terminal.resize(10, 40)
            terminal.send(words.encode() + b"\n")
            terminal.expect("9\r\n")
            terminal.send(b"/4[9]9\n")
            terminal.expect("499")
            terminal.send(b"q")
            terminal.expect("$ ")
        pool.wait_for(held=0)
        terminal.close()


def test_an_editor():
    editor = shutil.which("vim") or shutil.which("vi")
    if not editor:
        return "skipped: no vi"
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        path = os.path.join(pool.tmp, "text")
        terminal.send(b"export TERM=vt100; stty rows 24 cols 80\n")
        terminal.expect("$ ")
        terminal.send(f"{berth()} run -r slot=1 -- {editor} -u NONE -i NONE {path}\n".encode())
        terminal.expect("text")
        terminal.send(b"ifirst\x1b:w\n")
        wait_until(lambda: os.path.exists(path), 10, "the editor to write", pool)
        terminal.send(b"\x1a")
        terminal.expect("Stopped")
        terminal.send(b"echo in''between\n")
        terminal.expect("inbetween")
        terminal.send(b"fg\n")
        terminal.expect("first")
        terminal.send(b"osecond\x1b:wq\n")
        pool.wait_for(held=0)
        with open(path, encoding="ascii") as f:
            check(f.read() == "first\nsecond\n", "what was typed")
        terminal.send(b"stty -a; echo do''ne\n")
        terminal.expect(" echo ")
        terminal.expect("done")
        terminal.close()


FORKS = {
    "fork without exec": "import os, signal\nif os.fork() == 0: signal.pause()",
    "double fork": "import os, signal\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    os.chdir('/')\n    signal.pause()\n  os._exit(0)\nos.wait()",
    "closed low descriptors": "import os, signal\nif os.fork() == 0:\n  os.closerange(0, 64)\n  signal.pause()",
}


def test_the_place_lasts_as_long_as_anything_of_the_job():
    with Pool(slot=1) as pool:
        for what, code in FORKS.items():
            process = pool.spawn(*SLOT, sys.executable, "-c", code)
            said = pool.err(process) if wait_exit(process, 10, pool) == 0 else ""
            check("the place stays taken by" in said, f"{what}: exit {process.returncode}, {said!r}")
            left = int(said.split("pid ")[1].split()[0])
            check(pool.run("run", "-r", "slot=1", "--no-wait", "true").returncode == 75, f"{what}: the place was given away")
            kill(left)
            check(pool.run("run", "-r", "slot=1", "--timeout", "5", "true").returncode == 0, f"{what}: not free")


def test_a_command_that_closes_everything_keeps_its_place_while_it_runs():
    with Pool(slot=1) as pool:
        code = "import os, signal\nos.closerange(0, 1024)\nsignal.sigwait([signal.SIGUSR1])"
        holder = pool.spawn(*SLOT, sys.executable, "-c", code, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]))
        job = job_of(holder)
        wait_until(lambda: not os.listdir(f"/proc/{job}/fd"), 10, "it to close all", pool)
        check(pool.run("run", "-r", "slot=1", "--no-wait", "true").returncode == 75, "the place was given away")
        kill(job, signal.SIGUSR1)
        check(wait_exit(holder) == 0 and not pool.leases(), "it ended")


def test_a_killed_wrapper_leaves_a_tree_its_place():
    with Pool(slot=1) as pool:
        witness = Witness(pool)
        script = " ".join(witness.job("slot:1", -1, "deep")) + " & exec sleep 1000"
        holder = pool.spawn(*SLOT, "sh", "-c", script)
        deep, _ = witness.started("deep")
        top = job_of(holder)
        for pid in (holder.pid, top):
            kill(pid)
            wait_until(lambda p=pid: not is_running(p))
            check(pool.run("run", "-r", "slot=1", "--no-wait", "true").returncode == 75, "the place was given away")
        kill(deep)
        check(pool.run("run", "-r", "slot=1", "--timeout", "5", "true").returncode == 0, "not free")
        witness.check()


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
