#!/usr/bin/env bash
# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
# All tests, in two lanes at once: most of those that start processes and wait for them; and, on what they leave of the
# processor, those that only compute, then the rest of the former. Prints the second lane's output when the first has ended.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

patient=(test/nodes test/testbed)
later=(test/testbed test/nodes/test_survival.py)    # so many that both lanes take about as long
log=build/test_second_lane.log
mkdir -p build
first=(test/nodes)
computing=(-p no:cacheprovider -o timeout=600)
for part in "${later[@]}"; do first+=("--ignore=$part"); done
for part in "${patient[@]}"; do computing+=("--ignore=$part"); done

second_lane() {
    OMP_NUM_THREADS=1 nice -n 10 .venv/bin/pytest "${computing[@]}"
    local computed=$?
    .venv/bin/pytest -p no:cacheprovider "${later[@]}"
    local waited=$?
    [ $computed = 0 ] && [ $waited = 0 ]
}

second_lane >"$log" 2>&1 &
background=$!
trap 'pkill -P "$background" 2>/dev/null; kill "$background" 2>/dev/null' INT TERM
.venv/bin/pytest "${first[@]}"
one=$?
wait "$background"
two=$?
cat "$log"
echo "tests, first lane: $([ $one = 0 ] && echo passed || echo FAILED); second lane: $([ $two = 0 ] && echo passed || echo FAILED)"
[ $one = 0 ] && [ $two = 0 ]
