"""Resize: a lease shrinks at once and wakes who fits; it grows in turn, or not at all."""
import os
import pty
import select
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, check, main, wait_exit, wait_until  # noqa: E402


def held(pool, *claim, label="server"):
    process = pool.spawn("run", "--label", label, *claim, "--", "sleep", "600")
    wait_until(lambda: [x for x in pool.leases("held") if x["label"] == label], what=label, pool=pool)
    return process, [x for x in pool.leases("held") if x["label"] == label][0]["id"]


def claim_of(pool, lease):
    return [x for x in pool.leases() if x["id"] == lease][0]


def resize(pool, lease, *claim):
    done = pool.run("resize", lease, *claim)
    return done.returncode, done.stderr


def test_it_shrinks_at_once_and_wakes_who_fits():
    with Pool(slot=4) as pool:
        _, lease = held(pool, "-r", "slot=4")
        waiter = pool.spawn("run", "-r", "slot=2", "--", "true")
        pool.wait_for(waiting=1)
        check(resize(pool, lease, "-r", "slot=3")[0] == 0, "3")
        check(waiter.poll() is None and len(pool.leases("waiting")) == 1, "woken too soon")
        check(resize(pool, lease, "-r", "slot=2")[0] == 0, "2")
        check(wait_exit(waiter, timeout=1.5, pool=pool) == 0, "the waiter")  # its safety tick is 2 s
        check(claim_of(pool, lease)["claim"]["resources"] == {"slot": 2}, pool.leases())


def test_it_grows_where_there_is_room():
    with Pool(slot=4, ram="8G") as pool:
        _, lease = held(pool, "-r", "slot=1")
        check(resize(pool, lease, "-r", "slot=4")[0] == 0, "4")
        check(pool.run("run", "-r", "slot=1", "--no-wait", "--", "true").returncode == 75, "over-granted")
        code, said = resize(pool, lease, "-r", "slot=5")
        check(code == 3 and "there are 4 slot, and it would have" in said, said)
        check(resize(pool, lease, "--ram", "1G")[0] == 0, "a counter that it did not have")
        check(claim_of(pool, lease)["claim"]["resources"] == {"slot": 4, "ram": 1 << 30}, pool.leases())


def test_it_does_not_grow_past_those_who_wait():
    with Pool(slot=4) as pool:
        _, lease = held(pool, "-r", "slot=2")
        waiter = pool.spawn("run", "-r", "slot=3", "--", "sleep", "600")
        pool.wait_for(waiting=1)
        code, said = resize(pool, lease, "-r", "slot=3")
        check(code == 75 and "nothing has changed" in said, said)
        check(claim_of(pool, lease)["claim"]["resources"] == {"slot": 2}, pool.leases())
        waiter.terminate()
        wait_exit(waiter, pool=pool)
        check(resize(pool, lease, "-r", "slot=3")[0] == 0, "with nobody in line")


def test_shares_of_a_card():
    with Pool(sim_gpus="2x24G") as pool:
        _, lease = held(pool, "--vram", "14G", "--only", "0")
        _, whole = held(pool, "--gpus", "1", label="whole")
        other = pool.spawn("run", "--vram", "16G", "--", "true")
        pool.wait_for(waiting=1)
        check(resize(pool, lease, "--vram", "8G")[0] == 0, "less")
        check(wait_exit(other, timeout=1.5, pool=pool) == 0, "the waiter")
        check(resize(pool, lease, "--vram", "24G")[0] == 0, "more")
        check(resize(pool, lease, "--vram", "25G")[0] == 3, "more than the card has")
        check(resize(pool, whole, "--vram", "4G")[0] == 0, "a share of a whole card")
        check(pool.run("run", "--vram", "20G", "--no-wait", "--", "true").returncode == 0, "beside it")
        device = claim_of(pool, whole)["granted"]["devices"]
        check([(d["index"], d["vram"]) for d in device] == [(1, 4 << 30)], device)


