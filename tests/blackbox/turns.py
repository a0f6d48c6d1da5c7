"""Residency and turns: many keep their memory on one card, and one at a time computes there."""
import os
import signal

from berthtest import Pool, Witness, berth, check, job_of, kill, main, wait_exit, wait_until

CARD = "1x24G"


def resident(pool, body, *claim, label="resident", **kw):
    """A lease on the card's memory whose command is a shell script; `B` in it is the program."""
    words = claim or ("--vram", "2G")
    return pool.spawn("run", "-l", label, *words, "--", "sh", "-c", body.replace("B ", berth() + " "), **kw)


def job_words(words):
    return " ".join(words)


def turns_of(witness):
    """The turns that are over, in order of their starts: (resident, start, end) in ns."""
    ends = {(tag, pid): ns for _, tag, pid, ns in witness.log("end")}
    spans = [(tag, ns, ends[(tag, pid)]) for _, tag, pid, ns in witness.log("start") if (tag, pid) in ends]
    return sorted(spans, key=lambda span: span[1])


def test_ten_residents_take_turns_in_rotation():
    with Pool(sim_gpus=CARD) as pool:
        witness = Witness(pool)
        rounds = 5
        go = os.path.join(pool.tmp, "go")
        residents = []
        for i in range(10):
            turn = job_words(witness.job("turn:1", ms=20, tag=i))
            body = f"until [ -e {go} ]; do sleep 0.02; done; " + f"B run --turn -- {turn} && " * rounds + "true"
            residents.append(resident(pool, body, label=f"resident-{i}"))
        pool.wait_for(held=10, waiting=0)
        with open(go, "w", encoding="ascii"):
            pass
        for process in residents:
            check(wait_exit(process, 60, pool) == 0, pool.err(process))
        witness.check()
        served = [int(tag) for tag, _, _ in turns_of(witness)]
        check(len(served) == 10 * rounds, f"{served}")
        # Whoever had a turn stands behind all others. On a busy machine the next turn of one is asked for after that
        # of the one behind it, and these two change places; but nobody has two while others wait for their first.
        first = next((i for i in range(10) if len(set(served[i:i + 10])) == 10), None)
        check(first is not None, f"{served}")
        for i in range(first, first + 10 * (rounds - 2)):
            check(len(set(served[i:i + 10])) >= 8 and served[i] not in served[i + 1:i + 8], f"not in rotation at {i}: {served}")
        pool.wait_for(held=0, waiting=0)


def test_who_waits_for_the_whole_card_does_not_stop_its_residents():
    with Pool(sim_gpus=CARD) as pool:
        witness = Witness(pool)
        turn = job_words(witness.job("turn:1", ms=5, tag="t"))
        stop = os.path.join(pool.tmp, "stop")
        body = f"while [ ! -e {stop} ]; do B run --turn -- {turn}; done"
        residents = [resident(pool, body) for _ in range(2)]
        wait_until(lambda: len(turns_of(witness)) >= 4, what="turns", pool=pool)
        whole = pool.spawn("run", "--gpus", "1", "-p", "5", "--", *witness.job("turn:1", ms=5, tag="whole"))
        wait_until(lambda: any(l["pid"] == whole.pid and l["state"] == "waiting" for l in pool.leases()), pool=pool)
        seen = len(turns_of(witness))
        wait_until(lambda: len(turns_of(witness)) >= seen + 10, what="turns go on behind it", pool=pool)
        with open(stop, "w", encoding="ascii"):
            pass
        for process in residents + [whole]:
            check(wait_exit(process, 20, pool) == 0, pool.err(process))
        check(turns_of(witness)[-1][0] == "whole", f"{turns_of(witness)}")
        witness.check()


def test_turns_keep_nobody_from_memory_and_memory_nobody_from_turns():
    with Pool(sim_gpus=CARD) as pool:
        witness = Witness(pool)
        long = job_words(witness.job("turn:1", ms=-1, tag="long"))
        first = resident(pool, f"B run --turn -- {long}")
        witness.started("long")
        second = resident(pool, "B run --turn -- true")
        pool.wait_for(held=3, waiting=1)
        done = pool.run("run", "--vram", "4G", "--no-wait", "--", "true")
        check(done.returncode == 0, f"a turn that is waited for closes the card to memory: {done}")
        waits = pool.spawn("run", "--vram", "22G", "--", "true")
        pool.wait_for(held=3, waiting=2)
        third = resident(pool, "B run --turn --timeout 20 -- true", "--compute", "1", "--no-wait")
        check(wait_exit(third, 10, pool) == 75, "compute that somebody waits for is kept for him")
        kill(witness.started("long")[0], signal.SIGUSR1)
        for process in (first, second, waits):
            check(wait_exit(process, 10, pool) == 0, pool.err(process))
        witness.check()


