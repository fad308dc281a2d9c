# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
#
# make setup   .venv/ with the package, its messages built (all in this folder)
# make demo    the main job: a camera stream over three emulated devices (DEMO_ARGS="--seconds 20")
# make test    linters, type check, import rules and all tests (TEST_ARGS="-k name")
# make quick   linters, type check, import rules and the tests of some rooms, in under a minute
# make check-arm64   whether all that a board installs is there as aarch64 wheels (half a minute; nothing is built)
# make test-arm64   tests without ROS under an emulated aarch64 Python, on Debian 12 (ARM64_TESTS=test/sensing; slow)
# make bench   the benchmarks against what people would use instead, and a report of them, into build/bench/ (an hour and a half)
# make bench-quick   a short form of it, to see that it runs (about 11 minutes)
# PYTHON=/path/to/python3.12 names the Python to use.

.PHONY: setup demo test quick check-arm64 test-arm64 bench bench-quick lint clean
.NOTPARALLEL:

# Models, profiles and logs of demo and test stay in this folder too.
export EDGE_DNN_PARTITION_CACHE ?= $(CURDIR)/build/cache
export ROS_LOG_DIR ?= $(CURDIR)/build/ros-log

DEMO_ARGS ?=
TEST_ARGS ?=
BENCH_OUT ?= build/bench

setup:
	@scripts/setup.sh

demo: setup
	@.venv/bin/edge-dnn-partition demo $(DEMO_ARGS)

lint:
	@scripts/setup.sh --with lint
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

test:
	@scripts/setup.sh --with lint test export
	@$(MAKE) --no-print-directory lint
	@$(if $(strip $(TEST_ARGS)),.venv/bin/pytest $(TEST_ARGS),scripts/run_tests.sh)

quick:
	@scripts/setup.sh --with lint test
	@$(MAKE) --no-print-directory lint
	@.venv/bin/pytest -q $(addprefix test/,inputs results transport sensing deployment monitoring)

check-arm64:
	@$(or $(PYTHON),python3) scripts/check_arm64.py

test-arm64:
	@$(or $(PYTHON),python3) scripts/test_arm64.py $(ARM64_TESTS)

bench bench-quick:
	@scripts/setup.sh --with bench export
	@.venv/bin/edge-dnn-partition bench suite --out $(BENCH_OUT) $(if $(findstring quick,$@),--quick)

clean:
	rm -rf .venv build install log *.egg-info
