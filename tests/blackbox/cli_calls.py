"""What a call may look like: numbers beyond any machine, options said twice, empty values, leases of others."""
import json
import os
import subprocess

from berthtest import Pool, berth, check, main, wait_until

NOBODY = 65534


def exits(done, code, *words):
    check(done.returncode == code, f"exit {done.returncode}, not {code}: {done}")
    for word in words:
        check(word in done.stderr, f"no word of {word!r}: {done.stderr!r}")


def ids(pool):
    return [lease["id"] for lease in json.loads(pool.run("status", "--json").stdout)["leases"]]


def holder(pool, *options):
    """A lease that stands until the pool is gone, and its id."""
    before = set(ids(pool))
    pool.spawn("run", *options, "--", "sleep", "300")
    wait_until(lambda: set(ids(pool)) - before, what="the holder", pool=pool)
    return (set(ids(pool)) - before).pop()


def test_more_gpus_than_any_machine_has_can_never_be_met():
    with Pool(sim_gpus="2x24G") as pool:
        for count in (3, 64, 65, 1000):
            says = f"it asks for {count} GPUs, but there are 2"
            exits(pool.run("run", "-g", count, "true"), 3, says)
            exits(pool.run("run", "-g", count, "--vram", "1G", "--no-wait", "true"), 3, says)
            exits(pool.run("run", "-g", count, "--dry-run"), 3, says)
            done = pool.run("hold", "--for", os.getpid(), "-g", count, "--print", "env")
            exits(done, 3, says)
            check(done.stdout == "(exit 3)\n", f"{done}")
        exits(pool.run("run", "-g", "9" * 18, "true"), 3, "but there are 2")
        lease = holder(pool, "-g", 1)
        for count in (3, 65):
            exits(pool.run("resize", lease, "-g", count), 3)
        for wrong in ("0", "-1", "x", "", "1.5"):
            exits(pool.run("run", "-g", wrong, "true"), 2)


def test_a_priority_beyond_all_is_lowered():
    with Pool(slot=1) as pool:
        show = ("-r", "slot=1", "--", berth(), "status", "--json")

        def priority(given, **kw):
            done = pool.run("run", "-p", given, *show, **kw)
            check(done.returncode == 0 and done.stderr == "", f"-p {given}: {done}")
            return json.loads(done.stdout)["leases"][0]["priority"]

        if os.geteuid() == 0:
            check(priority(50) == 50, "root's is not lowered")
            for given in (50, 2147483648, 10**18):
                check(priority(given, user=NOBODY, group=NOBODY, extra_groups=[]) == 10, f"-p {given}")
        check(priority(10**18) >= 10 and priority(-10**18) < -10, "beyond all")
        for wrong in ("1x", "", "--", "1.5"):
            exits(pool.run("run", f"--priority={wrong}", *show), 2, "is not a whole number")


def test_lists_that_are_said_twice_are_both_meant():
    with Pool(sim_gpus="3x24G") as pool:
        def where(*options):
            return pool.run("run", *options, "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES").stdout.strip()

        check(where("--exclude", "0", "--exclude", "1") == "2", "--exclude twice")
        check(where("--only", "2", "--only", "1", "-g", "2") == "1,2", "--only twice")
        check(where("--only", " 2, 1 ", "-g", "2") == "1,2", "blanks in a list")
        check(where("--exclude", "") == "0", "an empty list excludes none")
        exits(pool.run("run", "--exclude", "0", "--exclude=1,2", "true"), 3, "--exclude 0,1,2 leaves none")
        for nothing in ("", ",", " "):
            exits(pool.run("run", "--only", nothing, "true"), 2, "--only names no device")


def test_an_empty_value_is_seen_in_what_is_said():
    with Pool(sim_gpus="1x24G") as pool:
        for option in ("--gpus", "--vram", "--cpu", "--timeout", "--expect", "--priority", "--compute", "--nice", "--until"):
            for words in ((option, ""), (f"{option}=",)):
                exits(pool.run("run", *words, "true"), 2, f'{option} "" ')


def test_a_short_wait_is_told_as_it_was_said():
    with Pool(slot=1) as pool:
        holder(pool, "-r", "slot=1")
        exits(pool.run("run", "-r", "slot=1", "--timeout", "30ms", "true"), 124, "gave up after 30 ms")
        exits(pool.run("run", "-r", "slot=1", "--timeout", "30ms", "--on-timeout", "run", "true"), 0, "no place after 30 ms")


def test_release_without_an_id_is_of_the_lease_that_one_is_in():
    with Pool(slot=1) as pool:
        exits(pool.run("release"), 1, "in no lease")
        script = '"$0" release "$EMPTY"; echo $?; "$0" release --label "$EMPTY"; echo $?; "$0" release -l "$EMPTY"; echo $?;' \
                 '"$0" status --short; "$0" release; echo $?; "$0" release; echo $?'
        done = pool.run("run", "-r", "slot=1", "--", "sh", "-c", script, berth())
        lines = done.stdout.split("\n")
        check(lines[:3] == ["2", "2", "2"], f"an empty word is no wish to end this lease: {done}")
        check(lines[3].startswith("1 held"), f"{done}")
        check(lines[4:6] == ["0", "1"], f"{done}")


