# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Watts learned from what stages took: right, bounded, and not carried away."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.sensing.power.active_watts import ActiveWatts, StageWatts


def taught(fit, watts, count=100, seed=3, noise=0.05):
    lot = random.Random(seed)
    for _ in range(count):
        seconds = lot.uniform(0.01, 0.5)
        fit.observe(seconds, watts * seconds * lot.gauss(1.0, noise), 0.01 * seconds)
    return fit


def test_it_finds_the_watts_and_says_how_well():
    fit = taught(ActiveWatts(), 3.0)
    assert fit.watts == pytest.approx(3.0, rel=0.03)
    assert abs(fit.watts - 3.0) < 4 * fit.deviation < 0.5


def test_nothing_is_known_at_first_or_the_prior_is():
    assert math.isnan(ActiveWatts().watts)
    assert math.isnan(ActiveWatts().deviation)
    fit = ActiveWatts(2.0, 0.5)
    assert (fit.watts, fit.deviation) == (2.0, 0.5)
    assert taught(fit, 4.0).watts == pytest.approx(4.0, rel=0.05)


def test_a_minute_of_other_work_does_not_carry_it_away_and_a_lasting_change_does():
    fit = taught(ActiveWatts(), 3.0)
    for _ in range(10):
        fit.observe(0.1, 6.0)  # 60 W
    assert fit.watts < 4.5
    assert taught(fit, 6.0, count=600).watts == pytest.approx(6.0, rel=0.1)


def test_a_range_has_its_own_watts_once_it_ran_often_enough():
    fits = StageWatts()
    taught_range = [fits.observe('heavy', 0.1, 0.5, 0.001) for _ in range(20)]
    for _ in range(20):
        fits.observe('light', 0.1, 0.1, 0.001)
    assert len(taught_range) == 20
    assert fits.energy('heavy', 1.0).joules == pytest.approx(5.0, rel=0.01)
    assert fits.energy('light', 1.0).joules == pytest.approx(1.0, rel=0.01)
    assert 1.0 < fits.energy('new', 1.0).joules < 5.0
    assert fits.energy('new', 1.0).kind == 'measured'


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(numbers, numbers, numbers), max_size=40))
def test_whatever_it_is_told_it_stays_within_bounds(told):
    fit = ActiveWatts(2.0, 1.0, most_watts=50.0)
    for seconds, joules, error in told:
        fit.observe(seconds, joules, error)
        assert 0.0 <= fit.watts <= 50.0
        assert fit.deviation >= 0.0
