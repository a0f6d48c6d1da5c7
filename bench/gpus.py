#!/usr/bin/env python3
"""What believing the driver costs, on the stand-in of tests/standin/nvml: `berth run --gpus 1 -- true` and
`berth status`, each beside a small C program that loads the library and asks it the same, turn by turn.

A real driver's calls take as long as they take; what is ours is the rest."""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "blackbox"))
from berthtest import Pool, berth, descendants, job_of, wait_until  # noqa: E402 pylint: disable=wrong-import-position
from gpukit import Card, Gpus  # noqa: E402 pylint: disable=wrong-import-position

ROUNDS = int(os.environ.get("ROUNDS", "200"))

# Every question that a probe asks of a card without links, in the order of src/device/nvml.cc.
QUESTIONS = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
typedef int (*call)();
int main(void) {
  void* lib = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!lib) return 1;
  char text[96];
  static char room[64 * 32];
  unsigned count = 0, number = 0, two[2];
  void* card = 0;
  if (((call)dlsym(lib, "nvmlInit_v2"))() != 0) return 2;
  ((call)dlsym(lib, "nvmlDeviceGetCount_v2"))(&count);
  for (unsigned i = 0; i < count; ++i) {
    ((call)dlsym(lib, "nvmlDeviceGetHandleByIndex_v2"))(i, &card);
    ((call)dlsym(lib, "nvmlDeviceGetUUID"))(card, text, 96);
    ((call)dlsym(lib, "nvmlDeviceGetPciInfo_v3"))(card, room);
    ((call)dlsym(lib, "nvmlDeviceGetMigMode"))(card, &two[0], &two[1]);
    ((call)dlsym(lib, "nvmlDeviceGetName"))(card, text, 96);
    unsigned version = 0x02000028;
    memcpy(room, &version, 4);
    ((call)dlsym(lib, "nvmlDeviceGetMemoryInfo_v2"))(card, room);
    ((call)dlsym(lib, "nvmlDeviceGetComputeMode"))(card, &number);
    const char* lists[] = {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v3",
                           "nvmlDeviceGetGraphicsRunningProcesses_v3"};
    for (int list = 0; list < 3; ++list) {
      number = 64;
      ((call)dlsym(lib, lists[list]))(card, &number, room);
    }
    ((call)dlsym(lib, "nvmlDeviceGetUtilizationRates"))(card, two);
  }
  ((call)dlsym(lib, "nvmlShutdown"))();
  dlclose(lib);
  return count == 0;
}
"""


def compiled(place):
    source = os.path.join(place, "questions.c")
    with open(source, "w", encoding="ascii") as f:
        f.write(QUESTIONS)
    program = os.path.join(place, "questions")
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    subprocess.run([compiler, "-O2", "-w", "-o", program, source, "-ldl"], check=True)
    return program


def wall_ms(argv, env, out):
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1)])
    _, status = os.waitpid(pid, 0)
    took = (time.perf_counter() - start) * 1e3
    if status != 0:
        sys.exit(f"{' '.join(argv)}: status {status}")
    return took


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def in_turns(env, commands):
    """{name: walls in ms} of each of the commands, in turns."""
    walls = {name: [] for name in commands}
    with open(os.devnull, "wb") as null:
        for i in range(ROUNDS + 10):
            for name, argv in commands.items() if i % 2 else reversed(commands.items()):
                took = wall_ms(argv, env, null.fileno())
                if i >= 10:
                    walls[name].append(took)
    return walls


def line(what, ours, beside, theirs):
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{what:44} {a:9.3f} {quantile(ours, .99):9.3f}   {beside:24} {b:8.3f} {quantile(theirs, .99):8.3f}   {a / b:6.2f}")


def cards(count):
    return [Card(f"GPU-{i:08d}", f"0000:{16 + i:02x}:00.0") for i in range(count)]


def claim(count, program):
    with Gpus(*cards(count)) as gpus, Pool(env=gpus.env) as pool:
        walls = in_turns(pool.env, {"gpu": [berth(), "run", "--gpus", "1", "--", "/bin/true"],
                                    "cpu": [berth(), "run", "--cpu", "1", "--", "/bin/true"], "driver": [program]})
        line(f"berth run --gpus 1 -- true, {count} GPUs, ms", walls["gpu"], "the driver's calls in C", walls["driver"])
        ours = statistics.median(g - d for g, d in zip(walls["gpu"], walls["driver"]))
        book = statistics.median(g - c - d for g, c, d in zip(walls["gpu"], walls["cpu"], walls["driver"]))
        print(f"    over the driver's calls {ours:.3f} ms; over them and a CPU claim {book:.3f} ms")


def status(program):
    """8 GPUs with 100 processes on them: half are of 8 leases, half of nobody's."""
    with Gpus(*cards(8)) as gpus, Pool(env=gpus.env) as pool:
        leases = [pool.spawn("run", "--vram", "16G", "--only", i, "--", "sh", "-c",
                             "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait") for i in range(8)]
        for lease in leases:
            wait_until(lambda p=lease: job_of(p) and len(descendants(job_of(p))) == 6, 20, "the leases", pool)
        pids = [descendants(job_of(lease)) for lease in leases]
        with Strangers(pool, 100 - sum(map(len, pids))) as strangers:
            for i, pid in enumerate(strangers):
                pids[i % 8].append(pid)
            for i, card in enumerate(gpus.cards):
                card.used = f"{len(pids[i]) * 100}M"
                card.processes = [f"{pid} 100M" for pid in pids[i]]
            gpus.write()
            walls = in_turns(pool.env, {"status": [berth(), "status"], "json": [berth(), "status", "--json"], "driver": [program]})
            line("berth status, 8 GPUs, 100 processes, ms", walls["status"], "the driver's calls in C", walls["driver"])
            line("berth status --json, the same, ms", walls["json"], "the driver's calls in C", walls["driver"])


class Strangers:
    """So many processes without a lease; their ids."""

    def __init__(self, pool, count):
        self.pool = pool
        self.count = count

    def __enter__(self):
        self.processes = [subprocess.Popen(["sleep", "1000"], env=self.pool.env) for _ in range(self.count)]  # pylint: disable=consider-using-with
        return [p.pid for p in self.processes]

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        return False


def main():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        program = compiled(scratch)
        for count in (1, 8):
            claim(count, program)
        status(program)


if __name__ == "__main__":
    main()
