#!/usr/bin/env python3
"""Traces of jobs, scaled to seconds, as real processes and in the simulator: tests/blackbox/replay.py with more of them."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "blackbox"))
os.environ.setdefault("BERTH", os.path.join(HERE, "..", "build", "berth"))
import replay  # noqa: E402

for kind, seed in (("lab", 1), ("lab", 2), ("agents", 1)):
    print(replay.compare(kind, 150, 45, 130, seed)[0], flush=True)
