"""What the tests with GPUs share: a machine whose NVIDIA driver is the stand-in of tests/standin/nvml.

    with Gpus() as gpus, Pool(env=gpus.env) as pool:
        gpus.cards = [Card("GPU-a", "0000:17:00.0", total="24G"), Card("GPU-b", "0000:2a:00.0", total="24G")]
        gpus.write()                        takes effect at the driver's next start, which is every look at it
        gpus.hold(process.pid, "GPU-a", "2G")     that process has the memory, until it ends
        pool.run("run", "--", "sh", "-c", HOLD + "hold GPU-a 2G; ...")    the same from within a job

The format of the file is told in tests/standin/nvml/README.md. Without the library (a build without
tests) the test is skipped.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

from berthtest import Pool, check, fail, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))

# For a job's shell: hold UUID SIZE takes memory in the name of the shell's process, or of the one it becomes.
HOLD = 'hold() { echo "$1 $2" >"$STANDIN_HOLDERS/.$$" && mv "$STANDIN_HOLDERS/.$$" "$STANDIN_HOLDERS/$$"; }; '


def library():
    """The path of the stand-in."""
    path = os.environ.get("STANDIN_NVML_LIBRARY") or os.path.join(
        HERE, "..", "..", "build", "tests", "nvml", "libnvidia-ml.so.1")
    if not os.path.exists(path):
        print(f"no stand-in library at {path}: build the tests, or set STANDIN_NVML_LIBRARY")
        sys.exit(77)
    return os.path.abspath(path)


class Card:
    """A card or, in another's `slices`, a MIG device. None: the driver does not say. Sizes as text or bytes.

    processes   lines as after "process": "4711 2G", "4712 unknown graphics"
    more        further lines of the steering file about it
    """

    def __init__(self, uuid, pci="0000:17:00.0", name="NVIDIA Test", total="24G", used=0, reserved=0, util=0):
        self.uuid = uuid
        self.pci = pci
        self.name = name
        self.total = total
        self.used = used
        self.reserved = reserved
        self.util = util
        self.mode = "default"
        self.processes = []
        self.slices = {}  # by slot
        self.more = []

    def lines(self, head="card"):
        memory = "unsupported" if self.total is None else f"{self.total} {self.used} {self.reserved}"
        found = [f"{head} {self.uuid} {self.name}", f"pci {self.pci}", f"memory {memory}", f"mode {self.mode}"]
        if self.util is not None:
            found.append(f"util {self.util}")
        found += [f"process {process}" for process in self.processes] + self.more
        for slot, one in sorted(self.slices.items()):
            found += one.lines(f"slice {slot}")
        return found


class Gpus:
    """The cards of a machine.

    lines   further lines: "fail nvmlInit 18", "order 1 0", "hang nvmlDeviceGetUUID", "linger 500"
    env     what a program needs to find this driver
    """

    def __init__(self, *cards):
        self.cards = list(cards)
        self.lines = []
        self.root = None
        self.env = {}

    def __enter__(self):
        self.root = tempfile.mkdtemp(prefix="gpukit-", dir="/dev/shm")
        os.chmod(self.root, 0o755)
        self.holders = os.path.join(self.root, "holders")
        os.mkdir(self.holders)
        os.chmod(self.holders, 0o1777)
        path = [os.path.dirname(library())] + [p for p in [os.environ.get("LD_LIBRARY_PATH")] if p]
        self.env = {"STANDIN_NVML": os.path.join(self.root, "steer"), "STANDIN_HOLDERS": self.holders,
                    "LD_LIBRARY_PATH": ":".join(path)}
        self.write()
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root, ignore_errors=True)
        return False

    def write(self):
        """Makes the driver say what `cards` and `lines` are now; all at once."""
        lines = [line for card in self.cards for line in card.lines()] + [f"holders {self.holders}"] + self.lines
        _replace(self.env["STANDIN_NVML"], "\n".join(lines) + "\n")

    def hold(self, pid, uuid, size):
        """That process has `size` on the device for as long as it lives, and no more on others."""
        _replace(os.path.join(self.holders, str(pid)), f"{uuid} {size}\n")

    def let_go(self, pid):
        """It lives on and has given its memory back."""
        try:
            os.unlink(os.path.join(self.holders, str(pid)))
        except FileNotFoundError:
            pass


def _replace(path, text):
    fresh = os.path.join(os.path.dirname(path), "." + os.path.basename(path) + ".new")
    with open(fresh, "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(fresh, path)


def sees_everybody():
    """Whether pids as a driver numbers them mean the same here: without it nobody's memory can be told apart."""
    return os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC


