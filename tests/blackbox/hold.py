"""hold: a place for as long as a process lives, in every form that scripts use."""
import os
import shutil
import signal
import subprocess
import time

from berthtest import Pool, berth, check, kill, main, wait_until

SHELLS = [s for s in ("bash", "dash", "zsh") if shutil.which(s)]


def shell(pool, which, script):
    env = dict(pool.env, BERTH_SIM_GPUS="2x24G", PATH=os.path.dirname(berth()) + ":" + pool.env.get("PATH", os.environ["PATH"]))
    return subprocess.run([which, "-c", script], env=env, capture_output=True, text=True, timeout=30)


def test_eval_gives_the_environment_and_ends_with_the_shell():
    for which in SHELLS:
        with Pool() as pool:
            done = shell(pool, which, 'eval "$(berth hold --for $$ --gpus 1 --print env)" || exit 9\n'
                         'echo $CUDA_VISIBLE_DEVICES $BERTH_DEVICES; berth status --short; env | grep -c BERTH_LIFE_FD')
            lines = done.stdout.splitlines()
            check(lines[0] == "0 SIM-0" and lines[1].startswith("1 held") and lines[2] == "0", f"{which}: {done}")
            pool.wait_for(held=0)


def test_eval_fails_where_hold_fails():
    for which in SHELLS:
        with Pool() as pool:
            done = shell(pool, which, 'eval "$(berth hold --for $$ --gpus 3 --print env)" || exit 9\necho went on')
            check(done.returncode == 9 and done.stdout == "", f"{which}: {done}")
            done = shell(pool, which, 'eval "$(berth hold --for $$ --gsup 3 --print env)" || exit 9\necho went on')
            check(done.returncode == 9 and "did you mean --gpus" in done.stderr, f"{which}: {done}")


def test_substitution_with_or():
    for which in SHELLS:
        with Pool() as pool:
            done = shell(pool, which, 'gpu=$(berth hold --for $$ --gpus 1 --print index) || exit; echo "[$gpu]"\n'
                         'two=$(berth hold --for $$ --gpus 2 --no-wait --print uuid 2>/dev/null) || echo "no $?"')
            check(done.stdout == "[0]\nno 75\n", f"{which}: {done}")
            pool.wait_for(held=0)


def test_pipe_and_subshell():
    with Pool() as pool:
        done = shell(pool, "bash", "berth hold --for $$ --gpus 1 --print uuid | cat; (berth hold --for $$ --gpus 1 >/dev/null)\n"
                     "berth status --short | cut -d';' -f1")
        check(done.stdout == "SIM-0\n2 held, 0 waiting\n", f"{done}")
        pool.wait_for(held=0)


def test_default_is_the_parent_with_a_warning_in_a_pipe():
    with Pool() as pool:
        done = shell(pool, "bash", "x=$(berth hold --gpus 1); echo ${#x}")
        check(done.stdout == "10\n" and "say --for $$" in done.stderr, f"{done}")
        pool.wait_for(held=0)


def test_the_keeper_holds_nothing_of_the_callers():
    with Pool(slot=1) as pool:
        reader, writer = os.pipe()
        done = subprocess.run([berth(), "hold", "-r", "slot=1", "--for", str(os.getpid())], env=pool.env, pass_fds=[writer],
                              capture_output=True, text=True, timeout=10)
        check(done.returncode == 0, f"{done}")  # subprocess saw the end of both pipes: nobody keeps them
        os.close(writer)
        check(os.read(reader, 1) == b"", "the keeper keeps the caller's descriptor")
        os.close(reader)
        id_ = done.stdout.strip()
        check(pool.run("release", id_).returncode == 0, "release")
        pool.wait_for(held=0)


def test_it_ends_with_the_process_however_that_ends():
    with Pool(slot=1) as pool:
        for number in (signal.SIGTERM, signal.SIGKILL):
            process = subprocess.Popen(["sleep", "60"])
            done = pool.run("hold", "-r", "slot=1", "--for", str(process.pid))
            check(done.returncode == 0, f"{done}")
            waiter = pool.spawn("run", "-r", "slot=1", "--", "true")
            pool.wait_for(held=1, waiting=1)
            process.send_signal(number)
            check(waiter.wait(10) == 0, "the waiter was not served")
            process.wait()


def test_ttl():
    with Pool(slot=1) as pool:
        begun = time.monotonic()
        check(pool.run("hold", "-r", "slot=1", "--for", str(os.getpid()), "--ttl", "300ms").returncode == 0, "hold")
        check(pool.run("run", "-r", "slot=1", "--", "true").returncode == 0, "run")
        check(0.25 < time.monotonic() - begun < 5, "not after the ttl")


def test_killed_keeper_frees_the_place():
    with Pool(slot=1) as pool:
        check(pool.run("hold", "-r", "slot=1", "--for", str(os.getpid())).returncode == 0, "hold")
        life = [e for e in os.listdir(os.path.join(pool.path, f"u{os.geteuid()}")) if e.endswith(".l")][0]
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            except OSError:
                continue
            if any(link.endswith(life) for link in links):
                found.append(int(pid))
        check(len(found) == 1, f"the keeper alone keeps it: {found}")
        kill(found[0])
        wait_until(lambda: pool.run("run", "-r", "slot=1", "--no-wait", "true").returncode == 0, 5)


def test_bad_words():
    with Pool(slot=1) as pool:
        for words, said in ((["--for", "0"], "--for"), (["--for", "4194303"], "no process"), (["true"], "one word too many"),
                            (["--print", "all"], "--print"), (["--nice", "3"], "option of run")):
            done = pool.run("hold", *words)
            check(done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, f"{words}: {done}")


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
