"""The line of a waiter in a real terminal: one, quiet, never wrapped, and gone when the wait is over."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from berthtest import Pool, berth, check, children, fail, kill, main, wait_exit, wait_until

CLEAR = b"\r\x1b[K"


class Screen:
    """What a terminal of so many columns shows of what was written to it; wide characters are not known."""

    def __init__(self, columns):
        self.columns = columns
        self.lines = [""]
        self.at = 0
        self.wrapped = False

    def feed(self, text):
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.|\n|\r", text, re.S):
            if part == "\r":
                self.at = 0
            elif part == "\n":
                self.lines.append("")
                self.at = 0
            elif part == "\x1b[K":
                self.lines[-1] = self.lines[-1][:self.at]
            elif part.startswith("\x1b") or part == "\x07":
                pass
            elif part == "\b":
                self.at = max(0, self.at - 1)
            else:
                if self.at >= self.columns:
                    self.wrapped = True
                    self.lines.append("")
                    self.at = 0
                line = self.lines[-1].ljust(self.at)
                self.lines[-1] = line[:self.at] + part + line[self.at + 1:]
                self.at += 1
        return self


class Terminal:
    """A shell with job control in a pseudo-terminal, and what it shows."""

    def __init__(self, pool, columns=120, argv=("bash", "--norc", "--noprofile", "-i")):
        self.bytes = b""
        self.columns = columns
        self.read_to = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(pool.env)
            os.environ.update(PS1="$ ", TERM="xterm", BERTH_HISTORY="off")
            os.environ.pop("COLUMNS", None)
            os.execvp(argv[0], argv)
        self.resize(columns)

    def send(self, text):
        os.write(self.fd, text.encode())

    def resize(self, columns):
        self.columns = columns
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def pump(self, seconds):
        """Reads for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(end - time.monotonic())

    def _read(self, seconds):
        if not select.select([self.fd], [], [], max(0, seconds))[0]:
            return False
        self.bytes += os.read(self.fd, 65536)
        return True

    def expect(self, pattern, timeout=10):
        """Waits until this shows in what was written after what was expected before; the match."""
        end = time.monotonic() + timeout
        while True:
            found = re.compile(pattern, re.S).search(self.text(), self.read_to)
            if found:
                self.read_to = found.end()
                return found
            if time.monotonic() >= end:
                fail(f"{pattern!r} does not show; written: {self.bytes[-1500:]!r}")
            self._read(end - time.monotonic())

    def text(self):
        return self.bytes.decode(errors="replace")

    def screen(self):
        return Screen(self.columns).feed(self.text())

    def close(self):
        os.close(self.fd)
        kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def bash(pool, columns=120):
    terminal = Terminal(pool, columns)
    terminal.expect(r"\$ ")
    return terminal


def hold(pool, *words):
    before = len(pool.leases("held"))
    process = pool.spawn("run", *words, "--", "sleep", "1000")
    pool.wait_for(held=before + 1)
    return process


WAIT = f"{berth()} run -r slot=1"


def test_one_line_written_over_and_gone_when_the_wait_is_over():
    with Pool(slot=1) as pool:
        first = hold(pool, "-r", "slot=1", "--expect", "1h", "--label", "first")
        before = pool.spawn("run", "-r", "slot=1", "--label", "before", "--", "sleep", "1000")
        pool.wait_for(waiting=1)
        terminal = bash(pool)
        terminal.send(f"{WAIT} -- echo and-then\n")
        terminal.expect(r"berth: waiting for 1 slot: slot is held by first \(\w+, \d+ min left\), no telling how long; 1 ahead of you")
        kill(first.pid, signal.SIGTERM)
        terminal.expect(r"slot is held by before \(\w+\), no telling how long\x1b\[K")
        kill(before.pid, signal.SIGTERM)
        terminal.expect("and-then")
        terminal.expect(r"\$ ")
        lines = terminal.screen().lines
        check("and-then" in lines and not any("waiting for" in line for line in lines), f"{lines}")
        terminal.close()


