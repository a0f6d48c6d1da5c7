"""The storm of blackbox/contention.py for as long as SECONDS says (default 600).

Half of all processes get SIGKILL, a tenth are stopped and continued (KILL_SHARE, STOP_SHARE, POPULATION
change that). Prints a line every half minute, and at the end how many were killed, how many ran, and
how many violations the witness saw. Exit 0 when none and everybody who survived was served.
"""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "blackbox"))
from berthtest import Pool, Witness, main, seed  # noqa: E402
from contention import GPUS, SLOTS, Storm, judge  # noqa: E402


def setting(name, default):
    return float(os.environ.get(name) or default)


def test_soak():
    seconds = setting("SECONDS", 600)
    rng = random.Random(seed())
    begun = time.monotonic()

    def line(storm):
        ran = storm.served + storm.cut_short
        return (f"{time.monotonic() - begun:.0f} s: {storm.total_kills} kills, {ran} runs, {storm.started} started, {storm.stops} stopped, "
                f"{len(storm.witness.violations())} violations, longest wait {storm.longest_wait:.1f} s")

    with Pool(sim_gpus=f"{GPUS}x24G", slot=SLOTS) as pool:
        storm = Storm(pool, Witness(pool), rng, population=int(setting("POPULATION", 200)), kill_share=setting("KILL_SHARE", 0.5),
                      stop_share=setting("STOP_SHARE", 0.1), job_ms=(0, 8))
        try:
            storm.blow(seconds, progress=lambda s: print(line(s), flush=True))
            storm.calm_down()
            swept = judge(storm)
        finally:
            print(line(storm), storm.kills, flush=True)
            storm.close()
        return swept


if __name__ == "__main__":
    main([test_soak], limit=int(setting("SECONDS", 600)) + 300)
