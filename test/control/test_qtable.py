# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The Q-table: it begins at nothing, learns what choices entail, and stays small and bounded."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.control.decision.candidates import LIMIT
from edge_dnn_partition.control.decision.qtable import CONDITIONS, MOST_STATES, QSettings, QTable
from edge_dnn_partition.errors import PlanError


def test_the_default_states_are_few_enough():
    assert CONDITIONS * LIMIT <= MOST_STATES
    with pytest.raises(PlanError, match='fewer bins'):
        QTable(26, 8, QSettings())


@given(excess=st.lists(st.floats(0, 3), min_size=4, max_size=4), where=st.integers(0, 5))
def test_at_the_start_the_least_q_is_the_planners_choice(excess, where):
    table = QTable(6, 4, QSettings(switch_cost=0.0))
    excess = np.array(excess)
    assert table.q(where, 0, excess).argmin() == excess.argmin()


def thermal(discount, steps=4000, seed=0):
    """Two plans: 0 is faster but makes hot, 1 keeps cool; hot, plan 0 is slow. Return what Q prefers while cool."""
    table = QTable(3, 2, QSettings(discount=discount, switch_cost=0.0))
    rng = np.random.default_rng(seed)
    costs = {0: np.array([0.0, 0.1]), 1: np.array([0.0, 0.1]), 2: np.array([1.0, 0.6])}
    where = 0
    for _ in range(steps):
        plan = int(rng.integers(2)) if rng.random() < 0.3 else int(table.q(where, 0, costs[where]).argmin())
        then = min(where + 1, 2) if plan == 0 else max(where - 1, 0)
        table.learn(where, plan, 0.0, 1.0, then, costs[then])
        where = then
    return int(table.q(1, 0, costs[1]).argmin())


@pytest.mark.parametrize('seed', range(3))
def test_only_with_a_future_does_it_keep_a_device_cool(seed):
    assert thermal(0.0, seed=seed) == 0
    assert thermal(0.9, seed=seed) == 1


def test_what_befalls_all_alike_makes_no_difference():
    table = QTable(1, 3, QSettings(discount=0.9, mean_seconds=5.0))
    for step in range(3000):
        level = 0.5 if (step // 400) % 2 else 0.0
        table.learn(0, step % 2, 0.0, 0.5, 0, np.array([level, level, level]))
    future = table.future(0)
    assert np.ptp(future) < 0.15


@settings(deadline=None, max_examples=30)
@given(
    events=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(-9, 9), st.floats(0.01, 5), st.integers(0, 5)), max_size=50
    ),
    excess=st.lists(st.floats(0, 9), min_size=4, max_size=4),
)
def test_entries_are_bounded_and_survive_a_round_trip(events, excess):
    table = QTable(6, 4, QSettings(discount=0.95))
    for where, plan, surprise, seconds, then in events:
        table.learn(where, plan, surprise, seconds, then, np.array(excess))
    assert np.abs(table.values).max() <= table.settings.clip
    again = QTable(6, 4, QSettings(discount=0.95))
    again.restore(json.loads(json.dumps(table.to_json())))
    np.testing.assert_array_equal(again.values, table.values)
    np.testing.assert_array_equal(again.visits, table.visits)
    for where in range(6):
        np.testing.assert_array_equal(again.future(where), table.future(where))


def test_a_malformed_table_is_refused():
    table = QTable(2, 2, QSettings())
    good = table.to_json()
    for bad in (None, {}, {**good, 'values': [[0.0]]}, {**good, 'visits': 'x'}, {**good, 'values': [[float('nan')] * 2] * 2},
                {**good, 'visits': [[-1, 0], [0, 0]]}):  # fmt: skip
        with pytest.raises(PlanError):
            table.restore(bad)


def test_a_replaced_plan_is_forgotten():
    table = QTable(2, 2, QSettings())
    table.learn(0, 1, 0.5, 1.0, 0, np.zeros(2))
    assert table.values[0, 1] != 0
    table.forget_plan(1)
    assert not table.values.any()
    assert not table.visits.any()
