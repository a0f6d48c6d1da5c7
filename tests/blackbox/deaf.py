"""Nobody reads stderr and it is full, or its terminal stands still: berth goes on without a word."""
import fcntl
import os
import pty
import re
import signal
import termios

from berthtest import Pool, check, children, job_of, kill, main, pid_ended, wait_exit, wait_until

SLOT = ["run", "-r", "slot=1"]


class FullPipe:
    """A pipe without room for a single byte, whose write end blocks as any other does."""

    def __enter__(self):
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETFL, os.O_WRONLY | os.O_NONBLOCK)
        for size in (4096, 1):
            try:
                while True:
                    os.write(self.writer, b"x" * size)
            except BlockingIOError:
                pass
        fcntl.fcntl(self.writer, fcntl.F_SETFL, os.O_WRONLY)
        return self

    def __exit__(self, *_):
        os.close(self.reader)
        os.close(self.writer)

    def drain(self):
        """All that stands in it, without the filling."""
        fcntl.fcntl(self.reader, fcntl.F_SETFL, os.O_RDONLY | os.O_NONBLOCK)
        said = b""
        try:
            while True:
                said += os.read(self.reader, 1 << 16)
        except BlockingIOError:
            return said.lstrip(b"x").decode()

    def is_left_blocking(self):
        return fcntl.fcntl(self.writer, fcntl.F_GETFL) & os.O_NONBLOCK == 0


def hold(pool):
    before = len(pool.leases("held"))
    process = pool.spawn(*SLOT, "--", "sleep", "1000")
    pool.wait_for(held=before + 1)
    return process


def deaf_waiter(pool, stderr, *command, words=(), **kw):
    """Stands in line and has had something to say of that: who came later has said it."""
    waiter = pool.spawn(*SLOT, *words, "--", *command, stderr=stderr, **kw)
    pool.wait_for(waiting=1)
    hears = pool.spawn(*SLOT, "--", "true")
    wait_until(lambda: "waiting for 1 slot" in pool.err(hears), 10, "the second to speak", pool)
    kill(hears.pid, signal.SIGTERM)
    wait_exit(hears, 5, pool)
    return waiter


def test_a_waiter_can_be_ended():
    with Pool(slot=1) as pool, FullPipe() as pipe:
        hold(pool)
        waiter = deaf_waiter(pool, pipe.writer, "true")
        kill(waiter.pid, signal.SIGTERM)
        check(wait_exit(waiter, 5, pool) == -signal.SIGTERM, f"{waiter.returncode}")
        check(pipe.is_left_blocking(), "the descriptor is everybody's")


def test_a_waiter_gets_its_place_and_is_heard_again_when_there_is_room():
    with Pool(slot=1) as pool, FullPipe() as pipe:
        holder = hold(pool)
        waiter = deaf_waiter(pool, pipe.writer, "sleep", "1000", words=["--limit", "300ms"])
        first = pipe.drain()  # it may just have been about to drop it
        check(first == "" or first.startswith("berth: waiting for "), f"{first!r}")
        kill(holder.pid, signal.SIGTERM)
        check(wait_exit(waiter, 5, pool) == 128 + signal.SIGTERM, f"{waiter.returncode}")
        said = pipe.drain()
        check(re.fullmatch(r"(berth: waiting for .*\n)?berth: it has run for 300 ms \(--limit\), so it is ended\n", said),
              f"whole lines, and the last: {said!r}")


def test_a_limit_ends_the_command():
    with Pool(slot=1) as pool, FullPipe() as pipe:
        limited = pool.spawn(*SLOT, "--limit", "200ms", "--", "sleep", "1000", stderr=pipe.writer)
        check(wait_exit(limited, 5, pool) == 128 + signal.SIGTERM, f"{limited.returncode}")
        stubborn = pool.spawn(*SLOT, "--limit", "200ms", "--grace", "200ms", "--", "sh", "-c",
                              "trap '' TERM; while :; do sleep 0.05; done", stderr=pipe.writer)
        check(wait_exit(stubborn, 5, pool) == 128 + signal.SIGKILL, f"{stubborn.returncode}")