def test_nothing_is_written_while_nothing_changes():
    with Pool(slot=1) as pool:
        hold(pool, "-r", "slot=1")
        terminal = bash(pool)
        terminal.send(f"{WAIT} -- true\n")
        terminal.expect("no telling how long")
        terminal.pump(0.3)
        written = len(terminal.bytes)
        terminal.pump(6)
        check(len(terminal.bytes) == written, f"{terminal.bytes[written:]!r}")
        terminal.close()


def test_it_never_wraps():
    with Pool(slot=1) as pool:
        hold(pool, "-r", "slot=1", "--expect", "1h", "--label", "a label of great length, as some are")
        for columns in (20, 40, 60, 80, 120, 200):
            terminal = bash(pool, columns=columns)
            terminal.send("clear\n")
            terminal.expect(r"\$ ")
            start = len(terminal.bytes)
            # A short word, so that the shell's own echo does not wrap.
            with open(f"{pool.tmp}/w", "w") as f:
                f.write(f"#!/bin/sh\nexec {WAIT} -- true\n")
            os.chmod(f"{pool.tmp}/w", 0o755)
            terminal.send(f"cd {pool.tmp}; clear\n")
            terminal.expect(r"\$ ")
            start = len(terminal.bytes)
            terminal.send("./w\n")
            terminal.expect("waiting")
            terminal.pump(0.2)
            terminal.send("\x03")
            terminal.expect(r"\$ ")
            screen = Screen(columns).feed(terminal.bytes[start:].decode())
            check(not screen.wrapped, f"{columns}: {screen.lines}")
            terminal.close()
        terminal = bash(pool, columns=10)
        terminal.send(f"{WAIT} -- true\n")
        terminal.expect("waiting for 1 slot: .*\r\n")
        terminal.close()


def test_it_follows_the_window():
    with Pool(slot=1) as pool:
        hold(pool, "-r", "slot=1", "--expect", "1h", "--label", "a-label")
        terminal = bash(pool, columns=120)
        terminal.send(f"{WAIT} -- true\n")
        terminal.expect(r"held by a-label \(")
        terminal.pump(1.1)
        terminal.resize(60)
        terminal.expect(r"\rberth: waiting for 1 slot: (slot is held by a-label, )?about \d+ (min|h)\x1b")
        terminal.close()


