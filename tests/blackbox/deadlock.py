"""Hold-and-wait: a cycle is refused when it forms, with exit 3 and the cycle spelled out; no other wait is."""
import os
import shutil
import subprocess

from berthtest import Pool, berth, check, main, wait_exit, wait_until

ANNE, BOB = 1001, 1002


def lease(pool, label, has, script, uid=None, **kw):
    """A lease on what `has` says, whose command is a shell script; `B` in it is the program, `GO` waits for the go."""
    script = script.replace("GO", f"until [ -e {pool.tmp}/go-$0 ]; do sleep 0.01; done").replace("B ", berth() + " ")
    words = ["run", "-l", label, *has, "--", "sh", "-c", script, label]
    if uid is None:
        return pool.spawn(*words, **kw)
    return subprocess.Popen(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", berth(), *words], env=pool.env,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def go(pool, label):
    with open(f"{pool.tmp}/go-{label}", "w", encoding="ascii"):
        pass


def test_two_who_want_what_the_other_has():
    with Pool(license=1, slot=1) as pool:
        a = lease(pool, "A", ["-r", "license=1"], "GO; B run -r slot=1 -- echo had it")
        b = lease(pool, "B", ["-r", "slot=1"], "GO; B run -r license=1 -- true; echo $?")
        pool.wait_for(held=2)
        go(pool, "A")
        pool.wait_for(held=2, waiting=1)
        go(pool, "B")
        check(wait_exit(b, 10, pool) == 0 and pool.out(b) == "3\n", f"{pool.out(b)} {pool.err(b)}")
        said = pool.err(b)
        for words in ("B (", ") holds slot and waits for license, which A (", ") holds, who waits for slot"):
            check(words in said, said)
        check(said.count("\n") == 1, said)
        # The one that was there first goes on.
        check(wait_exit(a, 10, pool) == 0 and pool.out(a).endswith("had it\n"), pool.err(a))


def test_two_users():
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return "skipped: not root, or no setpriv"
    with Pool(license=1, slot=1) as pool:
        os.chmod(pool.tmp, 0o1777)
        pool.env["BERTH_HISTORY"] = "off"
        a = lease(pool, "A", ["-r", "license=1"], "GO; B run -r slot=1 -- true", uid=ANNE)
        b = lease(pool, "B", ["-r", "slot=1"], "GO; B run -r license=1 -- true", uid=BOB)
        pool.wait_for(held=2)
        go(pool, "A")
        pool.wait_for(held=2, waiting=1)
        go(pool, "B")
        _, said = b.communicate(timeout=10)
        check(b.returncode == 3 and "holds slot and waits for license, which A (" in said, f"{b.returncode} {said}")
        check(wait_exit(a, 10, pool) == 0, "the first goes on")


def test_three_in_a_ring():
    with Pool(x=1, y=1, z=1) as pool:
        wants = {"A": ("x", "y"), "B": ("y", "z"), "C": ("z", "x")}
        runs = {label: lease(pool, label, ["-r", f"{has}=1"], f"GO; B run -r {want}=1 -- true")
                for label, (has, want) in wants.items()}
        pool.wait_for(held=3)
        for count, label in enumerate("ABC"):
            go(pool, label)
            if label != "C":
                pool.wait_for(held=3, waiting=count + 1)
        check(wait_exit(runs["C"], 10, pool) == 3, pool.err(runs["C"]))
        said = pool.err(runs["C"])
        check("holds z and waits for x, which A (" in said and "who waits for y, which B (" in said and
              "who waits for z" in said, said)
        for label in "AB":
            check(wait_exit(runs[label], 10, pool) == 0, pool.err(runs[label]))


def test_who_would_wait_for_itself():
    with Pool(cpu=2, sim_gpus="1x24G") as pool:
        b = berth()
        done = pool.run("run", "--cpu", "1", "--", b, "run", "--cpu", "3", "--", "true", timeout=10)
        check(done.returncode == 3 and "it asks for 3 cpu, but the pool has 2" in done.stderr, f"{done}")
        done = pool.run("run", "--vram", "16G", "--", b, "run", "--vram", "20G", "--", "true", timeout=10)
        check(done.returncode == 3 and "gpu" in done.stderr and "only its end frees" in done.stderr, f"{done}")
        done = pool.run("run", "--cpu", "1", "--", b, "run", "--cpu", "3", "--no-wait", "--", "true", timeout=10)
        check(done.returncode == 3 and "it asks for 3 cpu, but the pool has 2" in done.stderr, f"{done}")
        done = pool.run("run", "--vram", "16G", "--", b, "run", "--vram", "20G", "--no-wait", "--", "true", timeout=10)
        check(done.returncode == 75, f"not to wait is no cycle: {done}")
        done = pool.run("run", "--cpu", "1", "--", b, "run", "--cpu", "3", "--dry-run", "--", "true", timeout=10)
        check(done.returncode == 3, f"{done}")
        pool.wait_for(held=0, waiting=0)


def test_who_has_a_deadline_closes_no_cycle():
    for late in "AB":  # it is the first that has one, or the newcomer
        with Pool(license=1, slot=1) as pool:
            word = {label: "--timeout 700ms" if label == late else "" for label in "AB"}
            a = lease(pool, "A", ["-r", "license=1"], f"GO; B run -r slot=1 {word['A']} -- true; echo $?")
            b = lease(pool, "B", ["-r", "slot=1"], f"GO; B run -r license=1 {word['B']} -- true; echo $?")
            pool.wait_for(held=2)
            go(pool, "A")
            pool.wait_for(held=2, waiting=1)
            go(pool, "B")
            wait_exit(a, 10, pool)
            wait_exit(b, 10, pool)
            ended = {"A": pool.out(a), "B": pool.out(b)}
            other = "B" if late == "A" else "A"
            check(ended[late] == "124\n" and ended[other] == "0\n", f"{late}: {ended} {pool.err(a)} {pool.err(b)}")


def test_siblings_inside_one_lease():
    with Pool(x=1, y=1) as pool:
        b = berth()
        first = f"{b} run -l first -r x=1 -- sh -c 'touch {pool.tmp}/1; until [ -e {pool.tmp}/2 ]; do sleep 0.01; done; {b} run -r y=1 -- true'"
        second = f"{b} run -l second -r y=1 -- sh -c 'touch {pool.tmp}/2; until [ -e {pool.tmp}/1 ]; do sleep 0.01; done; {b} run -r x=1 -- true'"
        both = pool.spawn("run", "-r", "x=1", "--", "sh", "-c", f"{first} & one=$!; {second} & two=$!; wait $one; a=$?; wait $two; echo $a $?")
        wait_exit(both, 10, pool)
        check(pool.out(both).split() in (["0", "3"], ["3", "0"]), f"one of the two: {pool.out(both)} {pool.err(both)}")


def test_who_waits_for_one_that_can_end_waits():
    with Pool(license=1, slot=1) as pool:
        a = lease(pool, "A", ["-r", "license=1"], "GO; B run -r slot=1 -- true")
        b = lease(pool, "B", ["-r", "slot=1"], "GO")
        pool.wait_for(held=2)
        go(pool, "A")
        seen = pool.wait_for(held=2, waiting=1)
        behind = pool.spawn("run", "-r", "license=1", "--", "true")
        wait_until(lambda: len(pool.leases("waiting")) == 2, pool=pool)
        reason = [l["reason"] for l in pool.leases("waiting") if l["pid"] == behind.pid][0]
        check("A (" in reason and "who waits for slot" in reason, f"the queue is told: {reason}")
        check("hold-and-wait" not in pool.run("status").stdout, f"{seen}")
        go(pool, "B")
        for process in (a, b, behind):
            check(wait_exit(process, 10, pool) == 0, pool.err(process))


def test_a_cycle_that_a_setting_forms_is_shown():
    with Pool(license=1, slot=2) as pool:
        other = pool.spawn("run", "-r", "slot=1", "--", "sleep", "60")
        a = lease(pool, "A", ["-r", "license=1"], "GO; B run -r slot=1 -- true")
        b = lease(pool, "B", ["-r", "slot=1"], "GO; B run -r license=1 -- true")
        pool.wait_for(held=3)
        go(pool, "A")
        pool.wait_for(held=3, waiting=1)
        go(pool, "B")
        pool.wait_for(held=3, waiting=2)  # the first may have what the sleeper gives back
        check("hold-and-wait" not in pool.run("status").stdout, "nobody is stuck")
        check(pool.run("set", "slot=1").returncode == 0, "berth set")
        other.terminate()
        wait_exit(other)
        pool.wait_for(held=2, waiting=2)
        text = pool.run("status").stdout
        check("hold-and-wait" in text and "A (" in text and "B (" in text, text)
        for process in (a, b):
            process.terminate()


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
