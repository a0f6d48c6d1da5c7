#!/usr/bin/env bash
# Checks the wake-up protocol with spin: docs/model/README.md says what and how.
# Usage: run.sh [PATTERN]   only the configurations whose name contains PATTERN
set -euo pipefail

for tool in spin gcc; do
  if ! command -v "$tool" > /dev/null; then
    echo "run.sh: $tool is missing. On Debian or Ubuntu: apt-get install -y spin gcc" >&2
    exit 2
  fi
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pattern=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# check EXPECTED KIND NAME [-DFLAG...]
#   EXPECTED  ok; forgotten: somebody sleeps who could sit; overgrant; barged: passed over though it
#             answered; cycle: goes round for ever; unserved: a waiter's turn never comes
#   KIND      end: all runs to their end; back: the same, last choice first (finds some errors sooner);
#             cycle: any endless run is an error; served: the formula of the model, weak fairness
check() {
  local expected=$1 kind=$2 name=$3
  shift 3
  [[ $name == *"$pattern"* ]] || return 0
  local compile=(-DSAFETY) run=() verdict states seconds began
  case $kind in
    end) ;;
    back) compile=(-DSAFETY -DREVERSE -DT_REVERSE) ;;
    cycle) compile=(-DNP -DNFAIR=4) run=(-l -f) ;;
    served) compile=(-DNFAIR=4) run=(-a -f) ;;
    *) echo "run.sh: no such kind: $kind" >&2; exit 2 ;;
  esac
  began=$SECONDS
  rm -rf "${work:?}"/*
  cp "$here"/berth.pml "$here"/consts.inc "$here"/steps.inc "$work"
  (
    cd "$work"
    spin -a "$@" berth.pml > spin.log 2>&1
    gcc -O2 -w -DNOREDUCE -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=16000 "${compile[@]}" "$@" -o pan pan.c > gcc.log 2>&1
    ./pan -m2000000 -n "${run[@]}" > pan.log 2>&1
  ) || { cat "$work"/*.log; echo "run.sh: $name: cannot be run" >&2; exit 2; }
  states=$(awk '/states, stored/ { print $1; exit }' "$work/pan.log")
  seconds=$((SECONDS - began))
  if grep -q 'assertion violated.*NOBODY_FORGOTTEN' "$work/pan.log"; then verdict=forgotten
  elif grep -q 'assertion violated.*overgrant' "$work/pan.log"; then verdict=overgrant
  elif grep -q 'assertion violated.*barged' "$work/pan.log"; then verdict=barged
  elif grep -q 'non-progress cycle (at' "$work/pan.log"; then verdict=cycle
  elif grep -q 'acceptance cycle (at' "$work/pan.log"; then verdict=unserved
  elif grep -Eq 'max search depth too small|out of memory|truncated|pan: reached' "$work/pan.log"; then verdict=incomplete
  elif grep -q 'errors: 0' "$work/pan.log"; then verdict=ok
  else verdict=broken
  fi
  local said=pass
  if [[ $verdict == "$expected" ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    said=FAIL
  fi
  printf '%s  %-42s %-10s (expected %-9s) %10s states %4d s\n' "$said" "$name" "$verdict" "$expected" "$states" "$seconds"
}

both='-DCLAIMS={{1,0},{1,1},{0,1},{1,1},{1,0},{1,0},{1,0}}'
queue='-DSEATED=1 -DIN_ORDER'  # one holds, the others come one after the other

# shellcheck disable=SC2086  # the words of $queue are separate flags
{
echo "-- what is promised"
check ok end "3, kill 3"                    -DSLOTS=3 -DKILLS=3
check ok end "4, kill 3, all give back"     -DSLOTS=4 -DKILLS=3 -DIN_ORDER -DSTAYERS=0
check ok end "4 on 2 places, kill 3"        -DSLOTS=4 -DKILLS=3 -DIN_ORDER -DCAP0=2
check ok end "4 on two counters, kill 3"    -DSLOTS=4 -DKILLS=3 -DIN_ORDER '-DCLAIMS={{1,0},{1,1},{0,1},{1,0},{1,0},{1,0},{1,0}}'
check ok end "5 on two counters, kill 2"    -DSLOTS=5 -DKILLS=2 -DIN_ORDER -DCAP0=2 -DSEATED=3 "$both"
check ok end "3, stop 2"                    -DSLOTS=3 -DSTOPS=2
check ok end "4, stop 2"                    -DSLOTS=4 -DSTOPS=2 $queue
check ok end "3, stop 2, kill 1"            -DSLOTS=3 -DSTOPS=2 -DKILLS=1
check ok end "4, stop 1, kill 3"            -DSLOTS=4 -DSTOPS=1 -DKILLS=3 $queue
check ok end "4, stop 1, kill 1, any time"  -DSLOTS=4 -DSTOPS=1 -DKILLS=1 $queue -DSLOW
check ok end "4, stop 1, kill 1, slow exit" -DSLOTS=4 -DSTOPS=1 -DKILLS=1 $queue -DSLOW_EXIT -DSAMPLE
check ok end "5 on two counters, stop 1, kill 1" -DSLOTS=5 -DSTOPS=1 -DKILLS=1 -DIN_ORDER -DCAP0=2 -DSEATED=3 "$both"
check ok end "4, another uid's, kill 2"     -DSLOTS=4 -DKILLS=2 $queue -DFOREIGN=6 -DSAMPLE
check ok end "4, time-outs, kill 2"         -DSLOTS=4 -DKILLS=2 $queue -DLEAVERS=14
check ok end "4, set, kill 2"               -DSLOTS=4 -DKILLS=2 $queue -DSETS=1
check ok end "3, set, stop 1, kill 1"       -DSLOTS=3 -DSTOPS=1 -DKILLS=1 $queue -DSETS=1
check ok end "4, evict, kill 2"             -DSLOTS=4 -DKILLS=2 $queue -DEVICTS=1 -DEVICTABLE=1
check ok end "4, evict, stop 1, kill 1"     -DSLOTS=4 -DSTOPS=1 -DKILLS=1 -DIN_ORDER -DCAP0=2 -DSEATED=3 -DEVICTS=1 -DEVICTABLE=1
check ok end "4, step aside, kill 1"        -DSLOTS=4 -DKILLS=1 $queue -DASIDERS=6
check ok end "4, priorities, kill 2"        -DSLOTS=4 -DKILLS=2 -DSEATED=1 '-DPRIOS={0,0,1,2,0,0,0}'
check ok end "3, none passed over, stop 1, kill 1" -DSLOTS=3 -DSTOPS=1 -DKILLS=1 -DCHECK_BARGE

echo "-- no run goes round for ever; whoever waits is served"
check ok cycle "3, stop 1, kill 1: comes to rest"          -DSLOTS=3 -DSTOPS=1 -DKILLS=1
check ok cycle "3, stop 1, kill 1, any time: comes to rest" -DSLOTS=3 -DSTOPS=1 -DKILLS=1 -DSLOW
check ok served "3 again and again"                        -DSLOTS=3 -DAGAIN -DSTAYERS=0
check ok served "3 again and again, kill 1"                -DSLOTS=3 -DAGAIN -DSTAYERS=0 -DKILLS=1
check ok served "3 again and again, stop 1"                -DSLOTS=3 -DAGAIN -DSTAYERS=0 -DSTOPS=1 -DSTOP_WAITERS -DMAYSTOP=5

echo "-- without a saving step"
check forgotten end "NO_RECHECK_DEAD"       -DSLOTS=3 -DKILLS=1 $queue -DNO_RECHECK_DEAD
check forgotten end "NO_SUPERVISION"        -DSLOTS=3 -DSTOPS=1 $queue -DNO_SUPERVISION
check forgotten end "WATCH_NEAREST_ONLY"    -DSLOTS=4 -DSTOPS=1 -DKILLS=1 $queue -DWATCH_NEAREST_ONLY
check forgotten end "UNLOCK_BEFORE_RING, set" -DSLOTS=3 -DKILLS=1 $queue -DSETS=1 -DUNLOCK_BEFORE_RING
check forgotten end "UNLOCK_BEFORE_RING, stop" -DSLOTS=4 -DSTOPS=1 -DKILLS=1 -DIN_ORDER -DCAP0=2 -DSEATED=3 -DUNLOCK_BEFORE_RING
check forgotten end "SET_RINGS_NOBODY"      -DSLOTS=3 $queue -DSETS=1 -DSET_RINGS_NOBODY
check forgotten end "NO_DEPENDENTS"         -DSLOTS=4 -DKILLS=1 $queue -DASIDERS=6 -DNO_DEPENDENTS
keepers='-DSLOTS=4 -DSTOPS=1 -DIN_ORDER -DSEATED=3 -DLINED=12 -DEVICTS=1 -DEVICTABLE=1 -DRELEASERS=12'
claims='-DCLAIMS={{0,1},{0,0},{1,1},{1,0},{1,0},{1,0},{1,0}}'
check ok end        "keepers, evict, stop 1" $keepers "$claims"
check forgotten end "NO_KEEPERS"             $keepers "$claims" -DNO_KEEPERS
check overgrant end "BURY_STOPPED"           -DSLOTS=3 -DSTOPS=1 $queue -DBURY_STOPPED
prio='-DSLOTS=4 -DKILLS=1 -DMAYKILL=1 -DSEATED=1 -DLINED=6 -DSTAYERS=0 -DCHECK_BARGE'
check ok end     "patience, priorities, kill 1" $prio '-DPRIOS={0,0,0,1,0,0,0}'
check barged end "NO_PRUNE"                     $prio '-DPRIOS={0,0,0,1,0,0,0}' -DNO_PRUNE

echo "-- what was found: each pair with and without the cure"
seven='-DSLOTS=7 -DCAP0=3 -DSEATED=3 -DRELEASERS=1 -DSTAYERS=0 -DOUTSIDE -DNO_SUPERVISION'
wide='-DSLOTS=4 -DCAP0=2 -DKILLS=1 -DSTOPS=1 -DIN_ORDER -DSEATED=3'
claims='-DCLAIMS={{1,0},{0,1},{1,1},{1,0},{1,0},{1,0},{1,0}}'
check ok end        "eyes"                 $wide "$claims"
check forgotten end "NARROW_EYES"          $wide "$claims" -DNARROW_EYES
heirs='-DLINED=124 -DKILLS=1 -DMAYKILL=2 -DLEAVERS=48'
claims='-DCLAIMS={{2,0},{1,1},{1,0},{1,0},{1,1},{1,1},{1,0}}'
check ok end         "heirs"               $seven $heirs "$claims"
check forgotten back "NO_HEIRS"            $seven $heirs "$claims" -DNO_HEIRS
told='-DLINED=28 -DKILLS=3 -DMAYKILL=98'
claims='-DCLAIMS={{2,0},{1,0},{1,0},{1,0},{1,0},{1,0},{1,0}}'
check ok end        "newcomers told"       $seven $told "$claims" '-DPRIOS={0,0,2,2,0,1,1}'
check forgotten end "NEWCOMERS_UNTOLD"     $seven $told "$claims" '-DPRIOS={0,0,2,2,0,1,1}' -DNEWCOMERS_UNTOLD
check ok cycle      "full bell"            -DSLOTS=4 -DSTOPS=1 $queue -DBCAP=3
check cycle cycle   "FULL_BELL_IS_READ"    -DSLOTS=4 -DSTOPS=1 $queue -DBCAP=3 -DFULL_BELL_IS_READ
check ok cycle      "eyes closed"          -DSLOTS=3 $queue -DSETS=1 -DSET0=0
check cycle cycle   "KEEP_OLD_EYES"        -DSLOTS=3 $queue -DSETS=1 -DSET0=0 -DKEEP_OLD_EYES

echo "-- what is not promised without the safety tick"
check forgotten end "2 stopped at the head, holder killed" -DSLOTS=4 -DSTOPS=2 -DKILLS=1 $queue
check forgotten end "3 stopped at the head"                -DSLOTS=5 -DSTOPS=3 -DSEATED=1 -DLINED=30 -DNO_CONT
}
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
