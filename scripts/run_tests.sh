#!/usr/bin/env bash
# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
# All tests, in two runs at once: those that start processes and wait for them, and, on what they leave of the
# processor, those that only compute. Prints the second run's output when the first has ended.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

patient=(test/nodes test/testbed)
log=build/test_computing.log
mkdir -p build
computing=(-p no:cacheprovider -o timeout=600)
for part in "${patient[@]}"; do computing+=("--ignore=$part"); done

OMP_NUM_THREADS=1 nice -n 10 .venv/bin/pytest "${computing[@]}" >"$log" 2>&1 &
background=$!
trap 'kill "$background" 2>/dev/null' INT TERM
.venv/bin/pytest "${patient[@]}"
first=$?
wait "$background"
second=$?
cat "$log"
echo "tests that start processes: $([ $first = 0 ] && echo passed || echo FAILED); tests that compute: $([ $second = 0 ] && echo passed || echo FAILED)"
[ $first = 0 ] && [ $second = 0 ]
