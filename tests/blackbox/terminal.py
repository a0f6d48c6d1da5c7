"""berth run in a real terminal: as if it were not there."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

from berthtest import Pool, berth, check, children, fail, kill, main, wait_until
from faultkit import strace_missing

# Counts what it receives, and says so when it is told to end.
COUNTER = r'''
import os, signal, sys
counts = {}
def note(number, frame):
    counts[number] = counts.get(number, 0) + 1
    size = os.get_terminal_size(0)
    os.write(1, ("<%s %d %dx%d>" % (signal.Signals(number).name, counts[number], size.columns, size.lines)).encode())
for number in (signal.SIGINT, signal.SIGWINCH, signal.SIGCONT, signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, note)
os.write(1, b"<ready>")
while True:
    try:
        line = sys.stdin.readline()
    except (InterruptedError, OSError):
        continue
    if line.strip() == "end":
        sys.exit(7)
    os.write(1, ("<read %s>" % line.strip()).encode())
'''


class Terminal:
    """A shell with job control in a pseudo-terminal, and what it shows."""

    def __init__(self, pool, argv):
        self.shown = b""
        self.read_to = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(pool.env)
            os.environ["PS1"] = "$ "
            os.execvp(argv[0], argv)

    def send(self, data):
        os.write(self.fd, data)

    def expect(self, wanted, timeout=10):
        """Waits until `wanted` shows after what was expected before."""
        end = time.monotonic() + timeout
        wanted = wanted.encode()
        while True:
            at = self.shown.find(wanted, self.read_to)
            if at >= 0:
                self.read_to = at + len(wanted)
                return
            left = end - time.monotonic()
            if left <= 0:
                fail(f"{wanted!r} does not show; the screen: {self.shown[-2000:]!r}")
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.shown += os.read(self.fd, 65536)
                except OSError:
                    fail(f"the terminal closed before {wanted!r}: {self.shown[-2000:]!r}")

    def resize(self, lines, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def close(self):
        os.close(self.fd)
        kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def state_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(") ", 1)[1][0]


def bash(pool):
    terminal = Terminal(pool, ["bash", "--norc", "--noprofile", "-i"])
    terminal.expect("$ ")
    return terminal


def counted(pool, scratch="/tmp"):
    path = os.path.join(pool.path + ".counter.py")
    with open(path, "w") as f:
        f.write(COUNTER)
    return f"{berth()} run -r slot=1 -- {sys.executable} -u {path}"


def test_ctrl_c_reaches_the_command_once_and_berth_stays():
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        terminal.send(counted(pool).encode() + b"\n")
        terminal.expect("<ready>")
        for i in (1, 2, 3):
            terminal.send(b"\x03")
            terminal.expect(f"<SIGINT {i} ")
        terminal.send(b"end\n")
        terminal.expect("$ ")
        terminal.send(b"echo status=$?\n")
        terminal.expect("status=7")
        check(b"SIGINT 4" not in terminal.shown, "Ctrl-C came twice")
        terminal.close()


def test_ctrl_c_ends_a_loop_around_it():
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        loop = f"for i in 1 2 3; do {berth()} run -r slot=1 -- sleep 60; echo after-$i; done; echo status=$?\n"
        terminal.send(loop.encode())
        pool.wait_for(held=1)
        terminal.send(b"\x03")
        pool.wait_for(held=0)
        terminal.send(b"echo alive=$?\n")
        terminal.expect("alive=130")
        check(b"after-1" not in terminal.shown, f"the loop went on: {terminal.shown!r}")
        terminal.close()


def below(pid):
    """The processes below this one."""
    found = children(pid)
    for one in found:
        found += children(one)
    return found


def is_held_in(pid, number):
    """Whether strace keeps the process in this system call."""
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as f:
            return f.read().split()[0] == str(number) and state_of(pid) == "t"
    except OSError:
        return False


def passed_on_at_the_start(call, number, moment):
    """Ctrl-C while berth, or its child that is to be the command, is held in a call: how often berth passes it on."""
    with Pool(slot=1) as pool:
        log = os.path.join(pool.tmp, "calls")
        strace = f"strace -f -qq -o {log} -e trace={call},kill -e inject={call}:{moment}=300000"
        terminal = bash(pool)
        terminal.send(f"for i in 1 2; do {strace} {berth()} run -r slot=1 -- sleep 60; done; echo x\n".encode())
        wait_until(lambda: any(is_held_in(one, number) for one in below(terminal.pid)), 10, f"{call} to be held", pool)
        terminal.send(b"\x03")
        wait_until(lambda: below(terminal.pid) == [], 10, "the end of it", pool)
        terminal.send(b"echo alive=$?\n")
        terminal.expect("alive=130")
        terminal.close()
        with open(log, encoding="utf-8") as f:
            return len([line for line in f if re.search(r" kill\(\d+, SIGINT\)", line) and "= 0" in line])


def no_faults_here():
    return strace_missing() or ("" if os.uname().machine == "x86_64" else "the numbers of the calls are of x86_64")


def test_ctrl_c_between_the_last_look_and_the_start_reaches_the_command():
    if no_faults_here():
        return f"skipped: {no_faults_here()}"
    # berth dies of it as well, by a kill() of its own, so that the shell's loop ends.
    times = passed_on_at_the_start("vfork", 58, "delay_enter")
    check(times == 2, f"{times} kills, one for the command and one for berth itself")


def test_ctrl_c_between_the_start_and_exec_is_not_doubled():
    if no_faults_here():
        return f"skipped: {no_faults_here()}"
    for moment in ("delay_enter", "delay_exit"):
        times = passed_on_at_the_start("rt_sigpending", 127, moment)
        check(times == 1, f"{moment}: {times} kills; the command had it, only berth itself was due one")


def test_ctrl_z_and_fg():
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        terminal.send(counted(pool).encode() + b"\n")
        terminal.expect("<ready>")
        for i in (1, 2):
            terminal.send(b"\x1a")
            terminal.expect("Stopped")
            terminal.expect("$ ")
            check(len(pool.status()["leases"]) == 1, "a stopped holder holds")
            terminal.send(b"fg\n")
            terminal.expect(f"<SIGCONT {i} ")
            terminal.send(b"hello\n")
            terminal.expect("<read hello>")
        check(b"SIGCONT 3" not in terminal.shown, "CONT came twice")
        terminal.send(b"end\n")
        terminal.expect("$ ")
        terminal.close()


def test_background_and_foreground():
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        terminal.send(counted(pool).encode() + b" &\n")
        terminal.expect("<ready>")
        # It reads from the terminal in the background and is stopped for it, as without berth.
        wrapper = pool.status()["leases"][0]["pid"]
        wait_until(lambda: state_of(wrapper) == "T", 10, "the job in the background to be stopped", pool)
        terminal.send(b"jobs\n")
        terminal.expect("Stopped")
        terminal.send(b"fg\n")
        terminal.expect("<SIGCONT 1 ")
        terminal.send(b"end\n")
        terminal.expect("$ ")
        terminal.close()


def test_resize_is_seen_by_the_command():
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        terminal.send(counted(pool).encode() + b"\n")
        terminal.expect("<ready>")
        terminal.resize(31, 97)
        terminal.expect("<SIGWINCH 1 97x31>")
        terminal.resize(32, 98)
        terminal.expect("<SIGWINCH 2 98x32>")
        terminal.send(b"end\n")
        terminal.expect("$ ")
        check(b"SIGWINCH 3" not in terminal.shown, "WINCH came twice")
        terminal.close()


def test_kill_reaches_the_command_once():
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        terminal.send(counted(pool).encode() + b"\n")
        terminal.expect("<ready>")
        wrapper = pool.status()["leases"][0]["pid"]
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCONT):
            kill(wrapper, number)
            terminal.expect(f"<{number.name} 1 ")
        terminal.send(b"end\n")
        terminal.expect("$ ")
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCONT):
            check(f"{number.name} 2".encode() not in terminal.shown, f"{number.name} came twice")
        terminal.close()


def test_settings_of_the_terminal_are_the_same_afterwards():
    with Pool(slot=1) as pool:
        terminal = bash(pool)
        seen = []
        for command in ("stty -g", f"{berth()} run -r slot=1 -- stty -g", "stty -g"):
            # The quotes keep the marks out of the echo of the line itself.
            terminal.send(f"echo '<''b>'; {command}; echo '<''e>'\n".encode())
            terminal.expect("<b>")
            begun = terminal.read_to
            terminal.expect("<e>")
            seen.append(terminal.shown[begun:terminal.read_to - 3].strip())
            terminal.expect("$ ")
        check(len(set(seen)) == 1 and b":" in seen[0], f"{seen}")
        terminal.close()


def test_ctrl_c_while_waiting_ends_berth_and_leaves_nothing():
    with Pool(slot=1) as pool:
        holder = pool.spawn("run", "-r", "slot=1", "--", "sleep", "60")
        pool.wait_for(held=1)
        terminal = bash(pool)
        terminal.send(f"{berth()} run -r slot=1 -- true\n".encode())
        pool.wait_for(waiting=1)
        terminal.send(b"\x03")
        terminal.expect("$ ")
        pool.wait_for(waiting=0)
        terminal.send(b"echo status=$?\n")
        terminal.expect("status=130")
        terminal.close()
        kill(holder.pid, signal.SIGTERM)


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
