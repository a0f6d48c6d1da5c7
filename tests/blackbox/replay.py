"""A trace of jobs, scaled to seconds, as real processes (`sleep` under `berth run`) and in the simulator: the
order of their starts and the makespan agree.

Real processes take some milliseconds to start and to end, and jobs that end almost together may do so in another
order than on paper. So two starts count as ordered only where the simulator has them further apart than TIE_S.
"""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__))))
from berthtest import Pool, berth, check, main, wait_exit  # noqa: E402

TIE_S = 0.5
LEAST_RUN_S = 0.4
LEAST_GAP_S = 0.06


def simulator():
    return os.path.join(os.path.dirname(os.path.realpath(berth())), "berth-sim")


def sim(*words):
    return subprocess.run([simulator(), *map(str, words)], check=True, capture_output=True, text=True).stdout


class Job:
    def __init__(self, words):
        self.arrival, self.run = float(words[0]), float(words[1])
        self.expect = 0
        amounts = dict(word.split("=") for word in words[6:])
        self.cpu = int(amounts["cpu"])
        self.gpus = int(amounts.get("gpus", 0))
        self.vram_gib = int(amounts["vram"].rstrip("B")) >> 30 if "vram" in amounts else 0

    def line(self):
        words = [f"{self.arrival:.3f}", f"{self.run:.3f}", str(self.expect or "-"), "0", "u", "job", f"core={self.cpu}"]
        if self.gpus:
            words.append(f"gpus={self.gpus}")
        if self.vram_gib:
            words.append(f"vram={self.vram_gib}G")
        return " ".join(words)

    def claim(self):
        words = ["-r", f"core={self.cpu}"]
        if self.gpus:
            words += ["--gpus", str(self.gpus)]
        if self.vram_gib:
            words += ["--vram", f"{self.vram_gib}G"]
        if self.expect:
            words += ["--expect", f"{self.expect}s"]
        return words


def scaled_trace(kind, count, seconds, load, seed):
    """Jobs whose makespan, simulated, is about `seconds`; every third says nothing of how long it takes."""
    jobs = [Job(line.split()) for line in sim("trace", "--jobs", count, "--load", load, "--seed", seed, kind).splitlines()
            if not line.startswith(("#", "pool"))]
    factor = seconds / max(job.arrival + job.run for job in jobs)
    for _ in range(8):
        scaled = []
        for number, job in enumerate(jobs):
            copy = Job.__new__(Job)
            copy.__dict__.update(job.__dict__)
            copy.run = max(LEAST_RUN_S, round(job.run * factor, 3))
            copy.arrival = max(job.arrival * factor, scaled[-1].arrival + LEAST_GAP_S if scaled else 0)
            copy.expect = 0 if number % 3 == 2 else int(copy.run) + 1
            scaled.append(copy)
        starts = simulated(scaled)
        span = max(start + job.run for start, job in zip(starts, scaled))
        if span <= seconds:
            return scaled, starts
        factor *= 0.9 * seconds / span
    return scaled, starts


def simulated(jobs):
    with tempfile.NamedTemporaryFile("w", suffix=".trace") as trace:
        trace.write("pool core=96 gpus=8x80G\n" + "".join(job.line() + "\n" for job in jobs))
        trace.flush()
        return [float(word) for word in sim("starts", trace.name).split()]


def played(jobs):
    """When each job started and how long all of them took, in seconds from the first arrival."""
    with Pool(sim_gpus="8x80G", core=96) as pool:
        log = os.path.join(pool.tmp, "starts")
        begun = time.time()
        processes = []
        for number, job in enumerate(jobs):
            time.sleep(max(0, begun + job.arrival - time.time()))
            script = f'echo {number} $(date +%s.%N) >> {log}; exec sleep {job.run:.3f}'
            processes.append(pool.spawn("run", *job.claim(), "--", "sh", "-c", script))
        for process in processes:
            check(wait_exit(process, 300, pool) == 0, "everybody runs")
        span = time.time() - begun
        starts = {}
        with open(log, encoding="ascii") as lines:
            for line in lines:
                number, at = line.split()
                starts[int(number)] = float(at) - begun
        return [starts[number] for number in range(len(jobs))], span


def compare(kind, count, seconds, load, seed):
    jobs, expected = scaled_trace(kind, count, seconds, load, seed)
    span_expected = max(start + job.run for start, job in zip(expected, jobs))
    starts, span = played(jobs)
    pairs = [(a, b) for a in range(count) for b in range(count) if expected[a] + TIE_S < expected[b]]
    kept = sum(starts[a] < starts[b] for a, b in pairs) / len(pairs)
    waits = sum(start - job.arrival for start, job in zip(starts, jobs)) / count
    waits_expected = sum(start - job.arrival for start, job in zip(expected, jobs)) / count
    late = sorted(abs(a - b) for a, b in zip(starts, expected))
    waited = sum(start - job.arrival > 0.1 for start, job in zip(expected, jobs))
    text = (f"{count} jobs of {kind}, {waited} of them wait; makespan {span:.2f} s, simulated {span_expected:.2f} "
            f"({100 * (span / span_expected - 1):+.1f} %); mean wait {waits:.2f} s, simulated {waits_expected:.2f}; "
            f"{100 * kept:.2f} % of {len(pairs)} pairs start in the same order; a start differs by {late[count // 2]:.3f} s "
            f"(median), {late[-1]:.3f} (most)")
    return text, span / span_expected, kept


def agree(kind, seed):
    text, span, kept = compare(kind, 60, 18, 130, seed)
    print(text)
    check(0.95 < span < 1.05, text)
    check(kept > 0.97, text)
    return text


def test_the_simulator_and_real_processes_agree():
    return agree("lab", 3)


if __name__ == "__main__":
    if not os.path.exists(simulator()):
        sys.exit(77)
    main([test_the_simulator_and_real_processes_agree])