def test_more_of_its_own_card_is_no_further_card_to_a_quota():
    with Pool(sim_gpus="2x24G") as pool:
        check(pool.run("set", "policy.max.gpus_per_user=1").returncode == 0, "set")
        _, lease = held(pool, "--vram", "8G")
        check(resize(pool, lease, "--vram", "12G") == (0, ""), "a share")
        check(resize(pool, lease, "--compute", "50") == (0, ""), "its compute")
        check(resize(pool, lease, "--gpus", "2")[0] == 3, "a second card")
        check(pool.run("set", "policy.max.gpus_per_user=2").returncode == 0, "set")
        held(pool, "--vram", "4G", label="other")
        pool.spawn("run", "--vram", "4G", "--", "true")
        pool.wait_for(held=2, waiting=1)
        check(resize(pool, lease, "--vram", "16G") == (0, ""), "past one of its user's that is over quota")
        check(resize(pool, lease, "--gpus", "2")[0] == 75, "a third card of two")


def test_fewer_cards_and_more():
    with Pool(sim_gpus="3x24G") as pool:
        _, lease = held(pool, "--gpus", "2")
        check(resize(pool, lease, "--gpus", "1")[0] == 0, "fewer")
        _, other = held(pool, "--gpus", "2", label="other")
        check(resize(pool, lease, "--gpus", "2")[0] == 75, "they are taken")
        check(pool.run("release", other).returncode == 0, "release")
        check(resize(pool, lease, "--gpus", "3")[0] == 0, "more")
        check(len(claim_of(pool, lease)["granted"]["devices"]) == 3, pool.leases())


def berth():
    return os.path.abspath(os.environ.get("BERTH", "build/berth"))


def inside(pool, outer, *inner):
    """A lease with others inside of it, each of which runs until the end; the outer one's id."""
    script = " ".join(f'{berth()} run {words} -- sleep 600 &' for words in inner) + " wait"
    process = pool.spawn("run", *outer, "--label", "server", "--", "sh", "-c", script)
    wait_until(lambda: len(pool.leases()) == 1 + len(inner), what="the leases inside", pool=pool)
    return process, [x["id"] for x in pool.leases("held") if x["label"] == "server"][0]


def test_what_is_held_inside_is_not_taken_away():
    with Pool(slot=4) as pool:
        process, lease = inside(pool, ("-r", "slot=4"), "-r slot=3")
        code, said = resize(pool, lease, "-r", "slot=2")
        check(code == 2 and "3 slot" in said, said)
        check(resize(pool, lease, "-r", "slot=3")[0] == 0, "what is left over")
        process.terminate()
        wait_exit(process, pool=pool)


def test_cards_that_are_used_inside_are_not_taken_away():
    for outer, inner, less in (("--gpus 1", "--gpus 1", ("--vram", "1G")), ("--gpus 1", "--compute 100", ("--compute", "50")),
                               ("--gpus 2", "--gpus 2", ("--gpus", "1")), ("--vram 8G", "--vram 6G", ("--vram", "4G"))):
        with Pool(sim_gpus="2x24G") as pool:
            _, lease = inside(pool, outer.split(), inner)
            code, said = resize(pool, lease, *less)
            check(code == 2 and "inside of it" in said, (outer, inner, less, code, said))


def test_those_who_wait_inside_have_no_more_than_is_left():
    with Pool(sim_gpus="1x24G") as pool:
        _, lease = inside(pool, ("--vram", "8G"), "--vram 4G", "--vram 6G")
        pool.wait_for(held=2, waiting=1)
        code, said = resize(pool, lease, "--vram", "4G")
        check(code == 2 and "of it" in said, said)  # the larger one has its place inside, or waits for it
        check(resize(pool, lease, "--vram", "7G")[0] == 0, "it fits by itself")
    with Pool(license=8) as pool:
        _, lease = inside(pool, ("-r", "license=2"), *(["-r license=2"] * 4))
        check(resize(pool, lease, "-r", "license=8")[0] == 0, "more")
        wait_until(lambda: len(pool.leases("held")) == 5, 1.4, "all inside at once, before any tick", pool)


