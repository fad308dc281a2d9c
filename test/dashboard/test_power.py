# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Power from totals of energy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.dashboard.power import WINDOW_SECONDS, MeanPower


@given(st.floats(0, 100), st.lists(st.floats(0.1, 2.0), min_size=1, max_size=30))
def test_steady_power_is_found_from_any_totals(watts, steps):
    power, at = MeanPower(), 0.0
    for step in (0.0, *steps):
        at += step
        power.record(1, 'modelled', at, watts * at)
    assert power.watts == pytest.approx(watts, abs=1e-6) and power.kind == 'modelled'


def test_it_follows_a_change_within_the_window():
    power = MeanPower()
    for second in range(10):
        power.record(1, 'measured', second, 2.0 * second)
    for second in range(10, 10 + int(WINDOW_SECONDS) + 1):
        power.record(1, 'measured', second, 18.0 + 5.0 * (second - 9))
    assert power.watts == pytest.approx(5.0)


def test_a_new_start_and_unknown_totals():
    power = MeanPower()
    power.record(1, 'modelled', 1.0, 3.0)
    power.record(1, 'modelled', 2.0, math.nan)
    assert math.isnan(power.watts)
    power.record(1, 'modelled', 3.0, 7.0)
    assert power.watts == 2.0
    power.record(1, 'modelled', 3.0, 9.0)
    assert power.watts == 2.0
    power.record(2, 'modelled', 0.5, 1.0)
    assert math.isnan(power.watts)
