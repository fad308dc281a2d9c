#!/usr/bin/env bash
# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
# All tests, in three lanes at once: two of those that start processes and mostly wait for them; and, on what these leave of
# the processor, those that only compute. Prints the output of the second and third lane when the first has ended.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

waiting=(test/nodes test/testbed)
second=(test/testbed test/nodes/test_{survival,examples,shared_hosts,lifecycle_orders,clocks}.py)    # about half of their time
mkdir -p build
.venv/bin/pytest -p no:cacheprovider "${second[@]}" >build/test_second_lane.log 2>&1 &
lanes=($!)
OMP_NUM_THREADS=1 nice -n 10 .venv/bin/pytest -p no:cacheprovider -o timeout=600 "${waiting[@]/#/--ignore=}" >build/test_third_lane.log 2>&1 &
lanes+=($!)
trap 'kill "${lanes[@]}" 2>/dev/null' INT TERM
.venv/bin/pytest test/nodes "${second[@]/#/--ignore=}"
ended=($?)
for lane in "${lanes[@]}"; do
    wait "$lane"
    ended+=($?)
done
cat build/test_{second,third}_lane.log
said=() failed=0
for code in "${ended[@]}"; do
    [ "$code" = 0 ] && said+=(passed) || { said+=(FAILED); failed=1; }
done
echo "tests, first lane: ${said[0]}; second lane: ${said[1]}; third lane: ${said[2]}"
exit $failed
