#!/usr/bin/env python3
"""Ten models on one card take turns of 5 ms: for how much of the time somebody has the turn.

Each of ten residents is a shell in a lease (--vram 2G of one simulated card) that takes one turn after the other
with `berth run --turn -- TURN`. TURN is a small static C program that reads the clock first thing in main(), sleeps
for 5 ms, reads the clock again and appends both to a file. Share of the time: the sum of (end - start) of the turns
between the 50th and the last 50 of them, over the time from the first of those starts to the last of those ends. So
all that lies between two turns counts against it: the end of TURN's process, berth's notice of that, the release,
the wake-up of the next, its seat, and the start of its TURN up to main(). Beside it the same with `flock FILE TURN`
in place of `berth run --turn -- TURN`. And once more for residents that stay: one C program each that asks a
`berth run --turn` beside it over two pipes, or takes flock() itself; it reads the clock when it has been told that it
has the turn, and before it says that it gives it back. In rounds, one after the other.
"""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

RESIDENTS = 10
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = 4.0
BERTH = os.path.abspath(os.environ.get("BERTH", os.path.join(os.path.dirname(__file__), "..", "build", "berth")))

TURN = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
/* turn LOG US WHO                one turn
   turn LOG US WHO STOP lock FILE       many, by flock(), until STOP is there
   turn LOG US WHO STOP pipe BERTH...   many, by what BERTH... says over two pipes */
