"""Every argument of CMD arrives as it was given, whatever it looks like."""
import json
import os
import random
import stat

from berthtest import Pool, check, main, seed

AWKWARD = ["--", "-", "[a,b]", "a b", "a\nb", "", " ", "\t", "--vram", "--vram=8G", "-g", "-g1", "--no-wait", "--timeout", "--help",
           "-h", "-p", "--label=x", "'", '"', "\\", "$HOME", "`id`", "$(id)", "*", "?", "~", "a;b", "a|b", "a&b", "#", "!", "%s", "ä€😀",
           "--cpu", "-r", "x" * 5000, "=", "a=b", "{}", "--exec", "\x1b[31m", "\x7f"]
RAW = b"\xff\xfe not UTF-8"

SHOW = """#!/bin/sh
# Its own arguments, each ended by a NUL.
for word; do printf '%s\\0' "$word"; done
"""


class Show:
    """A script that prints its arguments, and the claims before it."""

    def __init__(self, pool):
        self.pool = pool
        self.path = os.path.join(pool.tmp, "show args")
        with open(self.path, "w", encoding="ascii") as f:
            f.write(SHOW)
        os.chmod(self.path, stat.S_IRWXU)

    def passed(self, before, args):
        """Runs it with these arguments: they arrive, and nothing else."""
        done = self.pool.run("run", *before, self.path, *args)
        shown = " ".join(["berth run", *before, "SHOW", *(repr(a[:20]) for a in args)])
        check(done.returncode == 0, f"{shown}: exit {done.returncode}: {done.stderr!r}")
        got = done.stdout.split("\0")[:-1]
        check(got == list(args), f"{shown}: arrived as {got!r}")
        check(done.stderr == "", f"{shown}: said {done.stderr!r}")


def test_each_awkward_argument():
    with Pool(slot=1) as pool:
        show = Show(pool)
        for word in AWKWARD:
            show.passed(["-r", "slot=1", "--"], [word])
            show.passed(["-r", "slot=1"], [word])
            show.passed(["--resource=slot=1", "--label", "x", "--"], [word, "--", word])
    return f"{len(AWKWARD)} arguments"


def test_many_at_once():
    rng = random.Random(seed())
    with Pool(slot=1) as pool:
        show = Show(pool)
        show.passed(["-r", "slot=1"], AWKWARD)
        show.passed(["-r", "slot=1", "--"], AWKWARD)
        show.passed(["-r", "slot=1", "--"], [])
        for _ in range(20):
            show.passed(["-r", "slot=1"] + rng.choice([[], ["--"]]), [rng.choice(AWKWARD) for _ in range(rng.randrange(30))])
        show.passed(["-r", "slot=1"], [str(i) for i in range(3000)])


def test_bytes_that_are_no_text():
    with Pool(slot=1) as pool:
        show = Show(pool)
        done = pool.run("run", "-r", "slot=1", show.path, os.fsdecode(RAW), text=False)
        check(done.returncode == 0 and done.stdout == RAW + b"\0", f"exit {done.returncode}: {done.stdout!r} {done.stderr!r}")


def test_only_the_first_dashes_are_ours():
    with Pool(slot=1) as pool:
        show = Show(pool)
        show.passed(["-r", "slot=1", "--"], ["--", "--", "x"])
        show.passed(["-r", "slot=1"], ["--", "x"])
        # After "--" even a word that looks like an option is CMD.
        done = pool.run("run", "-r", "slot=1", "--", "--version")
        check(done.returncode == 127 and "--version" in done.stderr, f"-- --version: exit {done.returncode}: {done.stderr!r}")
        done = pool.run("run", "-r", "slot=1", "--", "--", "x")
        check(done.returncode == 127, f"-- -- x: exit {done.returncode}: {done.stderr!r}")


def test_options_after_the_command_are_its_own():
    with Pool(slot=1, sim_gpus="2x24G") as pool:
        show = Show(pool)
        show.passed(["-r", "slot=1"], ["--no-wait", "--vram", "9999G", "-g", "64", "-r", "slot=99", "--exec"])
        holder = pool.spawn("run", "-r", "slot=1", show.path, "--timeout", "1ms", "--label", "not mine")
        check(holder.wait(10) == 0, f"exit {holder.returncode}: {pool.err(holder)!r}")
        check(pool.out(holder).split("\0")[:-1] == ["--timeout", "1ms", "--label", "not mine"], "arrived otherwise")


def test_empty_and_missing_commands():
    with Pool(slot=1) as pool:
        for words, status in ((["-r", "slot=1"], 2), (["-r", "slot=1", "--"], 2), (["-r", "slot=1", "--", ""], 127), (["-r", "slot=1", ""], 127)):
            done = pool.run("run", *words)
            check(done.returncode == status, f"berth run {words}: exit {done.returncode} instead of {status}: {done.stderr!r}")
            check(done.stderr.startswith("berth: ") and done.stderr.count("\n") == 1, f"berth run {words}: {done.stderr!r}")


def test_status_shows_awkward_commands_safely():
    """What is shown of a command drives no terminal and breaks no JSON."""
    with Pool(slot=1) as pool:
        show = os.path.join(pool.tmp, "wait")
        with open(show, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\nexec sleep 1000\n")
        os.chmod(show, stat.S_IRWXU)
        pool.spawn("run", "-r", "slot=1", "--label", os.fsdecode(b"a\nb\x1b[2J\xff"), "--", show, *AWKWARD, os.fsdecode(RAW))
        pool.wait_for(held=1)
        raw = pool.run("status", "--json", text=False).stdout
        check(raw.count(b"\n") == 1 and all(c >= 0x20 for c in raw[:-1]), f"control characters: {raw!r}")
        lease = json.loads(raw.decode("utf-8", "strict"))["leases"][0]
        check(lease["label"].startswith("a\\nb"), f"label {lease['label']!r}")
        table = pool.run("status", text=False).stdout
        check(all(c >= 0x20 or c == 0x0a for c in table), f"control characters: {table!r}")
        check(sum(b"held" in line for line in table.splitlines()) == 1, "one lease takes more than one row")


main([test_each_awkward_argument, test_many_at_once, test_bytes_that_are_no_text, test_only_the_first_dashes_are_ours,
      test_options_after_the_command_are_its_own, test_empty_and_missing_commands, test_status_shows_awkward_commands_safely])
