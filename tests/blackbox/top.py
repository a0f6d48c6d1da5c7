"""berth top: the status, live, on a screen that is left as it was; piped, one picture after the other."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from berthtest import Pool, berth, check, fail, main

OURS, BACK = b"\x1b[?1049h", b"\x1b[?1049l"


class Window:
    """berth top in a terminal of its own, and all that it wrote there."""

    def __init__(self, pool, rows=24, columns=100):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns, tell=False)
        self.before = termios.tcgetattr(self.slave)
        self.bytes = b""
        self.process = subprocess.Popen([berth(), "top"], env=pool.env, stdin=self.slave, stdout=self.slave,  # pylint: disable=consider-using-with
                                        stderr=self.slave, start_new_session=True)

    def resize(self, rows, columns, tell=True):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def read_until(self, wanted, what, timeout=15.0):
        """What came, from now on, until `wanted(that)`."""
        got, until = b"", time.monotonic() + timeout
        while not wanted(got):
            if not select.select([self.master], [], [], max(0, until - time.monotonic()))[0]:
                fail(f"{what} did not come: {got[-600:]!r}")
            got += os.read(self.master, 65536)
        self.bytes += got
        return got

    def shows(self, word, timeout=15.0):
        return self.read_until(lambda got: word in got, word, timeout)

    def ends(self):
        """The exit status, and that the terminal is as it was."""
        if not self.bytes.count(BACK):
            self.shows(BACK)
        code = self.process.wait(15)
        check(self.bytes.count(OURS) == self.bytes.count(BACK), "the screen is not given back")
        check(termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was")
        return code


def test_it_shows_what_changes_and_ends_by_q():
    with Pool(sim_gpus="1x24G") as pool:
        window = Window(pool)
        window.shows(OURS)
        window.shows(b"Nobody holds")
        pool.spawn("run", "--label", "comes-along", "--", "sleep", "300")
        window.shows(b"comes-along")
        pool.run("release", "--label", "comes-along")
        window.shows(b"Nobody holds")
        os.write(window.master, b"xq")
        check(window.ends() == 0, "exit 0")


def test_it_keeps_to_its_window():
    with Pool(**{f"thing{i}": 1 for i in range(40)}) as pool:
        window = Window(pool, rows=10)
        frame = window.read_until(lambda got: b"\x1b[J" in got, "a picture")
        check(frame.count(b"\r\n") == 9, f"{frame!r}")
        window.resize(20, 60)
        window.read_until(lambda got: any(f.count(b"\r\n") == 19 for f in got.split(b"\x1b[H")), "20 lines")
        window.process.terminate()
        check(window.ends() == -signal.SIGTERM, "ended by the signal")


def test_it_gives_the_screen_back_whatever_ends_it():
    for how in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        with Pool(slot=1) as pool:
            window = Window(pool)
            window.shows(b"slot")
            window.process.send_signal(how)
            check(window.ends() == -how, f"{how}")


def test_it_gives_the_screen_back_while_it_is_stopped():
    with Pool(slot=1) as pool:
        window = Window(pool)
        window.shows(b"slot")
        window.process.send_signal(signal.SIGTSTP)
        window.shows(BACK)
        os.waitid(os.P_PID, window.process.pid, os.WSTOPPED)
        check(termios.tcgetattr(window.slave) == window.before, "the terminal is not as it was")
        window.process.send_signal(signal.SIGCONT)
        window.shows(OURS)
        window.shows(b"slot")
        os.write(window.master, b"q")
        window.shows(BACK)
        check(window.ends() == 0, "exit 0")


def test_piped_it_is_one_picture_after_the_other():
    with Pool(slot=1) as pool:
        with subprocess.Popen([berth(), "top"], env=pool.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as top:
            seen = 0
            while seen < 2:
                line = top.stdout.readline()
                check(line != b"" and b"\x1b" not in line, f"{line!r}")
                seen += b"pool " + pool.path.encode() in line
            top.stdout.close()
            check(top.wait(15) in (125, -signal.SIGPIPE), f"nobody reads: {top.returncode}")
            check(top.stderr.read() == b"", "said")
        done = pool.run("top", stdout=os.open("/dev/full", os.O_WRONLY))
        check(done.returncode == 125 and "No space left" in done.stderr, f"{done}")
        for wrong in ("--json", "extra"):
            done = pool.run("top", wrong)
            check(done.returncode == 2 and wrong in done.stderr, f"{done}")


if __name__ == "__main__":
    main([test_it_shows_what_changes_and_ends_by_q, test_it_keeps_to_its_window,
          test_it_gives_the_screen_back_whatever_ends_it, test_it_gives_the_screen_back_while_it_is_stopped,
          test_piped_it_is_one_picture_after_the_other])
