"""200 processes contend for 3 slots and 2 simulated GPUs while a fifth of them are killed.

Holders and waiters, wrappers and their commands alike get SIGKILL; others are stopped and continued at
random. Never may more run than there is (the jobs' own locks tell), every survivor is served, and
afterwards the pool is empty and everything in it can be had at once.

SECONDS (default 12) says for how long; tests/soak.py runs the same storm for longer.
"""
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import (Pool, Witness, berth, check, children, evidence, fail, is_running, kill, main, seed,  # noqa: E402
                       wait_until)

FEWEST_KILLS = 50
SLOTS = 3
GPUS = 2
KINDS = (  # claim, what the witness locks, how often
    (("-r", "slot=1"), f"slot:{SLOTS}", 55),
    (("--gpus", "1"), "gpu", 35),
    (("-r", "slot=1", "--gpus", "1"), f"slot:{SLOTS},gpu", 10),
)
STALL_S = 15.0  # with nothing finished for so long it is a hang


class Runner:
    """One `berth run` of the storm and what is planned for it."""
    __slots__ = ("pid", "born", "plan", "due", "job", "killed", "job_killed", "stopped", "resume")

    def __init__(self, pid, now):
        self.pid = pid
        self.born = now
        self.plan = None        # "kill" at a time, "kill-holder" once it runs its command, "stop", "stop-holder"
        self.due = 0.0
        self.job = 0
        self.killed = False
        self.job_killed = False
        self.stopped = False
        self.resume = 0.0