def test_it_follows_the_window_without_the_lock():
    with Pool(slot=1) as pool:
        hold(pool, "-r", "slot=1", "--expect", "1h", "--label", "a-label")
        for ahead in range(1, 7):  # so that it does not look by itself for a while
            pool.spawn("run", "-r", "slot=1", "--", "true")
            pool.wait_for(waiting=ahead)
        terminal = bash(pool, columns=120)
        terminal.send(f"{WAIT} -- true\n")
        terminal.expect(r"held by a-label \(")
        lock = os.open(pool.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        terminal.resize(60)
        terminal.expect(r"\rberth: waiting for 1 slot: [^\r]*\x1b\[K", timeout=5)
        check("lock" not in terminal.text(), f"it waits for the lock: {terminal.text()!r}")
        os.close(lock)
        terminal.close()


def test_ctrl_c_and_ctrl_z_leave_it_clean():
    with Pool(slot=1) as pool:
        holder = hold(pool, "-r", "slot=1")
        terminal = bash(pool)
        terminal.send(f"{WAIT} -- echo and-then\n")
        terminal.expect("no telling how long")
        terminal.send("\x1a")
        terminal.expect("Stopped")
        terminal.expect(r"\$ ")
        check(not any("waiting for" in line for line in terminal.screen().lines), f"Ctrl-Z: {terminal.screen().lines}")
        wait_until(lambda: "stopped" in pool.run("status").stdout, 10, "it to step aside")
        # In the background it keeps off the line that somebody types in.
        terminal.send("bg\n")
        terminal.expect("berth: waiting for 1 slot: [^\r]*\r\n")
        terminal.send("fg\n")
        terminal.expect(r"\rberth: waiting for 1 slot")
        terminal.send("\x03")
        terminal.expect(r"\$ ")
        terminal.send("echo status=$?\n")
        terminal.expect("status=130")
        lines = terminal.screen().lines
        check(sum("waiting for 1 slot" in line for line in lines) == 1, f"the one from the background: {lines}")
        check(len(pool.leases()) == 1 and holder.poll() is None, "it has left the line")
        terminal.close()


def test_a_hold_in_a_substitution_shows_it_too():
    with Pool(slot=1) as pool:
        holder = hold(pool, "-r", "slot=1", "--label", "first")
        terminal = bash(pool)
        terminal.send(f"id=$({berth()} hold -r slot=1 --for $$ --ttl 60s); echo got=${{#id}}\n")
        terminal.expect("slot is held by first")
        kill(holder.pid, signal.SIGTERM)
        terminal.expect("got=10")
        check(not any("waiting for" in line for line in terminal.screen().lines), f"{terminal.screen().lines}")
        terminal.close()


def test_whatever_ends_the_wait_leaves_it_clean():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        for words in ("run -r slot=1 -- true", "hold -r slot=1 --for $$"):
            with Pool(slot=1) as pool:
                hold(pool, "-r", "slot=1")
                terminal = bash(pool)
                terminal.send(f"{berth()} {words}\n")
                terminal.expect("no telling how long")
                kill(children(terminal.pid)[0], number)
                terminal.expect(r"\$ ")
                lines = terminal.screen().lines
                check(not any("waiting for" in line for line in lines), f"{number.name}: {lines}")
                terminal.close()


def check_last_word(command, word):
    """A wait that ends by itself says why on a line of its own, and leaves nothing of the line that was there."""
    with Pool(slot=1) as pool:
        hold(pool, "-r", "slot=1")
        terminal = bash(pool)
        terminal.send(f"{command}\n")
        terminal.expect("no telling how long")
        terminal.expect(word)
        terminal.expect(r"\$ ")
        lines = terminal.screen().lines
        check(f"berth: {word}" in lines, f"{lines}")
        check(not any("waiting for" in line for line in lines), f"{lines}")
        terminal.close()


def test_the_word_of_an_ended_process_is_on_a_line_of_its_own():
    check_last_word(f"sleep 1 & {berth()} hold -r slot=1 --for $!", "hold: the process to hold for has ended")


def test_the_time_out_is_said_on_a_line_of_its_own():
    check_last_word(f"{WAIT} --timeout 1s -- true", "gave up after 1 s without a place")


def test_of_many_in_one_terminal_one_has_the_line():
    with Pool(slot=1) as pool:
        holder = hold(pool, "-r", "slot=1")
        terminal = bash(pool)
        terminal.send(f"sh -c 'for i in 1 2 3 4 5 6 7 8; do {WAIT} -- true & done; wait'\n")
        pool.wait_for(held=1, waiting=8)
        terminal.expect("waiting for")
        terminal.pump(1.5)
        lines = [line for line in terminal.screen().lines if "waiting for" in line]
        check(len(lines) == 1, f"{terminal.screen().lines}")
        check(terminal.text().count("waiting for") <= 3, f"they write over one another: {terminal.bytes!r}")
        kill(holder.pid, signal.SIGTERM)
        wait_exit(holder)
        pool.wait_for(held=0, waiting=0)
        terminal.expect(r"\$ ")
        check(not any("waiting for" in line for line in terminal.screen().lines), f"{terminal.screen().lines}")
        terminal.close()


def test_a_terminal_that_takes_nothing_keeps_nobody_from_his_place():
    with Pool(slot=1) as pool:
        holder = hold(pool, "-r", "slot=1")
        terminal = bash(pool)
        terminal.send(f"{WAIT} -- touch {pool.tmp}/ran\n")
        pool.wait_for(held=1, waiting=1)
        terminal.send("\x13")  # Ctrl-S
        terminal.pump(1)
        kill(holder.pid, signal.SIGTERM)
        wait_until(lambda: os.path.exists(f"{pool.tmp}/ran"), 10, "the waiter to get its turn", pool)
        terminal.send("\x11")
        terminal.close()


main([f for name, f in list(globals().items()) if name.startswith("test_")])
