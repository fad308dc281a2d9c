#!/usr/bin/env bash
# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
# All tests, in two lanes at once: most of those that start processes and wait for them; and, on what they leave of the
# processor, those that only compute, then the rest of the former. Prints the second lane's output when the first has ended.
# Tests with real processes share the machine with the other lane: where some fail, they alone are run again by themselves, and
# that is said. What fails twice fails; what only computes has no second chance.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

patient=(test/nodes test/testbed)
later=(test/testbed test/nodes/test_survival.py)    # so many that both lanes take about as long
log=build/test_second_lane.log
mkdir -p build
rm -rf build/cache_first build/cache_second
first=(-o cache_dir=build/cache_first test/nodes)
computing=(-p no:cacheprovider -o timeout=600)
for part in "${later[@]}"; do first+=("--ignore=$part"); done
for part in "${patient[@]}"; do computing+=("--ignore=$part"); done
later=(-o cache_dir=build/cache_second "${later[@]}")

second_lane() {
    local computed
    OMP_NUM_THREADS=1 nice -n 10 .venv/bin/pytest "${computing[@]}"
    computed=$?
    .venv/bin/pytest "${later[@]}"
    echo $? >build/second_waited
    [ $computed = 0 ]
}

# Runs what has failed of a lane again: its exit status, then the lane's arguments.
again() {
    local status=$1
    shift
    [ "$status" = 1 ] || return "$status"
    echo "run again by themselves, as they failed beside the other lane:"
    .venv/bin/pytest --last-failed --last-failed-no-failures none "$@"
}

echo 3 >build/second_waited
second_lane >"$log" 2>&1 &
background=$!
trap 'pkill -P "$background" 2>/dev/null; kill "$background" 2>/dev/null' INT TERM
.venv/bin/pytest "${first[@]}"
one=$?
wait "$background"
computed=$?
cat "$log"
again $one "${first[@]}"
one=$?
again "$(cat build/second_waited)" "${later[@]}"
two=$?
[ $computed = 0 ] || two=1
echo "tests, first lane: $([ $one = 0 ] && echo passed || echo FAILED); second lane: $([ $two = 0 ] && echo passed || echo FAILED)"
[ $one = 0 ] && [ $two = 0 ]