def job(pool, *claim, script="", how=None, **kw):
    """`berth run CLAIM` of a shell script that knows hold(), then stays until its stdin ends. `how`: who starts it."""
    kw.setdefault("stdin", subprocess.PIPE)
    words = ["run", *claim, "--", "sh", "-c", HOLD + script + "\nread x; exit 0"]
    return how(*words, **kw) if how else pool.spawn(*words, **kw)


def end(process, timeout=10.0):
    """Ends a job() in peace; its exit status."""
    process.stdin.close()
    return process.wait(timeout)


def stranger(pool, gpus, uuid=None, size="1G", **kw):
    """A process without a lease that has `size` on a card, until it is killed."""
    process = subprocess.Popen(["sleep", "1000"], env=pool.env, **kw)  # pylint: disable=consider-using-with
    if uuid:
        gpus.hold(process.pid, uuid, size)
    return process


def leave(process):
    """Ends a stranger, by its id."""
    process.kill()
    process.wait(10)


def machine(*cards):
    """`with machine(...) as (gpus, pool)`."""
    return _Machine(cards)


class _Machine:
    def __init__(self, cards):
        self.gpus = Gpus(*cards)

    def __enter__(self):
        self.gpus.__enter__()
        self.pool = Pool(env=self.gpus.env)
        try:
            self.pool.__enter__()
        except BaseException:
            self.gpus.__exit__()
            raise
        return self.gpus, self.pool

    def __exit__(self, *_):
        self.pool.__exit__()
        self.gpus.__exit__()
        return False


def seated(pool, process, timeout=10.0):
    """Waits for it to hold; the indices of what it was granted."""
    def look():
        lease = pool.lease_of(process)
        if process.poll() is not None:
            fail(f"exit {process.returncode}: {pool.err(process)!r}")
        return lease and lease["state"] == "held" and lease
    lease = wait_until(look, timeout, f"pid {process.pid} to be seated", pool, interval=0.02)
    return [d["index"] for d in lease["granted"]["devices"]]


def waits(pool, process, *words, timeout=10.0):
    """Waits for it to wait, with these words in its reason; its lease as status shows it."""
    last = {}

    def look():
        lease = pool.lease_of(process)
        if process.poll() is not None:
            fail(f"exit {process.returncode}: {pool.err(process)!r}")
        last["lease"] = lease
        return lease and lease["state"] == "waiting" and all(w in lease["reason"] for w in words) and lease
    try:
        return wait_until(look, timeout, f"pid {process.pid} to wait with {words}", pool, interval=0.02)
    except AssertionError as e:
        return fail(f"{e}; last seen: {last['lease']}")


def says(pool, process, words):
    """Waits until a waiter has said so on stderr: it does not speak of a wait of a moment."""
    wait_until(lambda: words in pool.err(process), what=f"{words!r} on stderr", pool=pool)


def still_waits(pool, process, seconds):
    """It waits for that long, seen again and again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lease = pool.lease_of(process)
        check(lease and lease["state"] == "waiting", f"it does not wait: {lease}")
        time.sleep(0.05)


def notes(pool):
    """What status says below the table of GPUs."""
    text = pool.run("status").stdout
    return [line for line in text.splitlines() if line.startswith("GPU ") and ": " in line]
