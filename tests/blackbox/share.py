"""What one user may have, and who goes first, as the pool's policy says."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import Pool, berth, check, main, wait_exit, wait_until  # noqa: E402
from faultkit import as_user, public_berth  # noqa: E402


def spawn(pool, claim, *command, user=None):
    more = {"executable": public_berth(), **as_user(user)} if user else {}
    return pool.spawn("run", *claim, "--", *command, **more)


def state(pool, process):
    lease = pool.lease_of(process)
    return lease and lease["state"]


def sits(pool, process):
    wait_until(lambda: state(pool, process) == "held", 5, "it to sit", pool)
    return process


def stands(pool, process):
    wait_until(lambda: state(pool, process) == "waiting", 5, "it to wait", pool)
    return process


def test_a_user_has_no_more_than_the_quota():
    with Pool(sim_gpus="4x8G") as pool:
        check(pool.run("set", "policy.max.gpus_per_user=2").returncode == 0, "set")
        first = sits(pool, spawn(pool, ["--gpus", "1"], "sleep", "30"))
        sits(pool, spawn(pool, ["--vram", "1G"], "sleep", "30"))
        third = stands(pool, spawn(pool, ["--gpus", "1"], "true"))
        fourth = stands(pool, spawn(pool, ["--gpus", "1"], "true"))
        reason = pool.lease_of(third)["reason"]
        check(reason == "held back by policy.max.gpus_per_user=2", reason)
        other = sits(pool, spawn(pool, ["--cpu", "1"], "sleep", "30"))
        refused = pool.run("run", "--no-wait", "--gpus", "1", "--", "true")
        check(refused.returncode == 75 and json.loads(refused.stderr)["reason"] == reason, f"{refused}")
        first.terminate()
        check(wait_exit(third, 5, pool) == 0 and wait_exit(fourth, 5, pool) == 0, "both run when one has gone")
        check(state(pool, other) == "held", "others are not concerned")


def test_a_claim_above_it_is_refused():
    with Pool(sim_gpus="4x8G", license=5) as pool:
        check(pool.run("set", "policy.max.gpus_per_user=2", "policy.max.license_per_user=3").returncode == 0, "set")
        got = pool.run("run", "--gpus", "3", "--", "true")
        check(got.returncode == 3, f"exit {got.returncode}")
        check("asks for 3 gpus, but policy.max.gpus_per_user=2 is the most that one user may have" in got.stderr, got.stderr)
        got = pool.run("run", "-r", "license=4", "--", "true")
        check(got.returncode == 3 and "policy.max.license_per_user=3" in got.stderr, got.stderr)
        check(pool.run("unset", "policy.max.gpus_per_user").returncode == 0, "unset")
        check(pool.run("run", "--gpus", "3", "--", "true").returncode == 0, "without it, it runs")


def test_inside_a_lease_only_the_lease_counts():
    with Pool(slot=4) as pool:
        pool.run("set", "policy.max.slot_per_user=2")
        inner = f"{os.environ['BERTH']} run -r slot=1 -- true"
        got = pool.run("run", "-r", "slot=2", "--", "sh", "-c", f"{inner} && {inner}", timeout=10)
        check(got.returncode == 0, got.stderr)


def test_a_lease_around_it_does_not_evade_the_quota():
    with Pool(cpu=4, sim_gpus="2x24G") as pool:
        check(pool.run("set", "policy.max.gpus_per_user=1").returncode == 0, "set")
        pool.spawn("run", "--gpus", "1", "--only", "0", "--", "sleep", "60")
        pool.wait_for(held=1)
        got = pool.run("run", "--cpu", "1", "--", berth(), "run", "--compute", "100", "--only", "1", "--no-wait", "--", "true",
                       timeout=10)
        check(got.returncode == 75, f"{got}")


def test_the_quota_is_of_each_user():
    if os.geteuid() != 0:
        return "skipped: not root, who cannot become another"
    with Pool(slot=4) as pool:
        pool.run("set", "policy.max.slot_per_user=1")
        sits(pool, spawn(pool, ["-r", "slot=1"], "sleep", "30"))
        first = sits(pool, spawn(pool, ["-r", "slot=1"], "sleep", "30", user=1001))
        second = stands(pool, spawn(pool, ["-r", "slot=1"], "true", user=1001))
        got = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true", executable=public_berth(), **as_user(1001))
        check(got.returncode == 75, f"no more than one for a newcomer either: {got.returncode}")
        sits(pool, spawn(pool, ["-r", "slot=1"], "sleep", "30", user=1002))
        os.kill(first.pid, signal.SIGTERM)
        check(wait_exit(second, 5, pool) == 0, "the second runs when the first has gone")
    return ""


def order(pool, jobs):
    """(user, words) of each, who enter one after the other behind a holder; in which order they ran."""
    holder = sits(pool, spawn(pool, ["-r", "slot=1"], "sleep", "60"))
    log = os.path.join(pool.path + ".log")
    open(log, "w").close()
    os.chmod(log, 0o666)
    waiting = []
    for number, (user, words) in enumerate(jobs):
        waiting.append(stands(pool, spawn(pool, ["-r", "slot=1", *words], "sh", "-c", f"echo {number} >> {log}", user=user)))
    holder.terminate()
    for process in waiting:
        check(wait_exit(process, 10, pool) == 0, "everybody runs")
    with open(log) as lines:
        out = lines.read().split()
    os.unlink(log)
    return [int(number) for number in out]


def test_who_had_less_lately_goes_first():
    if os.geteuid() != 0:
        return "skipped: not root, who cannot become another"
    with Pool(slot=1) as pool:
        check(pool.run("set", "policy.share=fair").returncode == 0, "set")
        had = pool.run("run", "-r", "slot=1", "--", "sleep", "0.3", executable=public_berth(), **as_user(1001))
        check(had.returncode == 0, had.stderr)
        check(os.readlink(f"{pool.path}/u1001/use").startswith("berth-use=1 at="), "the account is kept")
        got = order(pool, [(1001, []), (1002, []), (1001, ["-p", "1"])])
        check(got == [2, 1, 0], f"a priority first, then who had less: {got}")
        check(pool.run("unset", "policy.share").returncode == 0, "unset")
        got = order(pool, [(1001, []), (1002, [])])
        check(got == [0, 1], f"without it, who came first: {got}")
    return ""


def test_who_queues_many_takes_turns():
    if os.geteuid() != 0:
        return "skipped: not root, who cannot become another"
    with Pool(slot=1) as pool:
        pool.run("set", "policy.share=fair", "policy.half_life=2h", "policy.max_debt=12h")
        got = order(pool, [(1001, [])] * 5 + [(1002, [])] * 2)
        check(got == [0, 5, 1, 6, 2, 3, 4], f"they take turns: {got}")
    return ""


def test_settings_are_checked():
    with Pool() as pool:
        for bad, says in (("policy.share=fare", "policy.share is fair or fifo"), ("policy.half_life=0", "from 1s to 366d"),
                          ("policy.max_debt=367d", "from 1s to 366d")):
            got = pool.run("set", bad)
            check(got.returncode == 2 and says in got.stderr, f"{bad}: exit {got.returncode} {got.stderr}")
        for bad in ("policy.max.gpus_per_user=0", "policy.max.gpus_per_user=x", "policy.max.gpu_per_user=1",
                    "policy.max._per_user=1", "policy.max.gpus=1"):
            got = pool.run("set", bad)
            check(got.returncode == 2 and got.stderr.count("\n") == 1, f"{bad}: exit {got.returncode} {got.stderr}")


if __name__ == "__main__":
    main([test_a_user_has_no_more_than_the_quota, test_a_claim_above_it_is_refused, test_inside_a_lease_only_the_lease_counts,
          test_the_quota_is_of_each_user, test_who_had_less_lately_goes_first, test_who_queues_many_takes_turns,
          test_a_lease_around_it_does_not_evade_the_quota, test_settings_are_checked])