def test_more_and_less_of_a_whole_card_leaves_the_rest():
    with Pool(sim_gpus="1x24G") as pool:
        _, lease = held(pool, "--gpus", "1")
        check(resize(pool, lease, "--compute", "50")[0] == 0, "half of its compute")
        check(pool.run("run", "--vram", "1G", "--no-wait", "--", "true").returncode == 75, "its memory was given away")
        check(pool.run("run", "--compute", "50", "--no-wait", "--", "true").returncode == 0, "the other half")


def test_the_place_is_free_at_the_end_and_the_rest_is_said():
    with Pool(slot=4) as pool:
        process, lease = held(pool, "-r", "slot=2")
        check(resize(pool, lease, "-r", "slot=3")[0] == 0, "3")
        process.terminate()
        wait_exit(process, pool=pool)
        wait_until(lambda: not pool.leases(), what="no lease")
        check(not [e for e in pool.entries() if e.startswith("h1")], pool.entries())
        check(resize(pool, lease, "-r", "slot=1")[0] == 1, "no such lease")
        for words in ((), (lease,), (lease, "--label", "x"), ("-r", "slot=1")):
            check(pool.run("resize", *words).returncode == 2, words)


def hold(pool, ttl):
    done = pool.run("hold", "-r", "slot=1", "--for", str(os.getpid()), "--ttl", ttl)
    check(done.returncode == 0, done.stderr)
    return done.stdout.strip()


def test_the_end_of_a_hold_can_be_moved():
    with Pool(slot=2) as pool:
        lease = hold(pool, "1h")
        check(3590 < claim_of(pool, lease)["remaining_s"] <= 3600, pool.leases())
        check(resize(pool, lease, "--ttl", "2h")[0] == 0, "later")
        check(7190 < claim_of(pool, lease)["remaining_s"] <= 7201, pool.leases())
        check(resize(pool, lease, "--ttl", "1s")[0] == 0, "sooner")
        wait_until(lambda: not pool.leases(), what="its end", pool=pool)
        _, job = held(pool, "-r", "slot=1")
        code, said = resize(pool, job, "--ttl", "1h")
        check(code == 2 and "no --ttl" in said, said)


def test_a_hold_says_a_word_on_its_terminal_before_the_end():
    with Pool(slot=1) as pool:
        master, terminal = pty.openpty()
        try:
            done = pool.run("hold", "-r", "slot=1", "--for", str(os.getpid()), "--ttl", "6s", stderr=terminal)
            lease = done.stdout.strip()
            said = b""
            while b"ends in" not in said:
                ready, _, _ = select.select([master], [], [], 5)
                check(ready, f"no word: {said!r}")
                said += os.read(master, 4096)
            check(f"the lease {lease} ends in 5 s; berth resize {lease} --ttl DUR".encode() in said, said)
            check(pool.leases("held"), "it ended at once")
        finally:
            os.close(master)
            os.close(terminal)


if __name__ == "__main__":
    main([test_the_end_of_a_hold_can_be_moved, test_a_hold_says_a_word_on_its_terminal_before_the_end,
          test_it_shrinks_at_once_and_wakes_who_fits, test_it_grows_where_there_is_room,
          test_it_does_not_grow_past_those_who_wait, test_shares_of_a_card,
          test_more_of_its_own_card_is_no_further_card_to_a_quota, test_fewer_cards_and_more,
          test_what_is_held_inside_is_not_taken_away, test_cards_that_are_used_inside_are_not_taken_away,
          test_those_who_wait_inside_have_no_more_than_is_left, test_more_and_less_of_a_whole_card_leaves_the_rest,
          test_the_place_is_free_at_the_end_and_the_rest_is_said])