class Storm:
    def __init__(self, pool, witness, rng, population=200, kill_share=0.2, stop_share=0.1, job_ms=(0, 20)):
        self.pool = pool
        self.witness = witness
        self.rng = rng
        self.population = population
        self.kill_share = kill_share
        self.stop_share = stop_share
        self.job_ms = job_ms
        self.runners = {}
        self.orphans = {}       # commands whose wrapper was killed: pid -> when to continue it, or 0
        self.pending = set()    # the pids of runners with a plan
        self.kills = {"waiter": 0, "early": 0, "wrapper": 0, "command": 0, "both": 0}
        self.stops = 0
        self.looks = 0
        self.started = 0
        self.served = 0
        self.cut_short = 0      # ended because we killed their command
        self.longest_wait = 0.0
        self.usual_wait = 0.5
        self.last_progress = time.monotonic()
        self.program = berth()
        self.stderr = os.path.join(pool.tmp, "storm.stderr")
        self.log_fd = os.open(self.stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self.null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])

    def close(self):
        os.close(self.log_fd)
        os.close(self.null_fd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])

    @property
    def total_kills(self):
        return sum(self.kills.values())

    # -- one process more

    def spawn(self):
        rng = self.rng
        claim, spec, _ = rng.choices(KINDS, [k[2] for k in KINDS])[0]
        words = [self.program, "run", *claim, "--", *self.witness.job(spec, rng.randint(*self.job_ms))]
        pid = os.posix_spawn(self.program, words, self.pool.env, setsigmask=[],
                             file_actions=[(os.POSIX_SPAWN_DUP2, self.null_fd, 0), (os.POSIX_SPAWN_DUP2, self.null_fd, 1),
                                           (os.POSIX_SPAWN_DUP2, self.log_fd, 2)])
        now = time.monotonic()
        runner = Runner(pid, now)
        self.runners[pid] = runner
        self.started += 1
        luck = rng.random()
        if luck < self.kill_share:
            style = rng.random()
            if style < 0.25:
                runner.plan, runner.due = "early", now + rng.uniform(0, 0.012)
            elif style < 0.5:
                runner.plan, runner.due = "kill", now + rng.uniform(0, self.usual_wait)
            else:
                runner.plan = "kill-holder"
        elif luck < self.kill_share + self.stop_share:
            if rng.random() < 0.6:
                runner.plan, runner.due = "stop", now + rng.uniform(0, 1.2 * self.usual_wait)
            else:
                runner.plan = "stop-holder"
        if runner.plan:
            self.pending.add(pid)

    # -- what befalls them

    def do_plan(self, runner, now):
        """True when the plan is carried out (or void)."""
        if runner.plan in ("early", "kill", "stop"):
            if now < runner.due:
                return False
            if runner.plan == "stop":
                self.stop(runner, now)
                return True
            self.kill_wrapper(runner, "early" if runner.plan == "early" else "waiter")
            return True
        # Only the older ones can have a command by now.
        if now - runner.born < 0.3 * self.usual_wait:
            return False
        below = children(runner.pid)
        if not below:
            return False
        runner.job = below[0]
        if runner.plan == "stop-holder":
            self.stop(runner, now)
            return True
        how = self.rng.choice(("wrapper", "command", "both"))
        if how == "wrapper":
            self.kill_wrapper(runner, how)
        elif how == "command":
            if kill(runner.job):
                runner.job_killed = True
                self.kills["command"] += 1
        else:
            first_command = self.rng.random() < 0.5
            if first_command:
                kill(runner.job)
            self.kill_wrapper(runner, how)
            if not first_command:
                kill(runner.job)
        return True

    def kill_wrapper(self, runner, why):
        for job in children(runner.pid):
            self.orphans[job] = 0.0
        if kill(runner.pid):
            runner.killed = True
            self.kills[why] += 1

    def stop(self, runner, now):
        if not kill(runner.pid, signal.SIGSTOP):
            return
        runner.stopped = True
        runner.resume = now + self.rng.choice((0.005, 0.03, 0.15, 0.25))
        if runner.job and self.rng.random() < 0.7:
            kill(runner.job, signal.SIGSTOP)
        self.stops += 1
        self.pending.add(runner.pid)

    def go_on(self, runner):
        runner.stopped = False
        for pid in (runner.job or 0, *children(runner.pid), runner.pid):
            if pid:
                kill(pid, signal.SIGCONT)

    # -- one look at everything

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.orphans.pop(pid, None)
            runner = self.runners.pop(pid, None)
            self.pending.discard(pid)
            if runner is None:
                continue  # the command of a wrapper that was killed
            now = time.monotonic()
            code = os.waitstatus_to_exitcode(status)
            if runner.killed:
                continue
            self.last_progress = now
            if code == 0 or (code == 137 and runner.job_killed):
                self.served += code == 0
                self.cut_short += code != 0
                wait = now - runner.born
                self.longest_wait = max(self.longest_wait, wait)
                self.usual_wait += 0.02 * (wait - self.usual_wait)
                continue
            if code == 99:
                self.witness.check()
            said = [l for l in self.said() if "waiting for " not in l]
            fail(f"berth run (pid {pid}) ended with {code}; said lately: {said[-5:]}")

    def said(self):
        with open(self.stderr, encoding="utf-8", errors="replace") as f:
            f.seek(max(0, os.path.getsize(self.stderr) - 20000))
            return f.read().splitlines()

    def tick(self, spawning):
        signal.sigtimedwait([signal.SIGCHLD], 0.004)
        self.reap()
        now = time.monotonic()
        room = 12
        while spawning and len(self.runners) < self.population and room > 0:
            self.spawn()
            room -= 1
        for pid in list(self.pending):
            runner = self.runners.get(pid)
            if runner is None:
                self.pending.discard(pid)
            elif runner.stopped:
                if now >= runner.resume:
                    self.go_on(runner)
                    self.pending.discard(pid)
            elif runner.plan is None:
                self.pending.discard(pid)
            elif self.do_plan(runner, now):
                runner.plan = None
        for pid in list(self.orphans):
            kill(pid, signal.SIGCONT)  # it may have been stopped with its wrapper
            if not is_running(pid):
                self.orphans.pop(pid, None)
        if now - self.last_progress > STALL_S and self.runners:
            evidence(self.pool)
            fail(f"nothing was served for {STALL_S:.0f} s, {len(self.runners)} wait")
        if os.path.getsize(self.stderr) > 4 << 20:
            os.ftruncate(self.log_fd, 0)

    def check_books(self):
        """What berth itself says must not be over either, whenever it is asked."""
        status = self.pool.status()
        for r in status["resources"]:
            check(r["held"] <= r["capacity"], f"status says {r['held']} of {r['capacity']} {r['name']} are held")
        cards = [d["uuid"] for l in status["leases"] if l["granted"] for d in l["granted"]["devices"]]
        check(len(cards) == len(set(cards)), f"status says that a whole GPU is held twice: {cards}")
        self.looks += 1

    def blow(self, seconds, progress=None, progress_every=30.0):
        until = time.monotonic() + seconds
        next_progress = time.monotonic() + progress_every
        next_look = time.monotonic() + 1
        while time.monotonic() < until:
            self.tick(spawning=True)
            if time.monotonic() >= next_look:
                next_look += 1
                self.check_books()
            if time.monotonic() >= next_progress:
                next_progress += progress_every
                self.witness.check()
                if progress:
                    progress(self)

    def calm_down(self):
        """No more are started or killed; everybody still there is served."""
        for runner in self.runners.values():
            runner.plan = None
            if runner.stopped:
                self.go_on(runner)
        self.pending.clear()
        until = time.monotonic() + 60
        while self.runners or self.orphans:
            self.tick(spawning=False)
            if time.monotonic() > until:
                evidence(self.pool)
                fail(f"{len(self.runners)} were not served within a minute after the storm")


