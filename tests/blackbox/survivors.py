"""Survivors: processes of a job that closed even its life keep its place while they run, and are named."""
import os
import resource
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from berthtest import (Pool, check, is_running, kill, main, pid_ended, proc_state, wait_exit, wait_until)  # noqa: E402

# Becomes a process that has nothing open and nobody above it: two forks, a session of its own. As good
# daemons do, the first process ends when the last one stands.
DAEMON = """
import os, sys, time
if os.fork():
    while not os.path.exists(sys.argv[1]): time.sleep(0.001)
    os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
null = os.open("/dev/null", os.O_RDWR)
for fd in 0, 1, 2: os.dup2(null, fd)
os.closerange(3, 65536)
open(sys.argv[1], "w").write(str(os.getpid()))
os.execvp("sleep", ["sleep", "600"])
"""
# Such a daemon makes its worker from a thread that is not its first.
THREADED_DAEMON = """
import os, sys, threading, time
if os.fork(): os._exit(0)
os.setsid()
null = os.open("/dev/null", os.O_RDWR)
for fd in 0, 1, 2: os.dup2(null, fd)
os.closerange(3, 65536)
def work():
    worker = os.fork()
    if worker == 0: os.execvp("sleep", ["sleep", "600"])
    with open(sys.argv[1] + ".new", "w") as f: f.write(f"{os.getpid()} {worker}")
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(600)
threading.Thread(target=work, daemon=True).start()
time.sleep(600)
"""
CLOSE = "import os; os.closerange(3, 65536); os.execvp('sleep', ['sleep', '600'])"
SLOT = ("run", "-r", "slot=1")


def busy(pool):
    return pool.run(*SLOT, "--no-wait", "--", "true").returncode == 75


def only_lease(pool):
    leases = pool.leases("held")
    check(len(leases) == 1, leases)
    return leases[0]


def pid_in(path):
    wait_until(lambda: os.path.exists(path) and open(path, encoding="ascii").read(), what="the daemon's pid")
    return int(open(path, encoding="ascii").read())


def test_the_wrapper_is_killed_and_the_command_has_closed_everything():
    with Pool(slot=1) as pool:
        holder = pool.spawn(*SLOT, "--", sys.executable, "-c", CLOSE)
        job = wait_until_sleeping(pool, holder)
        waiter = pool.spawn(*SLOT, "--", "true")
        pool.wait_for(held=1, waiting=1)
        kill(holder.pid)
        wait_exit(holder)
        wait_until(lambda: only_lease(pool)["reason"], what="status calls it a survivor")
        check(f"survivor keeps it: pid {job} (sleep)" in only_lease(pool)["reason"], only_lease(pool))
        check(busy(pool), "the place was given away while the command runs")
        kill(job)
        check(wait_exit(waiter) == 0, pool.err(waiter))
    return "seated when the survivor ended"


def test_a_killed_wrapper_is_not_shown_as_who_holds():
    with Pool(slot=1) as pool:
        holder = pool.spawn(*SLOT, "--", "sleep", "600")
        job = wait_until_sleeping(pool, holder)
        check((only_lease(pool)["pid"], only_lease(pool)["reason"]) == (holder.pid, None), only_lease(pool))
        kill(holder.pid)
        wait_exit(holder)
        lease = wait_until(lambda: only_lease(pool)["reason"] and only_lease(pool), what="status says who keeps it")
        check(lease["reason"] == f"pid {holder.pid} has ended; pid {job} (sleep) keeps the place", lease)
        check(lease["pid"] == job, lease)
        kill(job)
    return "the command is"


def wait_until_sleeping(pool, holder):
    pool.wait_for(held=1)

    def look():
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            try:
                if open(f"/proc/{pid}/comm").read() == "sleep\n" and \
                        int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1]) == holder.pid:
                    return int(pid)
            except OSError:
                pass
        return None
    return wait_until(look, what="the command sleeps")


def test_a_daemon_that_the_command_leaves_behind():
    with Pool(slot=1) as pool:
        note = os.path.join(pool.path, "..", "daemon.pid")
        done = pool.run(*SLOT, "--", sys.executable, "-c", DAEMON, note)
        daemon = pid_in(note)
        check(done.returncode == 0, done)
        check(f"pid {daemon} (" in done.stderr, f"it is not named: {done.stderr!r}")
        check(busy(pool), "the place was given away while the daemon runs")
        check(f"pid {daemon} (sleep)" in only_lease(pool)["reason"], only_lease(pool))
        waiter = pool.spawn(*SLOT, "--", "true")
        pool.wait_for(held=1, waiting=1)
        kill(daemon)
        check(wait_exit(waiter) == 0, pool.err(waiter))
        check(not pool.leftovers(), pool.leftovers())


def test_until_command_gives_it_back_all_the_same():
    with Pool(slot=1) as pool:
        note = os.path.join(pool.path, "..", "daemon.pid")
        done = pool.run(*SLOT, "--until", "command", "--", sys.executable, "-c", DAEMON, note)
        daemon = pid_in(note)
        check(done.returncode == 0 and done.stderr == "", done)
        check(not busy(pool), "the place is still taken")
        check(is_running(daemon), "the daemon was ended")
        kill(daemon)