def test_after_a_lost_lease_signals_and_limits_are_heeded():
    with Pool(slot=1) as pool, FullPipe() as pipe:
        def lose(*words):
            process = pool.spawn(*SLOT, *words, "--", "sleep", "1000", stderr=pipe.writer)
            pool.wait_for(held=1)
            job = job_of(process)
            record = [name for name in os.listdir(pool.path) if name.startswith("h1")]
            check(len(record) == 1, f"{os.listdir(pool.path)}")
            os.unlink(os.path.join(pool.path, record[0]))
            pool.wait_for(held=1)  # entered again, and said so
            return process, job

        told, job = lose()
        kill(told.pid, signal.SIGTERM)
        check(wait_exit(told, 5, pool) == 128 + signal.SIGTERM, f"{told.returncode}")
        pid_ended(job)
        limited, job = lose("--limit", "2s")
        check(wait_exit(limited, 8, pool) == 128 + signal.SIGTERM, f"{limited.returncode}")
        pid_ended(job)


def test_who_is_asked_to_give_way_does():
    with Pool(slot=1) as pool, FullPipe() as pipe:
        pool.spawn(*SLOT, "--reclaimable", "--on-reclaim", "for i in 1 2 3 4 5 6 7 8 9; do echo $i; done", "--", "sleep", "1000",
                   stderr=pipe.writer)
        pool.wait_for(held=1)
        asks = pool.spawn(*SLOT, "-p", "5", "--", "true")
        check(wait_exit(asks, 8, pool) == 0, pool.err(asks))


def test_the_last_words_hang_nobody():
    with Pool(slot=1) as pool, FullPipe() as pipe:
        hold(pool)
        for words, status in ((["run", "-r", "slot=2", "--", "true"], 3), ([*SLOT, "--no-wait", "--", "true"], 75),
                              ([*SLOT, "--timeout", "100ms", "--", "true"], 124), (["run", "--nonsense"], 2), (["nonsense"], 2)):
            done = pool.run(*words, stderr=pipe.writer, timeout=6)
            check(done.returncode == status, f"{words}: exit {done.returncode}")


def test_the_last_word_waits_for_a_reader():
    with Pool(slot=1) as pool, FullPipe() as pipe:
        hold(pool)
        done = pool.spawn(*SLOT, "--no-wait", "--", "true", stderr=pipe.writer)
        in_poll = lambda: any(call in _wchan(done.pid) for call in ("poll", "pipe_write"))  # noqa: E731
        wait_until(in_poll, 5, "it to find the pipe full", pool)
        said = pipe.drain()
        check(wait_exit(done, 5, pool) == 75, f"{done.returncode}")
        said += pipe.drain()
        check(said.startswith('{"error":"busy"') and said.endswith("}\n"), said)


def _wchan(pid):
    try:
        with open(f"/proc/{pid}/wchan", encoding="ascii") as f:
            return f.read()
    except OSError:
        return ""


def test_a_terminal_that_stands_still():
    with Pool(slot=1) as pool:
        holder = hold(pool)
        master, slave = pty.openpty()
        termios.tcflow(slave, termios.TCOOFF)  # as Ctrl-S does
        waiter = deaf_waiter(pool, slave, "sleep", "1000", env={**pool.env, "TERM": "dumb"})
        kill(waiter.pid, signal.SIGTERM)
        check(wait_exit(waiter, 5, pool) == -signal.SIGTERM, f"{waiter.returncode}")
        limited = pool.spawn(*SLOT, "--limit", "200ms", "--", "sleep", "1000", stderr=slave)
        pool.wait_for(waiting=1)
        kill(holder.pid, signal.SIGTERM)
        check(wait_exit(limited, 5, pool) == 128 + signal.SIGTERM, f"{limited.returncode}")
        check(not children(limited.pid), "nobody is left")
        termios.tcflow(slave, termios.TCOON)
        os.close(master)
        os.close(slave)


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
