# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Least energy under a deadline, and balanced with weights, against all assignments."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model import batch
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.linear import energy_cost, latency_cost
from edge_dnn_partition.planning.objectives import ENERGY, Goal
from edge_dnn_partition.planning.solvers import labels
from edge_dnn_partition.planning.solvers.judge import Judge
from edge_dnn_partition.planning.solvers.solve import solve

FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
PARTS = {
    'seed': st.integers(0, 10**6),
    'ties': st.booleans(),
    'missing': st.sampled_from([0.0, 0.3]),
    'channels': st.booleans(),
    'outputs': st.booleans(),
}
SHARES = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(-0.3, 1.2))
"""Where the deadline lies: 0 is the least latency, 1 that of the plan of least energy."""
SPACES = st.sampled_from(['any', 'each_device_once'])


def check(reference, document, share, space, *, must_prove):
    fastest = reference.brute_force(document, 'latency', space)
    if fastest is None:
        assert not solve(from_costs_json(document), Goal('deadline', deadline_seconds=1.0), space).feasible
        return
    cheapest = reference.brute_force(document, 'energy', space)
    deadline = max(fastest[0] + share * (cheapest[1] - fastest[0]), 1e-6)
    best = reference.brute_force(document, 'deadline', space, deadline=deadline)
    solution = solve(from_costs_json(document), Goal('deadline', deadline_seconds=deadline), space)
    own = reference.plain_costs(document, solution.assignment)
    within = own['latency'] <= deadline * (1 + 1e-9)
    assert solution.deadline_met == within
    assert within or best[1] > deadline, 'a deadline that can be met is missed'
    reached, asked = (own['energy'], best[2]) if within else (own['latency'], best[1])
    assert reached >= asked * (1 - 2e-9) - 1e-15, 'better than all assignments'
    if space == 'each_device_once':
        stages = reference.runs(solution.assignment)
        assert len(set(stages)) == len(stages)
    assert solution.optimal or not must_prove
    if must_prove or solution.optimal:
        assert reached == pytest.approx(asked, rel=3e-9, abs=1e-15)
    assert bool(solution.reason) == (not within)


@FEW
@given(nodes=st.integers(1, 6), devices=st.integers(1, 4), share=SHARES, space=SPACES, **PARTS)
def test_chains(reference, nodes, devices, share, space, **parts):
    document = reference.random_document(nodes=min(nodes, 5 if devices == 4 else 6), devices=devices, chain=True, **parts)
    check(reference, document, share, space, must_prove=True)


@FEW
@given(nodes=st.integers(1, 6), devices=st.integers(2, 3), share=SHARES, space=SPACES, orphans=st.booleans(), **PARTS)
def test_graphs(reference, nodes, devices, share, space, orphans, **parts):
    document = reference.random_document(nodes=nodes, devices=devices, orphans=orphans, **parts)
    check(reference, document, share, space, must_prove=True)


@FEW
@given(nodes=st.integers(1, 6), devices=st.integers(1, 3), share=SHARES, space=SPACES, chain=st.booleans(), **PARTS)
def test_memory(reference, nodes, devices, share, space, chain, **parts):
    document = reference.random_document(nodes=nodes, devices=devices, chain=chain, memory=True, **parts)
    check(reference, document, share, space, must_prove=True)


