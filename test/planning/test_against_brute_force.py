# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Every claim of `optimal` against all assignments, under the cost model written down a second time."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.solvers.solve import solve

OBJECTIVES = ('latency', 'energy', 'throughput', 'balanced')
FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
PARTS = {
    'seed': st.integers(0, 10**6),
    'ties': st.booleans(),
    'missing': st.sampled_from([0.0, 0.3]),
    'channels': st.booleans(),
    'outputs': st.booleans(),
}


def check(reference, document, objective, space, *, must_prove=False, exact_ties=False):
    best = reference.brute_force(document, objective, space)
    answer = solve(from_costs_json(document), objective, space).to_json()
    if best is None:
        assert not answer['feasible'] and answer['objective_value'] is None and answer['reason']
        assert answer['assignment'] is None
        return
    if not answer['feasible']:
        assert not answer['optimal'] and not must_prove
        return
    own = reference.plain_costs(document, answer['assignment'])
    assert own is not None, 'the plan cannot run'
    for key, field in (('latency', 'latency_seconds'), ('energy', 'energy_joules'), ('throughput', 'bottleneck_seconds')):
        assert answer[field] == pytest.approx(own[key], rel=1e-12, abs=1e-15)
    if space == 'each_device_once':
        stages = reference.runs(answer['assignment'])
        assert len(set(stages)) == len(stages)
    value = answer['objective_value']
    assert value >= best[0] * (1 - 1e-9) - 1e-15, 'better than all assignments'
    if must_prove:
        assert answer['optimal']
    if answer['optimal']:
        assert value == pytest.approx(best[0], rel=2e-9, abs=1e-15)
        if exact_ties:
            names = list(document['devices'])
            assert tuple(names.index(name) for name in answer['assignment']) == best[4]


@FEW
@given(nodes=st.integers(1, 6), devices=st.integers(1, 4), objective=st.sampled_from(OBJECTIVES[:2] + OBJECTIVES[3:]), **PARTS)
def test_chains_are_exact_and_break_ties_as_agreed(reference, nodes, devices, objective, **parts):
    document = reference.random_document(nodes=min(nodes, 5 if devices == 4 else 6), devices=devices, chain=True, **parts)
    check(reference, document, objective, 'any', must_prove=not parts['outputs'], exact_ties=True)


@FEW
@given(nodes=st.integers(1, 9), objective=st.sampled_from(OBJECTIVES[:2] + OBJECTIVES[3:]), orphans=st.booleans(), **PARTS)
def test_two_devices_are_exact_on_any_graph(reference, nodes, objective, orphans, **parts):
    document = reference.random_document(nodes=nodes, devices=2, orphans=orphans, **parts)
    check(reference, document, objective, 'any', must_prove=True, exact_ties=True)


@FEW
@given(nodes=st.integers(2, 6), objective=st.sampled_from(OBJECTIVES), orphans=st.booleans(), **PARTS)
def test_graphs_on_three_devices(reference, nodes, objective, orphans, **parts):
    document = reference.random_document(nodes=nodes, devices=3, orphans=orphans, **parts)
    check(reference, document, objective, 'any', must_prove=True)


@FEW
@given(
    nodes=st.integers(1, 6), devices=st.integers(1, 4), objective=st.sampled_from(OBJECTIVES), chain=st.booleans(), **PARTS
)
def test_each_device_once(reference, nodes, devices, objective, chain, **parts):
    document = reference.random_document(nodes=min(nodes, 5 if devices == 4 else 6), devices=devices, chain=chain, **parts)
    check(reference, document, objective, 'each_device_once', must_prove=True)


@FEW
@given(
    nodes=st.integers(1, 6), devices=st.integers(1, 3), objective=st.sampled_from(OBJECTIVES), chain=st.booleans(),
    space=st.sampled_from(['any', 'each_device_once']), **PARTS,
)  # fmt: skip
def test_memory(reference, nodes, devices, objective, chain, space, **parts):
    document = reference.random_document(nodes=nodes, devices=devices, chain=chain, memory=True, **parts)
    check(reference, document, objective, space, must_prove=True)


@pytest.mark.parametrize('objective', OBJECTIVES)
@pytest.mark.parametrize('space', ['any', 'each_device_once'])
def test_equal_input_equal_plan(reference, objective, space):
    document = reference.random_document(3, nodes=8, devices=4, channels=True)
    first, second = (solve(from_costs_json(document), objective, space) for _ in range(2))
    assert first.assignment == second.assignment and first.optimal == second.optimal
