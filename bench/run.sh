#!/usr/bin/env bash
# All figures, each beside something to compare it with. Run it on a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "# $(date -u +%F), Linux $(uname -r), $(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
build/bench/engine_bench
build/bench/plan_bench
python3 bench/start.py
python3 bench/waiters.py
python3 bench/turns.py || [ $? = 77 ]  # 77: no C compiler
python3 bench/replay.py
python3 bench/reclaim.py
python3 bench/gpus.py || [ $? = 77 ]  # 77: the stand-in driver is not built, make test builds it
# Ten seeds each at three loads, some minutes. OPENB names openb_pod_list_default.csv, which is not ours to carry.
build/berth-sim compare --share fair --max-debt 86400 lab agents sweep hog ${OPENB:+"$OPENB"}