def test_a_survivor_can_be_released():
    with Pool(slot=1) as pool:
        note = os.path.join(pool.path, "..", "daemon.pid")
        pool.run(*SLOT, "--", sys.executable, "-c", DAEMON, note)
        daemon = pid_in(note)
        check(busy(pool), "the place was given away")
        done = pool.run("release", only_lease(pool)["id"])
        check(done.returncode == 0, done)
        check(not busy(pool), "the place is still taken")
        kill(daemon)
        check(not pool.leftovers(), pool.leftovers())


def test_exec_leaves_no_wrapper_and_keeps_the_place():
    with Pool(slot=1) as pool:
        job = pool.spawn(*SLOT, "--exec", "--", sys.executable, "-c", CLOSE)
        wait_until(lambda: open(f"/proc/{job.pid}/comm").read() == "sleep\n", what="the command sleeps")
        check(busy(pool), "the place was given away")
        check(f"pid {job.pid} (sleep)" in only_lease(pool)["reason"], only_lease(pool))
        waiter = pool.spawn(*SLOT, "--", "true")
        pool.wait_for(held=1, waiting=1)
        kill(job.pid)
        check(wait_exit(waiter) == 0, pool.err(waiter))


def test_orphans_do_not_stay_as_zombies():
    with Pool(slot=1) as pool:
        script = "for i in 1 2 3 4 5; do (true & true &) ; done; echo ready; read x"
        holder = pool.spawn(*SLOT, "--", "sh", "-c", script, stdin=-1)
        wait_until(lambda: "ready" in pool.out(holder), what="the command is ready")

        def zombies():
            text = open(f"/proc/{holder.pid}/task/{holder.pid}/children", encoding="ascii").read()
            return [p for p in text.split() if proc_state(p) == "Z"]
        wait_until(lambda: not zombies(), what="orphans are taken in")
        holder.stdin.close()
        check(wait_exit(holder) == 1, pool.err(holder))
        check(not busy(pool), "the place is still taken")


def test_many_waiters_and_a_survivor_that_ends():
    with Pool(slot=1) as pool:
        holder = pool.spawn(*SLOT, "--", sys.executable, "-c", CLOSE)
        job = wait_until_sleeping(pool, holder)
        waiters = [pool.spawn(*SLOT, "--", "true") for _ in range(5)]
        pool.wait_for(held=1, waiting=5)
        kill(holder.pid)
        os.kill(waiters[0].pid, signal.SIGSTOP)
        kill(job)
        pid_ended(job)
        for waiter in waiters[1:]:
            check(wait_exit(waiter) == 0, pool.err(waiter))
        os.kill(waiters[0].pid, signal.SIGCONT)
        check(wait_exit(waiters[0]) == 0, pool.err(waiters[0]))


def test_want_of_descriptors_is_nobodys_death():
    with Pool(slot=1) as pool:
        holder = pool.spawn(*SLOT, "--", sys.executable, "-c", CLOSE)
        job = wait_until_sleeping(pool, holder)
        kill(holder.pid)
        wait_exit(holder)
        for most in range(4, 20):
            few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # noqa: E731, B023
            done = pool.run(*SLOT, "--no-wait", "--", "echo", "seated", preexec_fn=few)
            check("seated" not in done.stdout, f"the place was given away with {most} descriptors: {done}")
            check(is_running(job) and busy(pool), f"the place was given away after a look with {most} descriptors")
        kill(job)
        pid_ended(job)
        check(not busy(pool), "the place is still taken")


def test_a_worker_that_a_thread_of_a_daemon_made():
    with Pool(slot=1) as pool:
        note = os.path.join(pool.path, "..", "daemon.pid")
        # The command stays until its daemon's worker is there: what comes later, nobody can write down.
        script = f"'{sys.executable}' -c \"$1\" \"$2\"; until [ -e \"$2\" ]; do sleep 0.01; done"
        pool.run(*SLOT, "--", "sh", "-c", script, "sh", THREADED_DAEMON, note)
        daemon, worker = (int(word) for word in open(note, encoding="ascii").read().split())
        kill(daemon)
        pid_ended(daemon)
        check(is_running(worker) and busy(pool), "the place was given away while the worker runs")
        kill(worker)
        wait_until(lambda: not busy(pool), what="the place is free again")


main([test_a_killed_wrapper_is_not_shown_as_who_holds, test_want_of_descriptors_is_nobodys_death, test_a_worker_that_a_thread_of_a_daemon_made,
      test_the_wrapper_is_killed_and_the_command_has_closed_everything, test_a_daemon_that_the_command_leaves_behind,
      test_until_command_gives_it_back_all_the_same, test_a_survivor_can_be_released,
      test_exec_leaves_no_wrapper_and_keeps_the_place, test_orphans_do_not_stay_as_zombies,
      test_many_waiters_and_a_survivor_that_ends])
