#!/usr/bin/env bash
# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
# All tests, in three lanes at once. The first has most of those that start processes and wait for them. The second and the third
# compute, on what the first leaves of the processors, and then start processes, too: lanes take about as long as each other.
# Prints the output of the later lanes when the first has ended.
# Tests with real processes share the machine with the other lanes: where some fail, they alone are run again by themselves, and
# that is said. What fails twice fails; what only computes has no second chance.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

processes=(test/nodes test/testbed)
slow=(test/graph test/package test/docs)    # what the third lane computes; the second computes the rest
second=(test/testbed test/nodes/test_survival.py test/nodes/test_crowd.py)
third=(test/nodes/test_examples.py test/nodes/test_lifecycle_orders.py test/nodes/test_join.py test/nodes/test_edge_and_cloud.py)
first=(test/nodes)
rest=()
for part in "${second[@]}" "${third[@]}"; do first+=("--ignore=$part"); done
for part in "${processes[@]}" "${slow[@]}"; do rest+=("--ignore=$part"); done
mkdir -p build
rm -rf build/cache_first build/cache_second build/cache_third

# Runs what a lane computes, then what it waits for, each with its exit status in a file: the lane's name, an array of each.
lane() {
    local -n computes=$2 waits=$3
    echo 3 >"build/$1_computed"
    echo 3 >"build/$1_waited"
    OMP_NUM_THREADS=1 nice -n 10 .venv/bin/pytest -p no:cacheprovider -o timeout=600 "${computes[@]}"
    echo $? >"build/$1_computed"
    .venv/bin/pytest -o "cache_dir=build/cache_$1" "${waits[@]}"
    echo $? >"build/$1_waited"
}

# Runs what has failed of a lane's processes again: its name, its exit status, its arguments.
again() {
    local name=$1 status=$2
    shift 2
    [ "$status" = 1 ] || return "$status"
    echo "run again by themselves, as they failed beside the other lanes:"
    .venv/bin/pytest --last-failed --last-failed-no-failures none -o "cache_dir=build/cache_$name" "$@"
}

lane second rest second >build/test_second_lane.log 2>&1 &
two=$!
lane third slow third >build/test_third_lane.log 2>&1 &
three=$!
trap 'for lane in $two $three; do pkill -P "$lane"; kill "$lane"; done 2>/dev/null' INT TERM
.venv/bin/pytest -o cache_dir=build/cache_first "${first[@]}"
status=$?
wait "$two" "$three"
cat build/test_second_lane.log build/test_third_lane.log

failed=()
again first "$status" "${first[@]}" || failed+=('first lane')
again second "$(cat build/second_waited)" "${second[@]}" || failed+=('second lane')
again third "$(cat build/third_waited)" "${third[@]}" || failed+=('third lane')
for name in second third; do
    [ "$(cat "build/${name}_computed")" = 0 ] || failed+=("what the $name lane computes")
done
if [ ${#failed[@]} = 0 ]; then
    echo 'tests: passed'
else
    (IFS=,; echo "tests: FAILED: ${failed[*]}")
    exit 1
fi