@FEW
@given(nodes=st.integers(2, 6), share=SHARES, memory=st.booleans(), **PARTS)
def test_graphs_that_are_too_large_to_try_all(reference, nodes, share, memory, **parts):
    """HiGHS takes 1e-7 too much for equal, so that it proves nothing where a plan just meets the deadline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, 'ENUMERATED', 0)
        document = reference.random_document(nodes=nodes, devices=3, memory=memory, **parts)
        check(reference, document, share, 'any', must_prove=not memory and share not in (0.0, 1.0))


@pytest.mark.parametrize('seed', range(4))
def test_long_chains_against_a_program(reference, seed):
    """Forty layers on five devices: Pareto labels against HiGHS with the deadline as a row."""
    from edge_dnn_partition.planning.solvers import milp

    problem = from_costs_json(reference.random_document(seed, nodes=40, devices=5, chain=True))
    fastest, cheapest = solve(problem, 'latency'), solve(problem, 'energy')
    deadline = 0.7 * fastest.latency_seconds + 0.3 * cheapest.latency_seconds
    solution = solve(problem, Goal('deadline', deadline_seconds=deadline))
    assert solution.optimal and solution.deadline_met
    result = milp.linear(
        problem, energy_cost(problem), problem.indices(solution.assignment), within=(latency_cost(problem), deadline), nodes=2000
    )
    assert result.lower_bound <= solution.energy_joules * (1 + 1e-7)
    assert evaluate(problem, result.assignment).energy_joules >= solution.energy_joules * (1 - 1e-5)


def test_labels_that_are_cut_off_claim_nothing(reference):
    problem = from_costs_json(reference.random_document(5, nodes=30, devices=4, chain=True))
    deadline = 0.5 * sum(solve(problem, name).latency_seconds for name in ('latency', 'energy'))
    judge = Judge(problem, ENERGY, most_seconds=deadline)
    assert not labels.within(judge, energy_cost(problem), latency_cost(problem), deadline, price=0.0, most=3)
    assert judge.best is None or evaluate(problem, judge.best).latency_seconds <= deadline


def test_a_missed_deadline_says_so(reference):
    problem = from_costs_json(reference.random_document(1, nodes=5, devices=3))
    solution = solve(problem, Goal('deadline', deadline_seconds=1e-4))
    assert solution.latency_seconds == solve(problem, 'latency').latency_seconds
    assert 'no plan keeps to the deadline of 0.1 ms' in solution.reason
    assert solution.to_json()['deadline_met'] is False


@FEW
@given(nodes=st.integers(1, 5), weights=st.tuples(st.floats(0, 10), st.floats(0, 10)).filter(lambda w: sum(w) > 0.01), **PARTS)
def test_weights(reference, nodes, weights, **parts):
    document = reference.random_document(nodes=nodes, devices=3, **parts)
    shares = tuple(w / sum(weights) for w in weights)
    best = reference.brute_force(document, 'balanced', weights=shares)
    solution = solve(from_costs_json(document), Goal('balanced', weights=weights))
    assert solution.feasible == (best is not None)
    if best is not None:
        assert solution.optimal
        assert solution.objective_value == pytest.approx(best[0], rel=2e-9, abs=1e-15)


def test_all_the_weight_on_one_side(reference):
    problem = from_costs_json(reference.random_document(2, nodes=6, devices=3))
    for weights, name in (((1.0, 0.0), 'latency'), ((0, 3), 'energy')):
        assert solve(problem, Goal('balanced', weights=weights)).assignment == solve(problem, name).assignment


@pytest.mark.parametrize(
    'given_',
    [('speed',), ('balanced', (1.0,)), ('balanced', (0.0, 0.0)), ('balanced', (-1.0, 2.0)), ('balanced', (math.nan, 1.0)),
     ('deadline',), ('deadline', (0.5, 0.5), 0.0), ('deadline', (0.5, 0.5), math.nan)],
)  # fmt: skip
def test_goals_that_are_not_whole(given_):
    with pytest.raises(PlanError):
        Goal(*given_)


def test_deadlines_do_not_depend_on_the_unit_of_energy(reference):
    document = reference.random_document(8, nodes=30, devices=4, chain=True)
    problem = from_costs_json(document)
    deadline = float(np.mean([solve(problem, name).latency_seconds for name in ('latency', 'energy')]))
    first = solve(problem, Goal('deadline', deadline_seconds=deadline))
    for device in document['devices'].values():
        device['energy_weight'] *= 1e-6
    second = solve(from_costs_json(document), Goal('deadline', deadline_seconds=deadline))
    assert first.assignment == second.assignment and first.optimal and second.optimal
