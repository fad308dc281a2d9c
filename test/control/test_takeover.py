# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Who decides, and how many shadow frames there may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.control.decision.auto import Takeover, TakeoverSettings
from edge_dnn_partition.control.decision.qlearning import ShadowBudget
from edge_dnn_partition.errors import PlanError

SETTINGS = TakeoverSettings(threshold=0.2, hold_seconds=2.0, return_seconds=5.0, watch_seconds=4.0)


def feed(takeover, start, seconds, error, *, every=0.2, shadow=False):
    for step in range(1, round(seconds / every) + 1):
        takeover.frame(start + step * every, error, shadow=shadow)
    return start + seconds


def test_the_planner_decides_at_first_and_while_it_is_right():
    takeover = Takeover(SETTINGS)
    takeover.switched(0.0)
    feed(takeover, 0.0, 100.0, 0.1)
    assert not takeover.learning


def test_a_wrong_prediction_must_last():
    takeover = Takeover(SETTINGS)
    takeover.switched(0.0)
    now = feed(takeover, 0.0, 1.0, 0.6)
    now = feed(takeover, now, 20.0, 0.0)
    assert not takeover.learning
    feed(takeover, now, 6.0, 0.6)
    assert takeover.learning


def test_errors_of_either_sign_count():
    takeover = Takeover(SETTINGS)
    takeover.switched(0.0)
    feed(takeover, 0.0, 10.0, -0.6)
    assert takeover.learning


def taken_over():
    takeover = Takeover(SETTINGS)
    takeover.switched(0.0)
    return takeover, feed(takeover, 0.0, 10.0, 0.6)


def test_a_plan_that_is_well_predicted_after_a_while_is_no_reason_to_hand_back():
    takeover, now = taken_over()
    feed(takeover, now, 200.0, 0.0)
    assert takeover.learning


def test_it_hands_back_when_predictions_after_switches_hold_again():
    takeover, now = taken_over()
    for _ in range(10):
        takeover.switched(now)
        now = feed(takeover, now, 10.0, 0.02)
    assert not takeover.learning


def test_shadow_frames_are_evidence_too():
    takeover, now = taken_over()
    feed(takeover, now, 200.0, 0.02, every=10.0, shadow=True)
    assert not takeover.learning


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(-0.1, 0.1), st.booleans(), st.booleans()), max_size=80))
def test_small_errors_never_make_it_take_over(frames):
    takeover, now = Takeover(SETTINGS), 0.0
    for later, error, shadow, switch in frames:
        now += later
        if switch:
            takeover.switched(now)
        assert not takeover.frame(now, error, shadow=shadow)


@given(st.lists(st.tuples(st.floats(0.2, 1), st.floats(0.4, 3)), min_size=60, max_size=80))
def test_large_errors_always_do(frames):
    takeover, now = Takeover(SETTINGS), 0.0
    takeover.switched(now)
    for later, error in frames:
        now += later
        takeover.frame(now, error)
    assert takeover.learning


@given(share=st.floats(0, 1), wants=st.lists(st.booleans(), max_size=400))
def test_the_budget_is_never_exceeded(share, wants):
    budget, granted = ShadowBudget(share), 0
    for count, want in enumerate(wants, 1):
        budget.frame()
        if want and budget.available:
            budget.spend()
            granted += 1
        assert granted <= share * count + 1e-6


def test_the_budget_is_given_out():
    budget, granted = ShadowBudget(0.02), 0
    for _ in range(1000):
        budget.frame()
        if budget.available:
            budget.spend()
            granted += 1
    assert granted == 20
    with pytest.raises(PlanError, match='used up'):
        budget.spend()
    with pytest.raises(PlanError, match='shadow_share'):
        ShadowBudget(1.5)
