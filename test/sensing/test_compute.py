# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A device's factor and a link's estimate follow steps and ramps, and noise moves them little; time is passed in."""

import math

import numpy as np
import pytest

from edge_dnn_partition.sensing.compute import ComputeEstimator


@pytest.mark.parametrize('step', [4.0, 1.5, 0.5])
def test_a_step_shows_in_the_second_timing(step):
    estimator = ComputeEstimator()
    seen = []
    for i in range(12):
        estimator.stage(i * 0.1, 0.1 if i < 6 else 0.1 * step, 0.1)
        seen.append(estimator.factor(i * 0.1))
    assert seen == pytest.approx([1.0] * 7 + [step] * 5)


@pytest.mark.parametrize('late', [(4.0, 2.0), (4.0, 0.25), (1.3, 1.3)])
def test_two_timings_that_do_not_agree_or_are_not_far_off_show_no_step(late):
    estimator = ComputeEstimator()
    for i in range(6):
        estimator.stage(i * 0.1, 0.1, 0.1)
    for value in late:
        estimator.stage(0.7, 0.1 * value, 0.1)
    assert estimator.factor(0.7) == pytest.approx(1.0)


def test_a_stage_that_is_overdue_by_far_counts_before_it_is_done():
    estimator = ComputeEstimator()
    for i in range(6):
        estimator.stage(i * 0.1, 0.2, 0.1)
    estimator.overdue(0.6, 3.9)
    assert estimator.factor(0.6) == pytest.approx(2.0)
    estimator.overdue(0.7, 4.5)
    assert estimator.factor(0.7) == pytest.approx(4.5)
    assert estimator.factor(2.0) == pytest.approx(1.0)  # nobody says so any longer, and the stages before it do not count
    estimator.probe(4.0)
    assert estimator.factor(2.0) == pytest.approx(4.0)
    for value in (0.0, math.nan, 7.9):
        estimator.overdue(2.1, value)
        assert estimator.factor(2.1) == pytest.approx(4.0)


def test_a_single_late_run_moves_nothing():
    estimator = ComputeEstimator()
    for i in range(9):
        estimator.stage(i * 0.1, 5.0 if i == 6 else 0.1, 0.1)
        assert estimator.factor(i * 0.1) == pytest.approx(1.0)


def test_noise_and_a_ramp():
    random = np.random.default_rng(1)
    estimator = ComputeEstimator()
    for i in range(200):
        true = 1 + i / 100
        estimator.stage(i * 0.1, true * random.uniform(0.8, 1.2), 1.0)
        assert abs(estimator.factor(i * 0.1) / true - 1) < 0.22
    assert 0.03 < estimator.deviation(19.9) < 0.2


def test_stages_count_more_than_probes_until_they_are_old():
    estimator = ComputeEstimator(stage_seconds=3.0)
    assert (estimator.factor(0.0), estimator.deviation(0.0)) == (1.0, 0.1)
    estimator.probe(2.0)
    assert estimator.factor(0.0) == 2.0
    estimator.stage(1.0, 0.3, 0.1)
    assert estimator.factor(4.0) == pytest.approx(3.0)
    assert estimator.factor(4.1) == 2.0
    estimator.stage(10.0, 0.5, 0.1)
    assert estimator.factor(10.0) == pytest.approx(5.0), 'timings from before the pause still count'


@pytest.mark.parametrize('bad', [math.nan, math.inf, 0.0, -1.0])
def test_nonsense_is_not_taken_in(bad):
    estimator = ComputeEstimator()
    estimator.probe(bad)
    estimator.stage(0.0, bad if bad != math.inf else 0.0, 1.0)
    assert estimator.factor(0.0) == 1.0