def judge(storm):
    """What has to hold once the storm is over."""
    pool = storm.pool
    storm.witness.check()
    leases = pool.status()["leases"]
    check(not leases, f"the pool is not empty: {leases[:3]}")
    left = pool.leftovers()
    done = pool.run("run", "--no-wait", "-r", f"slot={SLOTS}", "--gpus", GPUS, "--", "true")
    check(done.returncode == 0, f"all there is cannot be had: exit {done.returncode}: {done.stderr}")
    # A command looks at a few of the dead in passing, so the rest goes with the next ones.
    runs = 1
    while pool.leftovers() and runs <= len(left) + 1:
        done = pool.run("run", "--no-wait", "-r", "slot=1", "--", "true")
        check(done.returncode == 0, f"exit {done.returncode}: {done.stderr}")
        runs += 1
    check(not pool.leftovers(), f"{len(left)} entries were left, and {runs} commands did not mend that: {pool.leftovers()[:5]}")
    return f"{len(left)} entries of the killed were swept by {runs} commands"


def test_contention():
    rng = random.Random(seed())
    with Pool(sim_gpus=f"{GPUS}x24G", slot=SLOTS) as pool:
        storm = Storm(pool, Witness(pool), rng)
        try:
            storm.blow(float(os.environ.get("SECONDS") or 12))
            for _ in range(15):  # a busy machine takes its time
                if storm.total_kills < FEWEST_KILLS:
                    storm.blow(4)
            calm = time.monotonic()
            storm.calm_down()
            drained = time.monotonic() - calm
            swept = judge(storm)
        finally:
            storm.close()
        check(storm.total_kills >= FEWEST_KILLS, f"only {storm.total_kills} kills: the test did not test")
        check(storm.kills["waiter"] and storm.kills["wrapper"] and storm.kills["command"], f"kills: {storm.kills}")
        return (f"{storm.started} started, {storm.served} served, {storm.cut_short} with their command killed, kills {storm.kills}, "
                f"{storm.stops} stopped; longest wait {storm.longest_wait:.1f} s, drained in {drained:.1f} s; {swept}")


def test_witness_sees_an_over_grant():
    """The judge itself: two jobs that nobody seated, for one lock."""
    with Pool() as pool:
        import subprocess
        witness = Witness(pool)
        with subprocess.Popen(witness.job("slot:1", tag="first")) as first:
            witness.started("first")
            second = subprocess.run(witness.job("slot:1", 0, "second"), check=False)
            check(second.returncode == 99 and len(witness.violations()) == 1, "the witness is blind")
            kill(first.pid)
        wait_until(lambda: subprocess.run(witness.job("slot:1", 0, "third"), check=False).returncode == 0, 5, "the lock's release")


if __name__ == "__main__":
    main([test_witness_sees_an_over_grant, test_contention], limit=240)
