# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Residuals: what is shared and what is a plan's own; drift back; telemetry that catches up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.adaptation.components import Components
from edge_dnn_partition.planning.adaptation.residuals import ResidualFilter, ResidualSettings

# Two plans on component 0, one on component 1, one on both.
PARTS = Components(np.array([[1.0, 0.0], [0.8, 0.0], [0.0, 1.2], [0.6, 0.6]]))


def fed(residuals, frames, truth, *, start=0.0, plans=(0, 1, 2, 3), own=(0, 0, 0, 0)):
    now = start
    for frame in range(frames):
        plan = plans[frame % len(plans)]
        now += 0.2
        residuals.advance(now)
        cost = float(PARTS.log_values(np.asarray(truth))[plan]) + own[plan]
        residuals.update(PARTS, plan, plan, cost)
    return now


def test_it_begins_at_the_planners_predictions():
    np.testing.assert_array_equal(ResidualFilter(2, 4).predict(PARTS), PARTS.log_values())


def test_a_slow_device_slows_all_its_plans_also_those_not_seen():
    residuals = ResidualFilter(2, 4)
    fed(residuals, 30, [0.7, 0.0], plans=(0, 2))
    change = residuals.predict(PARTS) - PARTS.log_values()
    assert change[0] == pytest.approx(0.7, abs=0.05)
    assert change[1] > 0.35
    assert abs(change[2]) < 0.05


def test_a_plans_own_effect_is_told_from_its_devices():
    residuals = ResidualFilter(2, 4)
    fed(residuals, 60, [0.0, 0.0], own=(0.4, 0, 0, 0))
    change = residuals.predict(PARTS) - PARTS.log_values()
    assert change[0] == pytest.approx(0.4, abs=0.08)
    assert np.abs(change[1:]).max() < 0.08


# Two devices and the link between them; a plan over all three, and one on the first device alone.
LEGS = Components(np.array([[0.08, 0.08, 0.04], [0.22, 0.0, 0.0]]))


@pytest.mark.parametrize('slow', [0, 1, 2])
def test_what_has_become_slow_is_told_from_the_rest_by_a_frames_parts(slow):
    residuals = ResidualFilter(3, 2)
    truth = np.zeros(3)
    now = 0.0
    for frame in range(60):
        now += 0.2
        residuals.advance(now)
        if frame == 57:
            truth[slow] = 1.1
        parts = LEGS.values[0] * np.exp(truth)
        log_cost = float(np.log(parts.sum()))
        residuals.update(LEGS, 0, 0, log_cost, parts=np.array([parts[0], parts[1], np.nan]))
    np.testing.assert_allclose(residuals.component_logs, truth, atol=0.13)
    np.testing.assert_allclose(residuals.plan_logs, 0.0, atol=0.08)


def test_without_its_parts_a_frame_leaves_that_open():
    residuals = ResidualFilter(3, 2)
    for frame in range(60):
        residuals.advance(0.2 * (frame + 1))
        cost = 0.08 + 0.08 * (3.0 if frame >= 57 else 1.0) + 0.04
        residuals.update(LEGS, 0, 0, float(np.log(cost)))
    assert residuals.component_logs[0] > 0.2, 'the first device is blamed as well'


def test_parts_that_nobody_timed_or_that_make_no_sense_do_no_harm():
    residuals = ResidualFilter(3, 2)
    for parts in ([np.nan] * 3, [0.0, np.inf, -1.0], [9.0, 9.0, np.nan]):
        residuals.update(LEGS, 0, 0, float(np.log(0.2)), parts=np.array(parts))
        assert np.isfinite(residuals.mean).all() and np.linalg.eigvalsh(residuals.covariance).min() >= -1e-12
    residuals.update(LEGS, 1, 1, float(np.log(0.22)), parts=np.array([0.22, 5.0, np.nan]))
    assert abs(residuals.component_logs[0]) < 0.3


def test_without_frames_it_drifts_back():
    residuals = ResidualFilter(2, 4, ResidualSettings(component_seconds=10.0))
    now = fed(residuals, 40, [0.7, 0.0])
    residuals.advance(now + 100.0)
    assert np.abs(residuals.component_logs).max() < 0.01


def test_a_step_is_followed_within_a_few_frames():
    residuals = ResidualFilter(2, 4)
    now = fed(residuals, 100, [0.0, 0.0])
    fed(residuals, 4, [0.9, 0.0], start=now, plans=(0,))
    assert residuals.predict(PARTS)[0] - PARTS.log_values()[0] == pytest.approx(0.9, abs=0.1)


def test_one_late_frame_moves_nothing():
    residuals = ResidualFilter(2, 4)
    fed(residuals, 100, [0.0, 0.0])
    before = residuals.mean.copy()
    residuals.update(PARTS, 0, 0, 1.0)
    np.testing.assert_array_equal(residuals.mean, before)


def test_what_telemetry_has_come_to_show_is_not_counted_twice():
    residuals = ResidualFilter(2, 4)
    residuals.telemetry(np.array([0.0, 0.0]))
    fed(residuals, 40, [0.7, 0.0])
    kept = residuals.component_logs.copy()
    residuals.telemetry(np.array([0.05, np.nan]))
    np.testing.assert_array_equal(residuals.component_logs, kept)
    residuals.telemetry(np.array([0.65, 0.0]))
    assert abs(residuals.component_logs[0]) < 0.12


@settings(deadline=None, max_examples=50)
@given(costs=st.lists(st.tuples(st.integers(0, 3), st.floats(-20, 20), st.floats(0, 100)), max_size=60))
def test_whatever_comes_covariances_stay_sound(costs):
    residuals = ResidualFilter(2, 4)
    now = 0.0
    for plan, cost, later in costs:
        now += later
        residuals.advance(now)
        residuals.update(PARTS, plan, plan if later < 50 else None, cost, alone=later < 1)
    assert np.isfinite(residuals.mean).all()
    assert np.linalg.eigvalsh((residuals.covariance + residuals.covariance.T) / 2).min() > -1e-9


def test_round_trip_and_refusal():
    residuals = ResidualFilter(2, 4)
    fed(residuals, 60, [0.0, 0.0], own=(0.4, 0, 0, 0))
    again = ResidualFilter(2, 4)
    again.restore(residuals.to_json())
    np.testing.assert_allclose(again.plan_logs, residuals.plan_logs)
    for bad in (None, {}, {'mean': [1], 'variance': [1]}, {'mean': ['x'] * 4, 'variance': [1] * 4},
                {'mean': [float('nan')] * 4, 'variance': [1] * 4}):  # fmt: skip
        with pytest.raises(PlanError):
            again.restore(bad)
