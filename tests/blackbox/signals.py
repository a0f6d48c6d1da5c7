"""Every signal reaches the command exactly once: by pid, by group, from a shell, at any moment.

A second signal of a number that is still pending is merged with the first by the kernel. So the next
one is sent only after the one before was counted, or its command is gone.
"""
import atexit
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from berthtest import (Pool, berth, check, children, descendants, is_running, kill, main, pid_ended, proc_state, seed,
                       wait_exit, wait_until)
from terminal import bash

PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
             signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)

# counter LOG [own-group|kill-0]: writes the number of each signal to LOG. Ends with 7 when its input does.
COUNTER = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
static int log_fd;
static void count(int number) {
  char line[4] = {(char)('0' + number / 10), (char)('0' + number % 10), '\n', 0};
  if (write(log_fd, line, 3) != 3) _exit(98);
}
int main(int argc, char** argv) {
  static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH};
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = count;
  action.sa_flags = SA_RESTART;
  log_fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  for (int i = 0; i < 9; ++i) sigaction(numbers[i], &action, 0);
  if (argc > 2 && !strcmp(argv[2], "own-group")) setpgid(0, 0);
  if (write(log_fd, "ready\n", 6) != 6) return 97;
  if (argc > 2 && !strcmp(argv[2], "kill-0")) kill(0, SIGUSR1);
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
  return 7;
}
"""


def counter_program():
    if not hasattr(counter_program, "path"):
        place = tempfile.mkdtemp(prefix="berthtest-bin-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        source = os.path.join(place, "counter.c")
        with open(source, "w", encoding="ascii") as f:
            f.write(COUNTER)
        counter_program.path = os.path.join(place, "counter")
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        subprocess.run([compiler, "-O2", "-o", counter_program.path, source], check=True)
    return counter_program.path


class Counted:
    """`berth run COUNTER`, in a session of its own: its group is the wrapper, the command and the bystander."""

    def __init__(self, pool, *how, **kw):
        self.pool = pool
        self.log = os.path.join(pool.tmp, f"log{len(os.listdir(pool.tmp))}")
        self.process = pool.spawn("run", "-r", "slot=1", "--", counter_program(), self.log, *how,
                                  stdin=subprocess.PIPE, start_new_session=True, **kw)
        self.pid = self.process.pid

    def lines(self):
        try:
            with open(self.log, encoding="ascii") as f:
                return f.read().split()
        except OSError:
            return []

    def count(self, number):
        return sum(line == f"{number:02}" for line in self.lines())

    def ready(self):
        wait_until(lambda: "ready" in self.lines(), 10, "the command to be ready", self.pool)
        return self

    def settled(self):
        """Ready, and long enough there for berth to tell a signal to the group."""
        self.ready()
        wait_until(lambda: len(children(self.pid)) == 2, 10, "the bystander", self.pool)
        return self

    def bystander(self):
        return children(self.pid)[1]

    def gone(self):
        return self.process.poll() is not None

    def end(self):
        self.process.stdin.close()
        code = wait_exit(self.process, 10, self.pool)
        check(code == 7, f"exit {code}, the command's is 7; {self.pool.err(self.process)}")


def nothing_is_left(pool):
    check(not pool.leases(), f"leases are left: {pool.leases()}")
    check(not pool.leftovers(), f"left in the pool: {pool.leftovers()}")
    check(not [pid for pid in descendants() if is_running(pid)], "processes are left")


def one_life_of_signals(pool, rng):
    """A job, and signals from before it starts until after it is gone; how many were sent, by when."""
    sent = {"start": 0, "run": 0, "exit": 0}
    job = Counted(pool)
    expected = {number: 0 for number in PASSED_ON}
    exact = set()  # numbers of which all were sent while the command surely ran

    def send(when):
        number = rng.choice(PASSED_ON)
        before = job.count(number)
        if not kill(job.pid, number):
            return
        sent[when] += 1
        expected[number] += 1
        if when != "run":
            exact.discard(number)
        elif expected[number] == 1:
            exact.add(number)
        if when == "run":
            wait_until(lambda: job.count(number) > before, 10, f"{number.name} to be counted", pool)
        elif number == signal.SIGTSTP and proc_state(job.pid) == "T":
            expected[signal.SIGCONT] += kill(job.pid, signal.SIGCONT)  # it stopped itself: there was no command yet

    for _ in range(rng.randrange(3)):
        wait_until(lambda: rng.random() < 0.3 or job.gone())
        send("start")
    while not job.gone() and "ready" not in job.lines():
        if proc_state(job.pid) == "T":
            kill(job.pid, signal.SIGCONT)
            expected[signal.SIGCONT] += 1
    if not job.gone():
        for _ in range(10):
            send("run")
        job.process.stdin.close()
        for _ in range(rng.randrange(5)):
            send("exit")
    code = wait_exit(job.process, 10, pool)
    check(code == 7 or -code in PASSED_ON or code - 128 in PASSED_ON, f"exit {code}: {pool.err(job.process)}")
    for number in PASSED_ON:
        check(job.count(number) <= expected[number], f"{number.name}: {expected[number]} sent, {job.count(number)} came")
        if number in exact:
            check(job.count(number) == expected[number], f"{number.name}: {expected[number]} sent, {job.count(number)} came")
    return sent


def test_a_thousand_signals_at_random_moments():
    rng = random.Random(seed())
    totals = {"start": 0, "run": 0, "exit": 0}
    lives = 0
    with Pool(slot=1) as pool:
        while sum(totals.values()) < 1000:
            lives += 1
            for when, n in one_life_of_signals(pool, rng).items():
                totals[when] += n
        nothing_is_left(pool)
    return f"{lives} jobs; {totals}"


def test_a_signal_to_the_group_comes_once():
    """As a shell's `kill %1` and a runner's killpg() send it: the command has it already."""
    rng = random.Random(seed())
    with Pool(slot=1) as pool:
        job = Counted(pool).settled()
        for turn in range(200):
            number = rng.choice(PASSED_ON)
            before = job.count(number)
            (os.killpg if turn % 3 else os.kill)(job.pid, number)
            wait_until(lambda: job.count(number) > before, 10, f"{number.name} to be counted", pool)
            # What would come twice has come by the time that another signal, read after it, is counted.
            mark = signal.SIGUSR1 if number != signal.SIGUSR1 else signal.SIGUSR2
            marks = job.count(mark)
            kill(job.pid, mark)
            wait_until(lambda: job.count(mark) > marks, 10, f"{mark.name} to be counted", pool)
            check(job.count(number) == before + 1, f"{number.name} came {job.count(number) - before} times")
        job.end()
        nothing_is_left(pool)


def test_what_the_command_sends_to_its_own_group_comes_once():
    with Pool(slot=1) as pool:
        job = Counted(pool, "kill-0").ready()
        wait_until(lambda: job.count(signal.SIGUSR1) > 0, 10, "its own signal", pool)
        job.end()


def test_a_command_in_a_group_of_its_own():
    with Pool(slot=1) as pool:
        job = Counted(pool, "own-group").settled()
        for turn, send in enumerate((os.kill, os.killpg, os.kill), 1):
            send(job.pid, signal.SIGTERM)
            wait_until(lambda: job.count(signal.SIGTERM) == turn, 10, "SIGTERM", pool)
        job.end()


def test_kill_of_a_job_in_a_shell():
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        log, fifo = os.path.join(pool.tmp, "log"), os.path.join(pool.tmp, "fifo")
        os.mkfifo(fifo)
        open(log, "w", encoding="ascii").close()

        def count(word):
            with open(log, encoding="ascii") as f:
                return f.read().split().count(word)

        terminal.send(f"{berth()} run -r slot=1 -- {counter_program()} {log} <> {fifo} &\n".encode())
        wait_until(lambda: count("ready") == 1, 10, "the command", pool)
        wrapper = pool.leases("held")[0]["pid"]
        wait_until(lambda: len(children(wrapper)) == 2, 10, "the bystander", pool)
        for turn, (words, number, expected) in enumerate((
                ("kill %1", "15", 1), ("kill -INT %1", "02", 1), ("kill $!", "15", 2), (f"kill -HUP -- -{wrapper}", "01", 1),
                ("kill -CONT %1", "18", 1), ("kill -TSTP %1", "20", 1)), 1):
            terminal.send(f"{words}; echo do''ne\n".encode())
            terminal.expect("done")
            wait_until(lambda: count(number) >= expected, 10, words, pool)
            kill(wrapper, signal.SIGUSR2)
            wait_until(lambda: count("12") == turn, 10, "USR2", pool)
            check(count(number) == expected, f"{words}: signal {number} came {count(number)} times")
        terminal.send(b"kill -9 %1\n")
        pool.wait_for(held=0)
        terminal.close()


def test_a_signal_that_the_caller_ignores_is_the_commands_to_take():
    """As in a script's `berth run CMD &`, where INT and QUIT are ignored: CMD's own handler hears them."""
    with Pool(slot=1) as pool:
        job = Counted(pool, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)).ready()
        kill(job.pid, signal.SIGINT)
        wait_until(lambda: job.count(signal.SIGINT) == 1, 10, "SIGINT", pool)
        job.end()
        # And who waits in line goes on ignoring it.
        holder = Counted(pool).ready()
        waiter = Counted(pool, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        pool.wait_for(held=1, waiting=1)
        kill(waiter.pid, signal.SIGINT)
        holder.end()
        waiter.ready().end()


def test_the_bystander_may_be_stopped_or_killed():
    with Pool(slot=1) as pool:
        job = Counted(pool).settled()
        for turn, number in enumerate((signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM), 1):
            kill(job.bystander(), number)
            kill(job.pid, signal.SIGUSR1)
            wait_until(lambda: job.count(signal.SIGUSR1) == turn, 10, f"USR1 after {number.name}", pool)
            wait_until(lambda: len(children(job.pid)) == 2, 10, "a bystander again", pool)
        os.killpg(job.pid, signal.SIGTERM)
        kill(job.pid, signal.SIGUSR2)
        wait_until(lambda: job.count(signal.SIGUSR2) == 1, 10, "USR2", pool)
        check(job.count(signal.SIGTERM) == 1, f"TERM came {job.count(signal.SIGTERM)} times")
        job.end()


def process_with(pid):
    """A process that has nothing to do with us and has this very pid, which is free; None where that cannot be had."""
    for _ in range(50):
        try:
            with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as f:
                f.write(str(pid - 1))
        except OSError:
            return None
        stranger = os.fork()
        if stranger == 0:
            os.closerange(3, 65536)  # among them the end of the job's input
            signal.pause()
            os._exit(0)
        if stranger == pid:
            return stranger
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)
    return None


def test_who_has_the_pid_of_a_killed_bystander_is_spared():
    with Pool(slot=1) as pool:
        job = Counted(pool).settled()
        bystander = job.bystander()
        kill(bystander)
        wait_until(lambda: not os.path.exists(f"/proc/{bystander}"), 10, "the wrapper takes it in", pool)
        stranger = process_with(bystander)
        if stranger is None:
            job.end()
            return "left out: the kernel lets us choose no pid"
        job.end()
        time.sleep(0.1)  # one that is killed ends a moment later
        check(os.waitpid(stranger, os.WNOHANG)[0] == 0, "a process that was never berth's was killed")
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)


def test_the_bystander_has_nothing_and_leaves_with_the_wrapper():
    with Pool(slot=1) as pool:
        reader, writer = os.pipe()
        job = Counted(pool, pass_fds=[writer]).settled()
        os.close(writer)
        bystander = job.bystander()
        wait_until(lambda: len(os.listdir(f"/proc/{bystander}/fd")) == 1, 10, "it to close what is not its own", pool)
        with open(f"/proc/{bystander}/cmdline", "rb") as f:
            check(b"berth" not in f.read(), "pkill -f finds it")
        command = children(job.pid)[0]
        kill(job.pid)
        wait_exit(job.process)
        pid_ended(bystander)
        check(is_running(command) and pool.leases("held"), "the command keeps its place")
        kill(command)
        pool.wait_for(held=0)
        check(os.read(reader, 1) == b"", "somebody keeps the descriptor")
        os.close(reader)
        check(pool.run("run", "-r", "slot=1", "--no-wait", "true").returncode == 0, "the place is free")
        nothing_is_left(pool)


def test_stop_and_continue_of_the_group():
    with Pool(slot=1) as pool:
        job = Counted(pool).settled()
        everybody = [job.pid, *children(job.pid)]
        for turn in (1, 2, 3):
            os.killpg(job.pid, signal.SIGSTOP)
            wait_until(lambda: all(proc_state(pid) == "T" for pid in everybody), 10, "all to be stopped", pool)
            os.killpg(job.pid, signal.SIGTERM)
            os.killpg(job.pid, signal.SIGCONT)
            wait_until(lambda: job.count(signal.SIGCONT) == turn, 10, "CONT", pool)
            wait_until(lambda: job.count(signal.SIGTERM) == turn, 10, "TERM", pool)
        kill(job.pid, signal.SIGUSR1)
        wait_until(lambda: job.count(signal.SIGUSR1) == 1, 10, "USR1", pool)
        check(job.count(signal.SIGTERM) == 3 and job.count(signal.SIGCONT) == 3, f"{job.lines()}")
        job.end()


def test_a_signal_between_the_grant_and_the_start():
    """Ctrl-C in that moment has no command to reach: berth ends of it, and gives the place back."""
    if not shutil.which("strace"):
        return "skipped: no strace"
    with Pool(slot=1) as pool:
        # The last call before the command is made, held for half a second.
        words = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fcntl", "-e", "inject=fcntl:delay_enter=300000",
                 berth(), "run", "-r", "slot=1", "--", "touch", pool.tmp + "/ran"]
        process = subprocess.Popen(words, env=pool.env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pool.wait_for(held=1)
        kill(children(process.pid)[0], signal.SIGINT)
        code = wait_exit(process, 10, pool)
        check(code == -signal.SIGINT and not os.path.exists(pool.tmp + "/ran"), f"exit {code}")
        nothing_is_left(pool)


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
