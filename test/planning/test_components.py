# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Components of predictions: they add up to the cost model; corrections of them are corrections of the problem."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.planning.adaptation.components import Predictor, corrected
from edge_dnn_partition.planning.cost_model.costs_json import read
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.objective import value

OBJECTIVES = ('latency', 'energy', 'throughput')


def plans_of(problem, seed, count=5):
    rng = np.random.default_rng(seed)
    return [tuple(problem.names[i] for i in rng.integers(0, len(problem.names), problem.nodes)) for _ in range(count)]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), objective=st.sampled_from(OBJECTIVES), missing=st.sampled_from([0.0, 0.2]))
def test_components_add_up_to_the_cost_model(reference, seed, objective, missing):
    problem = read(reference.random_document(seed, nodes=7, devices=3, missing=missing, channels=True))
    plans = plans_of(problem, seed)
    found = np.exp(Predictor(problem.names, objective).components(problem, plans).log_values())
    for plan, mine in zip(plans, found):
        costs = evaluate(problem, plan)
        if costs.feasible:
            assert mine == pytest.approx(value(costs, objective, None), rel=1e-9, abs=2e-12)
        else:
            assert np.isinf(mine)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_correcting_predictions_is_correcting_the_problem(reference, seed):
    problem = read(reference.random_document(seed, nodes=6, devices=3))
    predictor = Predictor(problem.names)
    logs = np.random.default_rng(seed).normal(0, 0.5, predictor.count)
    plans = plans_of(problem, seed)
    one = predictor.components(problem, plans).log_values(logs)
    other = predictor.components(corrected(problem, problem.names, logs), plans).log_values()
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_a_plan_over_a_gone_device_cannot_run(reference):
    document = reference.random_document(3, nodes=5, devices=3)
    names = list(document['devices'])
    gone = next(n for n in names if n not in (document['source'], document['sink']))
    everywhere = Predictor(names)
    for key in ('devices',):
        document[key].pop(gone)
    document['links'] = [link for link in document['links'] if gone not in (link['from'], link['to'])]
    for layer in document['layers']:
        layer['seconds'].pop(gone)
    found = everywhere.components(read(document), [(gone,) * 5, (document['source'],) * 5]).log_values()
    assert np.isinf(found[0])
    assert np.isfinite(found[1])


def test_shares_are_the_gradient(reference):
    problem = read(reference.random_document(5, nodes=6, devices=3))
    predictor = Predictor(problem.names)
    parts = predictor.components(problem, plans_of(problem, 5))
    logs = np.random.default_rng(1).normal(0, 0.3, predictor.count)
    step = 1e-6
    for row in range(5):
        slope = [
            (parts.log_values(logs + step * unit)[row] - parts.log_values(logs)[row]) / step for unit in np.eye(predictor.count)
        ]
        np.testing.assert_allclose(parts.shares(row, logs), slope, atol=1e-5)
