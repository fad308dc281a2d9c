# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Joules learned per layer and device in the planners: against all assignments, and in the plan that is chosen."""

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_dnn_partition.control.state.derating import Derating, DeratingSettings, DeviceHealth, with_joules
from edge_dnn_partition.planning.cost_model.batch import Batch
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.linear import energy_cost
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.solvers.solve import solve

FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def with_meters(document, seed):
    """Return the document with joules at some layers and devices, and the planners' problem of it."""
    rng = random.Random(seed)
    document = copy.deepcopy(document)
    problem = from_costs_json(document)
    joules = np.full(problem.seconds.shape, np.nan)
    for name in rng.sample(problem.names, rng.randint(1, len(problem.names))):
        for node, layer in enumerate(document['layers']):
            if rng.random() < 0.8:
                told = rng.choice([0.0, 1.0, 2.0, 0.5]) * rng.uniform(0.01, 0.3)
                joules[node, problem.position[name]] = told
                layer.setdefault('joules', {})[name] = told
    return document, replace(problem, node_joules=joules)


@FEW
@given(seed=st.integers(0, 10**6), nodes=st.integers(1, 6), devices=st.integers(1, 3), chain=st.booleans(),
       objective=st.sampled_from(['energy', 'balanced', 'deadline']), space=st.sampled_from(['any', 'each_device_once']),
       memory=st.booleans(), share=st.floats(0.0, 1.2))  # fmt: skip
def test_planners_with_joules_per_layer_are_exact(reference, seed, nodes, devices, chain, objective, space, memory, share):
    document = reference.random_document(seed, nodes=nodes, devices=devices, chain=chain, memory=memory, missing=0.2)
    document, problem = with_meters(document, seed)
    deadline = None
    if objective == 'deadline':
        fastest = reference.brute_force(document, 'latency', space)
        if fastest is None:
            return
        cheapest = reference.brute_force(document, 'energy', space)
        deadline = max(fastest[0] + share * (cheapest[1] - fastest[0]), 1e-6)
    best = reference.brute_force(document, objective, space, deadline=deadline)
    goal = Goal('deadline', deadline_seconds=deadline) if deadline is not None else Goal(objective)
    solution = solve(problem, goal, space)
    if best is None:
        assert not solution.feasible
        return
    if not solution.feasible:
        assert not solution.optimal
        return
    own = reference.plain_costs(document, solution.assignment)
    assert solution.energy_joules == pytest.approx(own['energy'], rel=1e-12, abs=1e-15)
    must_prove = space == 'any' and not memory and objective != 'deadline' and (chain or devices <= 2)
    assert solution.optimal or not must_prove
    if objective == 'deadline' and own['latency'] > deadline * (1 + 1e-9):
        assert best[1] > deadline
        return
    value = own['energy'] if objective in ('energy', 'deadline') else solution.objective_value
    assert value >= best[0] * (1 - 2e-9) - 1e-15, 'better than all assignments'
    if solution.optimal:
        assert value == pytest.approx(best[0], rel=3e-9, abs=1e-15)


@FEW
@given(seed=st.integers(0, 10**6), nodes=st.integers(2, 6), negative=st.booleans())
def test_all_ways_to_count_agree_on_joules_with_overheads(reference, seed, nodes, negative):
    document = reference.random_document(seed, nodes=nodes, devices=3)
    _, problem = with_meters(document, seed)
    rng = np.random.default_rng(seed)
    overheads = rng.uniform(-1.0 if negative else 0.0, 0.9, (nodes - 1, 3)) * np.minimum(problem.seconds[:-1], problem.seconds[1:])
    problem = replace(problem, seam_seconds=overheads)
    plans = rng.integers(0, 3, (20, nodes))
    linear, batch = energy_cost(problem), Batch(problem).measure(plans)
    for plan, counted in zip(plans, batch.energy_joules, strict=True):
        direct = evaluate(problem, plan)
        assert direct.energy_joules == pytest.approx(linear.value(problem, plan), rel=1e-12)
        assert direct.energy_joules == pytest.approx(counted, rel=1e-12)
        assert direct.energy_joules >= -1e-12


def chain_of_four():
    return from_costs_json({
        'source': 'pi', 'sink': 'pi', 'input_bytes': 1000,
        'devices': {'pi': {'active_watts': 4.0, 'radio_watts': 1.0}, 'jetson': {'active_watts': 6.0, 'radio_watts': 1.0}},
        'links': [{'from': a, 'to': b, 'bytes_per_second': 1e6, 'latency_seconds': 1e-4}
                  for a, b in (('pi', 'jetson'), ('jetson', 'pi'))],
        'layers': [{'name': f'l{i}', 'inputs': [i - 1], 'output_bytes': 1000, 'weight_bytes': 1,
                    'seconds': {'pi': 0.01, 'jetson': 0.01}} for i in range(4)],
    })  # fmt: skip


def test_layers_that_draw_twice_the_watts_move_away():
    plain = chain_of_four()
    assert solve(plain, 'energy').assignment == ('pi',) * 4
    health = {'pi': DeviceHealth(active_watts=4.0, measured=True, node_joules=(0.04, 0.08, 0.08, 0.04))}
    told = Derating().applied(plain, health, {}, DeratingSettings(), 0.0)
    assert solve(told, 'energy').assignment == ('pi', 'jetson', 'jetson', 'pi')
    assert solve(told, Goal('deadline', deadline_seconds=0.05)).assignment == ('pi', 'jetson', 'jetson', 'pi')
    assert solve(told, Goal('deadline', deadline_seconds=0.0401)).assignment == ('pi',) * 4
    assert solve(told, 'latency').assignment == ('pi',) * 4


def test_what_is_modelled_unknown_or_of_other_segments_leaves_the_watts():
    plain = chain_of_four()
    for state in (
        DeviceHealth(node_joules=(1.0,) * 4),  # not by a meter
        DeviceHealth(measured=True, node_joules=(1.0,) * 3),
        DeviceHealth(measured=True, node_joules=(float('nan'), float('inf'), -1.0, float('nan'))),
    ):
        assert with_joules(plain, {'pi': state}) is plain
    some = with_joules(plain, {'pi': DeviceHealth(measured=True, node_joules=(float('nan'), 0.5, -1.0, 0.0))})
    joules, _ = some.work_joules
    assert joules[:, 0] == pytest.approx([0.04, 0.5, 0.04, 0.0])
    assert joules[:, 1] == pytest.approx([0.06] * 4)
