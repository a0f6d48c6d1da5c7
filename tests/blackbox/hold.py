"""hold: a place for as long as a process lives, in every form that scripts use."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

from berthtest import Pool, berth, check, descendants, kill, main, wait_until

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


def test_a_word_on_the_terminal_before_the_ttl_is_over():
    """A tenth of the time before, but no less than five seconds."""
    with Pool(slot=1) as pool:
        screen, terminal = pty.openpty()
        begun = time.monotonic()
        done = pool.run("hold", "-r", "slot=1", "--for", str(os.getpid()), "--ttl", "6s", stdin=terminal, stdout=terminal, stderr=terminal)
        check(done.returncode == 0, f"{done}")
        said = b""
        while b"moves that" not in said and select.select([screen], [], [], 10)[0]:
            said += os.read(screen, 4096)
        check(re.search(rb"berth: the lease ([a-z2-7]{10}) ends in [45] s; berth resize \1 --ttl DUR moves that\r+\n", said), f"{said}")
        check(time.monotonic() - begun > 0.9, "not before that")
        check(pool.run("release", pool.leases()[0]["id"]).returncode == 0, "release")
        os.close(terminal)
        os.close(screen)


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


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def entry_of_waiter(pool, pid):
    """True if this process has the life of a waiter open: the hold itself, and not what stands beside it."""
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any(link.startswith(pool.path) and link.endswith(".l") for link in links)


# Every form that scripts use. H is `berth hold --for $$ --gpus 1`, S prints how many leases are held. "busy" forms find both
# GPUs taken by another and must not go on.
S = 'S() { berth status --short | cut -d" " -f1; }\n'
FORMS = [
    # form, script, stdout, exit status, shells (none: all)
    ("eval", 'eval "$(H --print env)" || exit 9; echo $CUDA_VISIBLE_DEVICES; S', "0 1", 0),
    ("eval, not quoted", 'eval $(H --print env) || exit 9; echo $CUDA_VISIBLE_DEVICES; S', "0 1", 0),
    ("eval of backticks", 'eval "`H --print env`" || exit 9; echo $CUDA_VISIBLE_DEVICES; S', "0 1", 0),
    ("eval, then if", 'if eval "$(H --print env)"; then echo $CUDA_VISIBLE_DEVICES; S; else exit 9; fi', "0 1", 0),
    ("eval under set -eu", 'set -eu; eval "$(H --print env)"; echo $CUDA_VISIBLE_DEVICES; S', "0 1", 0),
    ("eval in a function", 'get() { eval "$(H --print env)" || return; echo $CUDA_VISIBLE_DEVICES; }; get || exit 9; S', "0 1", 0),
    ("eval in a subshell", '(eval "$(H --print env)" || exit 9; echo $CUDA_VISIBLE_DEVICES) || exit 9; S', "0 1", 0),
    ("eval of --print=env", 'eval "$(H --print=env)" || exit 9; echo $CUDA_VISIBLE_DEVICES; S', "0 1", 0),
    ("a dot on a file", 'H --print env > $T/f || exit 9; . $T/f; echo $CUDA_VISIBLE_DEVICES; S', "0 1", 0),
    ("a dot on <(...)", '. <(H --print env) || exit 9; echo $CUDA_VISIBLE_DEVICES; S', "0 1", 0, "bash zsh"),
    ("substitution", 'g=$(H --print index) || exit; echo $g; S', "0 1", 0),
    ("substitution in quotes", 'g="$(H --print index)" || exit; echo $g; S', "0 1", 0),
    ("backticks", 'g=`H --print index` || exit; echo $g; S', "0 1", 0),
    ("substitution under set -e", 'set -e; g=$(H --print index); echo $g; S', "0 1", 0),
    ("substitution in a function", 'get() { g=$(H --print index) || return; }; get || exit; echo $g; S', "0 1", 0),
    ("local on a line of its own", 'get() { local g; g=$(H --print index) || return; echo $g; }; get || exit; S', "0 1", 0),
    ("a substitution inside another", 'g=$(echo $(H --print index)); echo $g; S', "0 1", 0),
    ("substitution in a condition", 'if g=$(H --print index); then echo $g; S; else exit 9; fi', "0 1", 0),
    ("a command with ||", 'H >/dev/null || exit; S', "1", 0),
    ("a command in a list", '{ H >/dev/null && S; } || exit 9', "1", 0),
    ("a subshell", '(H >/dev/null) || exit 9; S', "1", 0),
    ("in the background", 'H >/dev/null & wait $! || exit 9; S', "1", 0),
    ("a pipe", 'H --print uuid | cat; S', "SIM-0 1", 0),
    ("a pipe into read", 'H --print index | { read g; echo $g; }; S', "0 1", 0),
    ("a pipe with pipefail", 'set -o pipefail; H --print index | cat || exit 9; S', "0 1", 0, "bash zsh"),
    ("a here-document", 'read g <<E\n$(H --print index)\nE\necho $g; S', "0 1", 0),
    ("an array", 'g=($(H --gpus 2 --print index)); echo "${g[@]}"; S', "0,1 1", 0, "bash zsh"),
    ("a shell inside", "sh -c 'berth hold --for $PPID --print index' || exit 9; S", "0 1", 0),
    ("the whole script in a pipe", '{ g=$(H --print index) || exit; echo $g; S; } | cat', "0 1", 0),
    ("two in one script", 'a=$(H --print index) || exit; b=$(H --print index) || exit; echo $a $b; S', "0 1 2", 0),
    ("a loop", 'for i in 1 2; do H >/dev/null || exit; done; S', "2", 0),
    ("release by trap", "(trap 'berth release' EXIT; eval \"$(H --print env)\" || exit 9); S", "0", 0),
    ("release of what eval took", 'eval "$(H --print env)" || exit 9; berth release; S; berth release 2>/dev/null; echo $?', "0 1", 0),
    ("release by id", 'id=$(H) || exit; S; berth release $id; S', "1 0", 0),
    ("a job inside what eval took", 'eval "$(H --print env)" || exit 9; berth run --no-wait --gpus 1 -- sh -c "berth status --short" | cut -d" " -f1',
     "2", 0),
    ("busy: eval", 'eval "$(H --gpus 1 --no-wait --print env 2>/dev/null)" || exit 9; echo went on', "", 9),
    ("busy: eval, not quoted", 'eval $(H --gpus 1 --no-wait --print env 2>/dev/null) || exit 9; echo went on', "", 9),
    ("busy: eval and its status", 'eval "$(H --gpus 1 --no-wait --print env 2>/dev/null)" || exit; echo went on', "", 75),
    ("busy: eval under set -e", 'set -e; eval "$(H --gpus 1 --no-wait --print env 2>/dev/null)"; echo went on', "", 75),
    ("busy: eval in a function", 'get() { eval "$(H --no-wait --print env 2>/dev/null)"; }; get || exit; echo went on', "", 75),
    ("busy: a dot", '. <(H --no-wait --print env 2>/dev/null) || exit; echo went on', "", 75, "bash zsh"),
    ("busy: substitution", 'g=$(H --no-wait --print index 2>/dev/null) || exit; echo went on', "", 75),
    ("busy: backticks", 'g=`H --no-wait --print index 2>/dev/null` || exit; echo went on', "", 75),
    ("busy: set -e", 'set -e; g=$(H --no-wait --print index 2>/dev/null); echo went on', "", 75),
    ("busy: a command", 'H --no-wait 2>/dev/null || exit; echo went on', "", 75),
    ("busy: if not", 'if ! g=$(H --no-wait 2>/dev/null); then echo no; exit 9; fi; echo went on', "no", 9),
    ("busy: pipefail", 'set -o pipefail; H --no-wait --print index 2>/dev/null | cat || exit; echo went on', "", 75, "bash zsh"),
    ("busy: 2>&1 into eval", 'eval "$(H --no-wait --print env 2>&1)" || exit 9; echo went on', "", "not 0"),
    ("wrong: eval", 'eval "$(H --gsup 1 --print env 2>/dev/null)" || exit; echo went on', "", 2),
    ("never: eval", 'eval "$(H --gpus 3 --print env 2>/dev/null)" || exit; echo went on', "", 3),
]


def test_every_form_in_every_shell():
    counted = 0
    for which in SHELLS:
        for form, script, out, status, *only in FORMS:
            if only and which not in only[0].split():
                continue
            with Pool() as pool:
                if form.startswith("busy"):
                    pool.spawn("run", "--gpus", "2", "--label", "$(echo run by eval)", "--", "sleep", "60", env=dict(pool.env, BERTH_SIM_GPUS="2x24G"))
                    pool.wait_for(held=1)
                claim = "" if "H --gpus" in script or "H --gsup" in script else " --gpus 1"
                text = re.sub(r"\bH\b", f"berth hold --for $${claim}", script)
                done = shell(pool, which, f"T={pool.tmp}\n{S}{text}")
                said = f"{which}, {form}: {text}: exit {done.returncode}, {done.stdout!r}, {done.stderr!r}"
                check(" ".join(done.stdout.split()) == out, said)
                check(done.returncode == status or (status == "not 0" and done.returncode != 0), said)
                check(done.stderr == "" or status == "not 0", said)
                pool.wait_for(held=1 if form.startswith("busy") else 0, waiting=0)
                counted += 1
    absent = [s for s in ("bash", "dash", "zsh") if s not in SHELLS]
    return f"{counted} scripts in {', '.join(SHELLS)}" + (f"; skipped, not installed: {', '.join(absent)}" if absent else "")


def test_forms_that_cannot_work_say_what_to_write():
    """The process to hold for is one that ends at once, or the messages would be run."""
    table = [
        ("bash", 'g=$(berth hold --for $BASHPID --gpus 1); echo $?', "2", "say --for $$"),
        ("bash", '(exec berth hold --for $BASHPID --gpus 1); echo $?', "2", "no exec"),
        ("dash", 'exec berth hold --for $$ --gpus 1', "", "no exec"),
        ("bash", 'g=$(berth hold --for $BASHPID --gpus 1 || exit 1); echo $?', "0", "say --for $$"),
        ("bash", 'g=$(berth hold --gpus 1); echo $?', "0", "say --for $$"),
        ("bash", "g=$(berth hold --for '' --gpus 1); echo $?", "2", "$$$$ in a Makefile"),
        ("bash", "g=$(berth hold --for '$$' --gpus 1); echo $?", "2", "is no process id"),
        ("bash", "g=$(berth hold --for $$ -- sleep 9); echo $?", "2", "berth run does"),
        ("bash", 'x=$(berth hold --for $$ --gpus 1 --print env 2>&1); echo "$?"; echo "$x" >&2', "2", "leave 2>&1 away"),
    ]
    for which, script, out, said in table:
        with Pool() as pool:
            done = shell(pool, which, script)
            check(done.stdout.strip() == out and said in done.stderr, f"{which}: {script}: {done}")
            pool.wait_for(held=0)
    # A script in a pipe is no subshell: no false alarm.
    with Pool() as pool:
        done = shell(pool, "bash", "sh -c 'berth hold --for $$ --gpus 1 >&2' | cat; bash -c 'berth hold --for $$ --gpus 1; :' | cat")
        check("--for $$" not in done.stderr, f"{done}")


def test_a_hold_that_is_killed_fails_its_eval():
    """Nothing printed would be nothing to fail: eval "" succeeds, and the script would go on without a place."""
    for which in SHELLS:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            with Pool(slot=1) as pool:
                holder = pool.spawn("run", "-r", "slot=1", "--", "sleep", "60")
                pool.wait_for(held=1)
                env = dict(pool.env, B=berth())
                script = subprocess.Popen([which, "-c", 'eval "$("$B" hold --for $$ -r slot=1 --print env)" || exit 9; echo went on'], env=env,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                pool.wait_for(held=1, waiting=1)
                waiters = [pid for pid in descendants(script.pid) if "hold" in cmdline(pid) and entry_of_waiter(pool, pid)]
                check(len(waiters) == 1, f"{waiters}")
                kill(waiters[0], number)
                out, err = script.communicate(timeout=10)
                # bash ends of the signal that ended its substitution from the keyboard; all others see eval fail.
                expected = (9, -signal.SIGINT) if number == signal.SIGINT else (9,)
                check(script.returncode in expected and out == "", f"{which}, {number!r}: exit {script.returncode}, {out!r}, {err!r}")
                pool.wait_for(held=1, waiting=0)
                kill(holder.pid)


def test_nobody_waits_for_a_process_that_has_ended():
    with Pool(slot=1) as pool:
        pool.spawn("run", "-r", "slot=1", "--", "sleep", "60")
        pool.wait_for(held=1)
        process = subprocess.Popen(["sleep", "60"])
        waiter = pool.spawn("hold", "-r", "slot=1", "--for", str(process.pid))
        pool.wait_for(held=1, waiting=1)
        kill(process.pid)
        process.wait()
        check(waiter.wait(10) == -signal.SIGTERM and "has ended" in pool.err(waiter), f"{waiter.returncode}: {pool.err(waiter)}")
        pool.wait_for(held=1, waiting=0)


def test_a_place_of_two_leases_is_released_as_one():
    """Inside a lease that lacks some of it, a place is two leases; release without an ID ends both."""
    with Pool(slot=1, license=1) as pool:
        script = ('eval "$(berth hold --for $$ -r slot=1 -r license=1 --print env)" || exit 9\n'
                  'berth status --short; berth release || exit 8\n'
                  'for i in 1 2 3 4 5 6 7 8 9; do berth status --short | grep -q "^1 held" && break; sleep 0.1; done; berth status --short')
        env = dict(pool.env, PATH=os.path.dirname(berth()) + ":" + os.environ["PATH"])
        done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", script, env=env)
        lines = [line.split(",")[0] for line in done.stdout.splitlines()]
        check(done.returncode == 0 and lines == ["3 held", "1 held"], f"{done}")


def test_a_place_of_two_leases_is_not_reclaimable_and_says_so():
    with Pool(slot=1, license=1) as pool:
        for claim, told in (("-r slot=1 -r license=1", True), ("-r slot=1", False)):
            script = f"{berth()} hold --for $$ {claim} --reclaimable"
            done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", script)
            check(done.returncode == 0 and ("of two leases" in done.stderr) == told, f"{claim}: {done}")


def test_release_without_an_id_inside_run():
    with Pool(slot=1) as pool:
        script = 'berth release && berth status --short; berth release; echo $?; env -u BERTH_ID berth release; echo $?'
        env = dict(pool.env, PATH=os.path.dirname(berth()) + ":" + os.environ["PATH"])
        done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", script, env=env)
        lines = done.stdout.splitlines()
        check(lines[0].startswith("0 held") and lines[1:] == ["1", "1"], f"{done}")
        check("this shell is in no lease" in done.stderr.lower(), f"{done.stderr!r}")


def test_bad_words():
    with Pool(slot=1) as pool:
        for words, said in ((["--for", "0"], "--for"), (["--for", "4194303"], "no process"), (["true"], "one word too many"),
                            (["--print", "all"], "--print"), (["--nice", "3"], "option of run")):
            done = pool.run("hold", *words)
            check(done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, f"{words}: {done}")


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
