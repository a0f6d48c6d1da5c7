"""status for people: in windows of any width, with leases inside leases, long names and many waiters."""
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

from berthtest import Pool, berth, check, main, wait_until


def shown(pool, width):
    """What status prints into a window of so many columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with subprocess.Popen([berth(), "status"], env=pool.env, stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.PIPE) as process:
        os.close(follower)
        text = b""
        while True:
            try:
                got = os.read(leader, 65536)
            except OSError:
                break
            if not got:
                break
            text += got
        check(process.wait(10) == 0 and process.stderr.read() == b"", "status failed")
    os.close(leader)
    return text.decode().replace("\r\n", "\n").splitlines()


def crowd(pool):
    """Holders with long names, a lease with two waiters inside, and thirty waiters; {label: id}."""
    b = berth()
    pool.spawn("run", "--vram", "8G", "--label", "a server with a long name, 名前 and more", "--", "sleep", "1000")
    pool.spawn("run", "-r", "slot=1", "--", "sh", "-c", "sleep 1000 # and a long command line that goes on and on")
    pool.spawn("run", "-r", "inner=2", "--expect", "2h", "--label", "around", "--", "sh", "-c",
               f"{b} run -r inner=2 --label inner1 -- sleep 1000 & while [ $({b} status --json | grep -c inner1) = 0 ]; do :; done; "
               f"for i in 2 3; do {b} run -r inner=1 --label inner$i -- true & done; wait")
    pool.wait_for(held=4, waiting=2)
    for i in range(30):
        pool.spawn("run", "-r", "slot=1", "-p", str(i % 3), "--label", f"w{i}", "--", "true")
    return pool.wait_for(held=4, waiting=32)


def test_it_fits_the_window():
    with Pool(slot=1, inner=2, sim_gpus="2x24G") as pool:
        told = crowd(pool)
        for width in (50, 60, 80, 100, 132, 200, 300):
            lines = shown(pool, width)
            wide = [line for line in lines if len(line) + line.count("名") + line.count("前") > width and not line.startswith("pool ")]
            check(not wide, f"wider than {width}: {wide}")
            text = "\n".join(lines)
            for lease in told["leases"]:
                check(sum(line.split()[0].startswith(lease["id"][:4]) for line in lines if line.strip()) == 1, f"{lease['id']} at {width}:\n{text}")
            for word in ("held", "around", "inner1", "w29", "24 GiB", "slot"):
                check(word in text, f"no {word!r} at {width}:\n{text}")
            check("held by" in text or width < 80, f"why, at {width}:\n{text}")
            check(re.search("around.*", text) and re.search(r" (2 h|1 h 59 min) ", text) or width < 80, f"until when, at {width}:\n{text}")
        # In a pipe nothing is cut.
        piped = pool.run("status").stdout
        check(all(lease["id"] in piped for lease in told["leases"]) and "SIM-1" in piped, piped)


def test_each_line_is_numbered_on_its_own():
    with Pool(slot=1, inner=2, sim_gpus="2x24G") as pool:
        told = crowd(pool)
        parents = {lease["label"]: lease["parent"] for lease in told["leases"]}
        check(parents["inner2"] and parents["inner2"] == parents["inner3"] == parents["inner1"], f"{parents}")
        top = [lease for lease in told["leases"] if lease["state"] == "waiting" and not lease["parent"]]
        inner = [lease for lease in told["leases"] if lease["state"] == "waiting" and lease["parent"]]
        check([lease["position"] for lease in top] == list(range(1, 31)), f"{[lease['position'] for lease in top]}")
        check([lease["position"] for lease in inner] == [1, 2], f"{[lease['position'] for lease in inner]}")
        # Whoever is inside a lease stands below it, a little to the right.
        lines = pool.run("status").stdout.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith(parents["inner1"]))
        below = lines[at + 1:at + 4]
        check(all(line.startswith("  ") for line in below) and not lines[at + 4].startswith(" "), f"{below}")
        check("held" in below[0] and "waits, 1" in below[1] and "waits, 2" in below[2], f"{below}")


def test_one_who_steps_aside_is_shown_as_stopped():
    with Pool(slot=1) as pool:
        pool.spawn("run", "-r", "slot=1", "--", "sleep", "1000")
        pool.wait_for(held=1)
        waiter = pool.spawn("run", "-r", "slot=1", "--label", "aside", "--", "true")
        pool.wait_for(held=1, waiting=1)
        waiter.send_signal(20)
        wait_until(lambda: "stopped" in pool.run("status").stdout, 10, "the waiter to step aside")
        check(any("stopped" in line and "aside" in line for line in shown(pool, 80)), "in a window")
        waiter.send_signal(18)


main([test_it_fits_the_window, test_each_line_is_numbered_on_its_own, test_one_who_steps_aside_is_shown_as_stopped])