def test_a_turn_by_hand_beside_a_resident():
    with Pool(sim_gpus=CARD) as pool:
        witness = Witness(pool)
        turn = job_words(witness.job("turn:1", ms=2, tag="in"))
        inside = resident(pool, f"for i in 1 2 3 4 5 6 7 8 9 10; do B run --turn -- {turn} || exit; done")
        # In the lease by its claim's words, and outside of any lease.
        words = resident(pool, f"for i in 1 2 3 4 5; do B run --compute 100 -- {turn} || exit; done", "--vram", "4G")
        by_hand = [pool.spawn("run", "--compute", "100", "--only", "0", "--", *witness.job("turn:1", ms=2, tag="out"))
                   for _ in range(10)]
        for process in [inside, words, *by_hand]:
            check(wait_exit(process, 20, pool) == 0, pool.err(process))
        check(len(turns_of(witness)) == 25, f"{turns_of(witness)}")
        witness.check()


def test_siblings_inside_a_whole_card_take_turns():
    with Pool(sim_gpus=CARD) as pool:
        witness = Witness(pool)
        turn = job_words(witness.job("turn:1", ms=5, tag="s"))
        b = berth()
        body = (f"for i in 1 2 3 4; do {b} run --turn -- {turn} & done; "
                f"for i in 1 2 3 4; do {b} run --vram 2G -- {b} run --turn -- {turn} & done; wait")
        done = pool.run("run", "--gpus", "1", "--", "sh", "-c", body)
        check(done.returncode == 0, f"{done}")
        check(len(turns_of(witness)) == 8, f"{turns_of(witness)}")
        witness.check()


def test_a_turn_within_a_turn_is_had_already():
    with Pool(sim_gpus=CARD) as pool:
        b = berth()
        done = pool.run("run", "--vram", "2G", "--", b, "run", "--turn", "--", b, "run", "--turn", "--no-wait", "--", "echo", "in")
        check((done.returncode, done.stdout) == (0, "in\n"), f"{done}")


def test_the_cards_stay_as_the_lease_has_them():
    with Pool(sim_gpus="2x24G") as pool:
        show = "echo $CUDA_VISIBLE_DEVICES $BERTH_DEVICES"
        body = f"{show}; B run --turn -- sh -c '{show}; echo $BERTH_ID'; echo $BERTH_ID"
        done = pool.run("run", "--only", "1", "--vram", "2G", "--", "sh", "-c", body.replace("B ", berth() + " "))
        lease, turn, turn_id, lease_id = done.stdout.splitlines()
        check(lease == turn and lease.startswith("1 SIM-"), f"{done}")
        check(turn_id != lease_id, f"{done}")
        two = pool.run("run", "--gpus", "2", "--vram", "2G", "--", berth(), "run", "--turn", "--", berth(), "status", "--json")
        check('"compute_held":100' in two.stdout.replace(" ", "") and '"compute_held":0' not in two.stdout.replace(" ", ""),
              f"a turn is on all cards of the lease: {two}")


def test_outside_of_a_lease_it_is_a_wrong_call():
    with Pool(sim_gpus=CARD) as pool:
        for words in (["run", "--turn", "--", "true"], ["run", "--cpu", "1", "--", berth(), "run", "--turn", "--", "true"]):
            done = pool.run(*words)
            check(done.returncode == 2 and done.stderr.count("\n") == 1 and "--vram" in done.stderr, f"{done}")
        for more in ("--gpus", "--vram", "--compute", "--only"):
            done = pool.run("run", "--vram", "2G", "--", berth(), "run", "--turn", more, "1", "--", "true")
            check(done.returncode == 2 and more in done.stderr, f"{done}")


def test_turns_are_not_written_down():
    with Pool(sim_gpus=CARD) as pool:
        done = pool.run("run", "-l", "server", "--vram", "2G", "--", "sh", "-c",
                        "for i in 1 2 3; do B run --turn -- true; done".replace("B ", berth() + " "))
        check(done.returncode == 0, f"{done}")
        text = pool.run("history").stdout
        check("server" in text and "compute" not in text, text)


