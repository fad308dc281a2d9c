# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What telemetry predicts of a worker's speed, and how timings correct it; synthetic traces, time is passed in."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.sensing.compute import ComputeEstimator
from edge_dnn_partition.sensing.contention import MOST, HostLoad, Quota, host_factor


@pytest.mark.parametrize(('load', 'threads', 'factor'), [
    (HostLoad(), 4, 1.0),
    (HostLoad(cores=4, busy_cores=4.0, own_cores=4.0), 4, 1.0),
    (HostLoad(cores=4, busy_cores=2.0, own_cores=0.0), 2, 1.0),
    (HostLoad(cores=4, busy_cores=4.0, own_cores=0.0), 4, 2.0),
    (HostLoad(cores=4, busy_cores=4.0, own_cores=2.0), 4, 1.5),
    (HostLoad(cores=4, busy_cores=4.0), 4, 1.0),
    (HostLoad(clock_limit_hertz=0.6e9, clock_max_hertz=1.5e9), 1, 2.5),
    (HostLoad(clock_limit_hertz=1.5e9, clock_max_hertz=1.5e9), 1, 1.0),
    (HostLoad(memory_pressure=0.5), 1, 2.0),
    (HostLoad(cores=2, busy_cores=2.0, own_cores=0.0, clock_limit_hertz=1e9, clock_max_hertz=2e9, memory_pressure=0.2), 1, 3.75),
])  # fmt: skip
def test_causes(load, threads, factor):
    assert host_factor(load, threads) == pytest.approx(factor)


NUMBERS = st.one_of(st.just(math.nan), st.floats(0, 1e10))


@given(st.integers(0, 64), NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.one_of(st.just(math.nan), st.floats(0, 1)), st.integers(1, 64))
def test_it_is_within_its_bounds(cores, busy, own, limit, most, pressure, threads):
    assert 1.0 <= host_factor(HostLoad(cores, busy, own, limit, most, pressure), threads) <= MOST


def test_a_throttled_clock_is_seen_before_a_frame_has_paid():
    estimator = ComputeEstimator()
    for i in range(5):
        estimator.stage(i * 0.1, 0.1, 0.1)
    estimator.host(2.0)
    assert estimator.factor(0.5) == pytest.approx(2.0)
    for i in range(5, 12):
        estimator.stage(i * 0.1, 0.2, 0.1)
        assert estimator.factor(i * 0.1) == pytest.approx(2.0)
    estimator.host(1.0)
    assert estimator.factor(1.2) == pytest.approx(1.0)


def test_timings_correct_telemetry_that_is_wrong():
    """Another process takes the cores, says telemetry, but the worker has cores of its own."""
    estimator = ComputeEstimator()
    for i in range(5):
        estimator.stage(i * 0.1, 0.1, 0.1)
    estimator.host(3.0)
    for i in range(5, 8):
        estimator.stage(i * 0.1, 0.1, 0.1)
    assert estimator.factor(0.8) == pytest.approx(1.0)


def test_noise_in_telemetry_moves_nothing():
    random, estimator = np.random.default_rng(2), ComputeEstimator()
    for i in range(200):
        estimator.host(1.5 * random.uniform(0.94, 1.06))
        estimator.stage(i * 0.1, 0.15, 0.1)
        assert estimator.factor(i * 0.1) == pytest.approx(1.5)


@pytest.mark.parametrize('bad', [math.nan, math.inf, 0.0, -1.0])
def test_nonsense_is_not_taken_in(bad):
    estimator = ComputeEstimator()
    estimator.host(bad)
    assert estimator.factor(0.0) == 1.0


def halted(begin, seconds, quota, busy_cores):
    """Return what a run takes that begins on a full share, as the kernel does it: period after period."""
    share = quota.cores * quota.period_seconds / (busy_cores + quota.others_cores)
    first = min(share, quota.period_seconds - begin)
    if seconds <= first:
        return seconds
    whole, rest = divmod(seconds - first, share)
    return quota.period_seconds - begin + whole * quota.period_seconds + rest


@given(st.floats(0.001, 0.5), st.floats(0.1, 4.0), st.floats(0.1, 6.0), st.floats(0.0, 1.0))
def test_a_run_under_a_quota_takes_what_the_kernel_makes_of_it_on_average(seconds, cores, busy_cores, others):
    quota = Quota(cores, 0.1, others)
    begins = (np.arange(400) + 0.5) / 400 * quota.period_seconds
    mean = np.mean([halted(float(begin), seconds, quota, busy_cores) for begin in begins])
    if busy_cores + others <= cores:
        assert quota.stretched(seconds, busy_cores, 1.0) == seconds
    else:
        rest = 0.1 - cores * 0.1 / (busy_cores + others)
        assert abs(quota.stretched(seconds, busy_cores, 1.0) - mean) <= rest**2 / 0.2 + 1e-3 * mean


@pytest.mark.parametrize('quota', [Quota(), Quota(0.0, 0.0), Quota(math.nan, 0.1), Quota(2.0, 0.1)])
def test_no_quota_or_a_large_one_stretches_nothing(quota):
    assert quota.slowdown(1.0, 2.0) == 1.0
    assert quota.slowdown(0.0, 2.0) == 1.0


@given(st.floats(0.01, 0.5), st.floats(0.2, 2.0), st.floats(0.3, 3.0), st.floats(0, 1))
def test_what_a_quota_explains_says_nothing_of_the_device(alone, cores, busy_cores, at):
    quota = Quota(cores, 0.1)
    least, most = (quota.stretched(alone, busy_cores, share) for share in (1.0, -1.0))
    assert quota.comparable(least + at * (most - least), alone, busy_cores) == pytest.approx(alone)
    assert quota.comparable(0.5 * least, alone, busy_cores) == pytest.approx(0.5 * alone)
    assert quota.comparable(3.0 * most, alone, busy_cores) == pytest.approx(3.0 * alone)
