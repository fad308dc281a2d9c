# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Joules per segment by regression: found where stages tell them apart, shrunk to the device's watts where they do not."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_dnn_partition.sensing.power.segment_joules import SegmentJoules

CUTS = (0, 3, 5, 9, 12)
SECONDS = (0.02, 0.03, 0.05, 0.04, 0.01)
OVERHEADS = (0.002, -0.001, 0.003)
WATTS = np.array([3.0, 3.0, 6.0, 3.0, 3.0])
"""The device draws 3 W; the layers 3 to 5 draw twice as much."""
TRUE = WATTS * SECONDS
STAGES = ((True, ((0, 3),)), (False, ((3, 5),)), (False, ((3, 12),)), (True, ((0, 5), (9, 12))), (False, ((5, 9),)))


def fitted(stages, windows=40, noise=0.1, seed=5, **more):
    """Return a regression after so many windows of each stage, of 3 runs each."""
    fit, lot, now = SegmentJoules(CUTS, SECONDS, OVERHEADS, **more), np.random.default_rng(seed), 0.0
    for _ in range(windows):
        for stage in stages:
            now += 0.25
            row = fit.row(*stage)
            joules = 3 * float(row @ TRUE)
            fit.observe(now, [(row, 3.0)], joules * max(0.0, lot.normal(1.0, noise)), 0.02, 3.0, 0.3)
    return fit, fit.estimate(now, 3.0, 0.3)


def test_a_row_is_a_stage_less_its_overheads():
    fit = SegmentJoules(CUTS, SECONDS, OVERHEADS)
    joules = 4.0 * np.array(SECONDS)  # at one power joules are watts times the stage's seconds, boundary overheads saved
    assert fit.row(False, ((0, 12),)) @ joules == pytest.approx(4.0 * (0.13 - 0.004))
    assert fit.row(True, ((0, 5),)) @ joules == pytest.approx(4.0 * (0.10 - 0.002))
    assert fit.row(False, ((0, 3), (5, 9))) @ joules == pytest.approx(4.0 * 0.07)
    assert fit.row(False, ((0, 4),)) is None
    assert fit.row(True, ()) @ joules == pytest.approx(4.0 * 0.02)


def test_a_range_that_draws_twice_the_watts_is_found_within_8_percent_and_the_others_within_15():
    _, found = fitted(STAGES)
    assert found.joules[2] == pytest.approx(TRUE[2], rel=0.08)
    assert found.joules == pytest.approx(TRUE, rel=0.15)
    assert found.measured.all()
    assert (np.abs(found.joules - TRUE) <= 3 * found.deviation).all()


def test_few_windows_change_little_and_more_change_more():
    shares = []
    for windows in (1, 4, 60):
        fit = SegmentJoules(CUTS, SECONDS, OVERHEADS)
        row = fit.row(False, ((3, 5),))
        for at in range(windows):
            fit.observe(0.25 * at, [(row, 1.0)], TRUE[2], 0.02, 3.0, 0.1)
        shares.append((fit.estimate(15.0, 3.0, 0.1).joules[2] - 0.15) / 0.15)
    assert 0.02 < shares[0] < 0.3
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.85


def test_what_no_stage_tells_apart_keeps_the_devices_proportions_and_the_sum_is_right():
    _, found = fitted([(True, ((0, 12),))], windows=200)
    row = SegmentJoules(CUTS, SECONDS, OVERHEADS).row(True, ((0, 12),))
    assert row @ found.joules == pytest.approx(row @ TRUE, rel=0.03)
    watts = found.joules / SECONDS
    assert 3.0 < watts.min() < watts.max() < 6.0
    assert found.deviation[2] > 0.1 * found.joules[2]  # and it says that it does not know


def test_what_has_not_run_is_the_devices_watts_and_is_not_called_measured():
    _, found = fitted([(False, ((3, 5),))])
    assert list(found.measured) == [False, False, True, False, False]
    assert (found.joules / SECONDS)[3] == pytest.approx(3.0, rel=0.15)  # of its kind it knows little more than before
    nothing = SegmentJoules(CUTS, SECONDS, OVERHEADS).estimate(0.0, 2.0, 0.1)
    assert nothing.joules == pytest.approx(2.0 * np.array(SECONDS))
    assert not nothing.measured.any()
    assert SegmentJoules(CUTS, SECONDS, OVERHEADS).estimate(0.0, math.nan, math.nan) is None


def test_stages_of_one_window_are_told_apart_by_the_windows():
    fit, lot = SegmentJoules(CUTS, SECONDS, OVERHEADS), np.random.default_rng(2)
    rows = [fit.row(*stage) for stage in ((True, ((0, 3),)), (False, ((3, 5),)), (False, ((5, 12),)))]
    for tick in range(400):
        parts = lot.uniform(0.0, 3.0, 3)
        joules = sum(part * float(row @ TRUE) for row, part in zip(rows, parts, strict=True))
        fit.observe(0.25 * tick, list(zip(rows, parts.tolist(), strict=True)), joules, 0.02, 3.0, 0.3)
    assert fit.estimate(100.0, 3.0, 0.3).joules[2] == pytest.approx(TRUE[2], rel=0.08)


def test_old_samples_are_forgotten():
    fit, found = fitted(STAGES, half_life_seconds=60.0)
    assert fit.estimate(6000.0, 3.0, 0.3).joules == pytest.approx(3.0 * np.array(SECONDS), rel=0.01)
    assert not fit.estimate(6000.0, 3.0, 0.3).measured.any()
    assert found.measured.all()


def test_a_moment_of_other_work_does_not_carry_it_away():
    fit, before = fitted(STAGES)
    row = fit.row(*STAGES[1])
    for tick in range(4):
        fit.observe(60.0 + tick, [(row, 3.0)], 50.0, 0.02, 3.0, 0.3)
    assert fit.estimate(64.0, 3.0, 0.3).joules == pytest.approx(before.joules, rel=0.15)


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(st.sampled_from(STAGES), numbers, numbers, numbers, numbers), max_size=20))
@example([(STAGES[0], 1.0, 0.0, 0.0, 1e156)])
def test_no_observation_makes_it_negative_or_nan(rows):
    fit = SegmentJoules(CUTS, SECONDS, OVERHEADS)
    for tick, (stage, part, joules, error, watts) in enumerate(rows):
        fit.observe(float(tick), [(fit.row(*stage), part)], joules, error, watts, watts)
    found = fit.estimate(30.0, 3.0, 0.3)
    assert np.isfinite(found.joules).all() and (found.joules >= 0).all()
    assert np.isfinite(found.deviation).all()