static int fd;
static void stay(struct timespec* a, long us) {
  struct timespec t = {us / 1000000, us % 1000000 * 1000};
  clock_gettime(CLOCK_MONOTONIC, a);
  if (us > 0) nanosleep(&t, NULL);
}
static int tell(struct timespec a, struct timespec b, const char* who) {
  char line[96];
  int n = snprintf(line, sizeof line, "%lld %lld %s\n", a.tv_sec * 1000000000LL + a.tv_nsec,
                   b.tv_sec * 1000000000LL + b.tv_nsec, who);
  return write(fd, line, n) == n ? 0 : 1;
}
int main(int argc, char** argv) {
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  if (argc < 4) return 2;
  long us = atol(argv[2]);
  fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (argc < 7) {
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    if (us > 0) nanosleep(&t, NULL);
    clock_gettime(CLOCK_MONOTONIC, &b);
    return tell(a, b, argv[3]);
  }
  int lock = -1, to[2], from[2];
  char answer[16];
  if (strcmp(argv[5], "lock") == 0) {
    lock = open(argv[6], O_RDWR | O_CREAT, 0644);
  } else {
    if (pipe(to) != 0 || pipe(from) != 0) return 1;
    if (fork() == 0) {
      dup2(to[0], 0), dup2(from[1], 1);
      close(to[0]), close(to[1]), close(from[0]), close(from[1]);
      execv(argv[6], argv + 6);
      _exit(127);
    }
  }
  while (access(argv[4], F_OK) != 0) {
    if (lock >= 0) flock(lock, LOCK_EX);
    if (lock < 0 && (write(to[1], "take\n", 5) != 5 || read(from[0], answer, sizeof answer) != 5)) return 1;
    stay(&a, us);
    clock_gettime(CLOCK_MONOTONIC, &b);
    if (lock >= 0) flock(lock, LOCK_UN);
    if (lock < 0 && write(to[1], "give\n", 5) != 5) return 1;
    tell(a, b, argv[3]);
  }
  return 0;
}
"""


def compiled(place):
    source = os.path.join(place, "turn.c")
    with open(source, "w", encoding="ascii") as f:
        f.write(TURN)
    program = os.path.join(place, "turn")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-static", "-o", program, source], check=True)
    return program


def run_residents(place, env, body, residents=RESIDENTS):
    """Lets them take turns for a while; the turns as (start, end, who) in order."""
    log = os.path.join(place, "log")
    stop = os.path.join(place, "stop")
    for path in (log, stop):
        if os.path.exists(path):
            os.unlink(path)
    started = []
    for who in range(residents):
        words = body.format(log=log, stop=stop, who=who)
        started.append(subprocess.Popen([BERTH, "run", "--vram", "2G", "--", "sh", "-c", words], env=env))
    time.sleep(SECONDS)
    with open(stop, "w", encoding="ascii"):
        pass
    for process in started:
        if process.wait() != 0:
            sys.exit("turns: a resident failed")
    with open(log, encoding="ascii") as f:
        return sorted((int(a), int(b), who.strip()) for a, b, who in (line.split(" ") for line in f))


def share(turns):
    """Of the time, and the median gap between a turn and the next, in ms."""
    middle = turns[50:-50] if len(turns) > 200 else turns[5:-5]
    for (_, end, _), (start, _, _) in zip(middle, middle[1:]):
        if start < end:
            sys.exit("turns: two had it at once")
    had = sum(end - start for start, end, _ in middle)
    gaps = [(b[0] - a[1]) / 1e6 for a, b in zip(middle, middle[1:])]
    return had / (middle[-1][1] - middle[0][0]), statistics.median(gaps), len(middle)


def rotation(turns):
    """How many of the turns came ten after the last one of the same resident."""
    order = [who for _, _, who in (turns[50:-50] if len(turns) > 200 else turns[10:-10])]
    return sum(a == b for a, b in zip(order, order[RESIDENTS:])) / max(1, len(order) - RESIDENTS)


def alone_ms(env, place, words, rounds=200):
    """From just before the words are started to the first line of main(): the median."""
    log = os.path.join(place, "alone")
    told = []
    for _ in range(rounds):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        subprocess.run([*words, os.path.join(place, "turn"), log, "0", "x"], env=env, check=True)
        with open(log, encoding="ascii") as f:
            told.append((int(f.read().split()[-3]) - before) / 1e6)
        os.unlink(log)
    return statistics.median(told)


def main():
    if not shutil.which(os.environ.get("CC", "cc")):
        sys.exit(77)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        env = dict(os.environ, BERTH_POOL=os.path.join(place, "pool"), XDG_STATE_HOME=os.path.join(place, "state"),
                   BERTH_SIM_GPUS="1x24G", BERTH_HISTORY="off")
        turn = compiled(place)
        for turn_us in (5_000, 50_000):
            loop = f"while [ ! -e {{stop}} ]; do %s {turn} {{log}} {turn_us} {{who}} || exit 1; done"
            stays = f"exec {turn} {{log}} {turn_us} {{who}} {{stop}} %s"
            bodies = {
                "berth run --turn -- CMD": loop % f"{BERTH} run --turn --",
                "flock FILE CMD": loop % f"flock {place}/lock",
                "berth run --turn, a pipe": stays % f"pipe {BERTH} run --turn",
                "flock()": stays % f"lock {place}/lock",
            }
            for name, body in bodies.items():
                seen = [run_residents(place, env, body) for _ in range(ROUNDS)]
                shares = [share(turns) for turns in seen]
                print(f"turns of {turn_us // 1000:2} ms, {name:24} somebody has it "
                      f"{100 * statistics.median(s[0] for s in shares):5.1f} % of the time "
                      f"({', '.join(f'{100 * s[0]:.1f}' for s in shares)}), between two "
                      f"{statistics.median(s[1] for s in shares):.3f} ms, in rotation "
                      f"{100 * statistics.median(rotation(t) for t in seen):.0f} %", flush=True)
        inside = [BERTH, "run", "--vram", "2G", "--", sys.executable, os.path.abspath(__file__), "alone", place]
        subprocess.run(inside, env=env, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        where = sys.argv[2]
        print(f"from the call to main() of the command, alone: berth run --turn {alone_ms(os.environ, where, [BERTH, 'run', '--turn', '--']):.3f} ms, "
              f"flock FILE {alone_ms(os.environ, where, ['flock', where + '/lock']):.3f} ms, "
              f"nothing {alone_ms(os.environ, where, []):.3f} ms")
    else:
        main()