def test_who_is_killed_in_its_turn_leaves_it_to_the_next():
    with Pool(sim_gpus=CARD) as pool:
        witness = Witness(pool)
        long = job_words(witness.job("turn:1", ms=-1, tag="killed"))
        short = job_words(witness.job("turn:1", ms=1, tag="next"))
        first = resident(pool, f"B run --turn -- {long}; sleep 30")
        pid, _ = witness.started("killed")
        second = resident(pool, f"B run --turn -- {short}")
        pool.wait_for(held=3, waiting=1)
        kill(pid, signal.SIGKILL)
        check(wait_exit(second, 10, pool) == 0, pool.err(second))
        first.terminate()
        witness.check()


def test_turns_over_a_pipe():
    with Pool(sim_gpus=CARD) as pool:
        # In the lease: two of them, spoken to by the script's own hands.
        script = r"""
import subprocess, sys
b = %r
def line(*more):
    return subprocess.Popen([b, "run", "--turn", *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
one, two, never = line(), line(), line("--no-wait")
def say(p, word):
    p.stdin.write(word + "\n"); p.stdin.flush()
for p in (one, two, one, two):
    say(p, "take")
    assert p.stdout.readline() == "took\n"
    say(never, "take")
    assert never.stdout.readline() == "busy\n"
    say(p, "give")
say(one, "take"); assert one.stdout.readline() == "took\n"
say(two, "take")
one.kill()                       # its turn is over with it
assert two.stdout.readline() == "took\n"
two.stdin.close()                # and the end of the input gives back
assert two.wait() == 0
say(never, "take"); assert never.stdout.readline() == "took\n"
say(never, "take"); assert never.wait() == 2
print("well")
""" % berth()
        path = os.path.join(pool.tmp, "server.py")
        with open(path, "w", encoding="ascii") as f:
            f.write(script)
        done = pool.run("run", "--vram", "2G", "--", "python3", path)
        check(done.stdout == "well\n" and done.returncode == 0, f"{done}")
        check(pool.run("run", "--turn").returncode == 2, "outside of a lease")
        pool.wait_for(held=0, waiting=0)


LINE = r"""
import subprocess, sys
def line():
    return subprocess.Popen([%r, "run", "--turn"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
def say(p, word):
    p.stdin.write(word + "\n"); p.stdin.flush()
"""


def server(pool, body, *claim, **kw):
    """A resident whose command is a script that may speak to lines for turns."""
    return pool.spawn("run", *(claim or ("--vram", "2G")), "--", "python3", "-c", LINE % berth() + body, **kw)


def test_a_server_that_dies_while_its_line_waits_keeps_nothing():
    with Pool(sim_gpus=CARD) as pool:
        witness = Witness(pool)
        busy = resident(pool, f"B run --turn -- {job_words(witness.job('turn:1', ms=-1, tag='long'))}")
        pid, _ = witness.started("long")
        for words in ("take", "take\\ngive"):  # what is there to be read changes nothing
            dies = server(pool, f"one = line(); say(one, '{words}'); one.wait()")
            pool.wait_for(held=3, waiting=1)
            kill(job_of(dies), signal.SIGKILL)
            wait_exit(dies, 5, pool)
            pool.wait_for(held=2, waiting=0)
        kill(pid, signal.SIGUSR1)
        check(wait_exit(busy, 5, pool) == 0, pool.err(busy))


def test_a_turn_over_a_pipe_that_somebody_releases():
    with Pool(sim_gpus=CARD) as pool:
        one = server(pool, "one = line(); say(one, 'take'); print(one.stdout.readline() + one.stdout.readline() + str(one.wait()))")
        pool.wait_for(held=2, waiting=0)
        two = server(pool, "two = line(); say(two, 'take'); print(two.stdout.readline() + str(two.wait()))")
        pool.wait_for(held=3, waiting=1)

        def release(state):
            turn = [l["id"] for l in pool.leases(state) if l["claim"]["vram"] == 0]
            check(len(turn) == 1, f"{pool.leases()}")
            check(pool.run("release", turn[0]).returncode == 0, "release")

        release("waiting")
        check(wait_exit(two, 5, pool) == 0 and pool.out(two) == "76\n", f"{pool.out(two)} {pool.err(two)}")
        three = server(pool, "three = line(); say(three, 'take'); print(three.stdout.readline())")
        pool.wait_for(held=3, waiting=1)
        release("held")
        check(wait_exit(one, 5, pool) == 0 and pool.out(one) == "took\n76\n", f"{pool.out(one)} {pool.err(one)}")
        check("released" in pool.err(one), pool.err(one))
        check(wait_exit(three, 5, pool) == 0 and pool.out(three) == "took\n\n", f"{pool.out(three)} {pool.err(three)}")
        pool.wait_for(held=0, waiting=0)


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