def test_what_belongs_to_others_is_theirs_by_name():
    if os.geteuid() != 0:
        return "not root"
    with Pool(slot=3) as pool:
        lease = holder(pool, "-r", "slot=1", "-l", "roots")
        stranger = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for words in (("release", lease), ("release", lease[:4]), ("release", "-l", "roots"), ("release", "-lroots"),
                      ("release", "--label=roots"), ("reclaim", lease), ("resize", lease, "-r", "slot=2")):
            exits(pool.run(*words, **stranger), 77, "belongs to root")
        exits(pool.run("set", "slot=9", **stranger), 77, "belong to root\n")
        exits(pool.run("release", "-l", "nobody's", **stranger), 1)
        check(ids(pool) == [lease], "it is gone all the same")
        exits(pool.run("release", "-lroots"), 0)
        check(ids(pool) == [], "root may")
    return None


def test_short_options_take_their_value_with_or_without_a_blank():
    with Pool(slot=1) as pool:
        for label in "abc":
            exits(pool.run("run", "-rslot=1", f"-l{label}", "--", "true"), 0)
        def labels(*words):
            done = pool.run("history", "--json", *words)
            check(done.returncode == 0, f"{words}: {done}")
            return [job["label"] for job in json.loads(done.stdout)["jobs"]]

        check(labels("-n2") == labels("-n", "2") == labels("--limit=2") == ["b", "c"], f"{labels('-n2')}")
        check(labels("-lb") == labels("-l", "b") == labels("--label=b") == ["b"], f"{labels('-lb')}")
        check(labels(f"-u{os.geteuid()}") == ["a", "b", "c"], "-u")
        exits(pool.run("history", "-nx"), 2, "--limit x")


def test_status_tells_a_claim_of_compute():
    with Pool(sim_gpus="1x24G") as pool:
        def claim(*options):
            done = pool.run("run", *options, "--", berth(), "status", "--json")
            return json.loads(done.stdout)["leases"][0]["claim"]

        check(claim("--compute", "30")["compute"] == 30, "30")
        check("compute" not in claim("--vram", "1G") and "compute" not in claim(), "none")


def test_more_than_the_pool_has_in_all_is_said_of_a_claim_inside():
    with Pool(slot=2) as pool:
        for inside in (3, 9):
            done = pool.run("run", "-r", "slot=1", "--", berth(), "run", "-r", f"slot={inside}", "true")
            exits(done, 3, f"it asks for {inside} slot, but the pool has 2")


def test_no_limit_is_a_limit_of_0():
    with Pool(slot=1) as pool:
        exits(pool.run("run", "-r", "slot=1", "--limit", "0", "--", "sleep", "0.05"), 0)
        exits(pool.run("run", "-r", "slot=1", "--limit", "1ms", "--limit=0s", "--", "sleep", "0.05"), 0)
        exits(pool.run("run", "-r", "slot=1", "--limit", "1ms", "--", "sleep", "9"), 143, "--limit")


def test_why_a_command_cannot_be_started():
    with Pool(slot=1) as pool:
        script = os.path.join(pool.tmp, "script")
        with open(script, "w", encoding="ascii") as f:
            f.write("#!/no/such/shell\n")
        os.chmod(script, 0o755)
        for how in (["run", "-r", "slot=1"], ["run", "-r", "slot=1", "--exec"], ["busy"]):
            exits(pool.run(*how, "--", script), 127, f"{script}: ", "first line (#!)")
            exits(pool.run(*how, "--", f"{script}2"), 127, f"{script}2: command not found")
            exits(pool.run(*how, "--", "no-such-command"), 127, "no-such-command: command not found")
            exits(pool.run(*how, "--", ""), 127, '"": command not found')
            exits(pool.run(*how, "--", pool.tmp), 126, f"{pool.tmp}: Permission denied")


def test_politeness_that_is_not_allowed_is_said():
    with Pool(slot=1) as pool:
        call = ("run", "-r", "slot=1", "--nice")
        now = os.getpriority(os.PRIO_PROCESS, 0)
        check(pool.run(*call, "3", "nice").stdout == f"{now + 3}\n", "3 more")
        if os.geteuid() == 0:
            check(pool.run(*call, "-3", "nice").stdout == f"{now - 3}\n", "root may")
            done = pool.run(*call, "-3", "nice", user=NOBODY, group=NOBODY, extra_groups=[])
            exits(done, 0, "--nice -3 is not heeded: Permission denied")
            check(done.stdout == f"{now}\n", f"it runs all the same: {done}")


def test_a_pool_mounted_read_only_is_named_so():
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        return "no mount namespace to be had"
    with Pool(slot=1) as pool:
        mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'

        def there(*words):
            return subprocess.run(["unshare", "-m", "sh", "-c", mount, "sh", pool.path, berth(), *words], env=pool.env,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30)

        exits(there("status"), 0)
        exits(there("run", "-r", "slot=1", "true"), 125, "Read-only file system", "without :ro")
        done = there("doctor")
        check(done.returncode == 1 and "mounted read-only" in done.stdout and "chmod" not in done.stdout, f"{done}")
    return None


if __name__ == "__main__":
    main([test_more_gpus_than_any_machine_has_can_never_be_met, test_a_priority_beyond_all_is_lowered,
          test_lists_that_are_said_twice_are_both_meant, test_an_empty_value_is_seen_in_what_is_said,
          test_a_short_wait_is_told_as_it_was_said, test_release_without_an_id_is_of_the_lease_that_one_is_in,
          test_what_belongs_to_others_is_theirs_by_name, test_short_options_take_their_value_with_or_without_a_blank,
          test_status_tells_a_claim_of_compute, test_more_than_the_pool_has_in_all_is_said_of_a_claim_inside,
          test_no_limit_is_a_limit_of_0, test_why_a_command_cannot_be_started, test_politeness_that_is_not_allowed_is_said,
          test_a_pool_mounted_read_only_is_named_so])
