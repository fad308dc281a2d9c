# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An objective is one class: a trial one, registered here, is planned under, moved by, explained and offered everywhere."""

import argparse
import ast
import itertools
from pathlib import Path

import numpy as np
import pytest

import edge_dnn_partition
from edge_dnn_partition.cli import plan as plan_verb
from edge_dnn_partition.control.decision.explain import explain
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.policies import policy_of
from edge_dnn_partition.control.decision.policy import Conditions
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.planning.objectives import OBJECTIVES, Criterion, Goal, Objective, register
from edge_dnn_partition.planning.solvers.solve import solve

CENTS_PER_SECOND, CENTS_PER_JOULE = 0.4, 0.03


class RunningCost(Objective):
    """Rent by the second and electricity by the joule."""

    name = 'running_cost'
    summary = 'least cents per frame'
    minimises = Criterion(CENTS_PER_SECOND, CENTS_PER_JOULE)
    unit, scale, suffix = 'ct', 1.0, ' ct'
    worse, better = 'dearer', 'cheaper'


@pytest.fixture
def trial():
    register(RunningCost())
    yield Goal('running_cost')
    del OBJECTIVES['running_cost']


def cents(problem, assignment):
    costs = evaluate(problem, assignment)
    return CENTS_PER_SECOND * costs.latency_seconds + CENTS_PER_JOULE * costs.energy_joules


@pytest.mark.parametrize('space', ['any', 'each_device_once'])
@pytest.mark.parametrize('chain', [True, False])
@pytest.mark.parametrize('seed', range(4))
def test_a_trial_objective_is_planned_exactly(trial, reference, seed, chain, space):
    document = reference.random_document(seed, nodes=5, devices=3, chain=chain)
    problem = from_costs_json(document)
    found = solve(problem, trial, space)
    every = [plan for plan in itertools.product(problem.names, repeat=problem.nodes) if evaluate(problem, plan).feasible]
    if space == 'each_device_once':
        every = [plan for plan in every if len([key for key, _ in itertools.groupby(plan)]) == len(set(plan))]
    assert found.optimal
    assert found.objective == 'running_cost'
    assert found.objective_value == pytest.approx(min(cents(problem, plan) for plan in every), rel=1e-9)
    assert found.objective_value == pytest.approx(cents(problem, found.assignment), rel=1e-12)


def two_boards():
    """Slow and frugal against quick and hungry: the quick board is cheaper by the second, the slow one by the joule."""
    return from_costs_json({
        'source': 'pi', 'sink': 'pi', 'input_bytes': 1e5,
        'devices': {'pi': {'active_watts': 4.0, 'radio_watts': 1.0}, 'jetson': {'active_watts': 30.0, 'radio_watts': 1.0}},
        'links': [{'from': a, 'to': b, 'bytes_per_second': 4e6} for a, b in (('pi', 'jetson'), ('jetson', 'pi'))],
        'layers': [
            {'inputs': [-1], 'output_bytes': 4e4, 'seconds': {'pi': 0.02, 'jetson': 0.01}},
            {'inputs': [0], 'output_bytes': 1e2, 'seconds': {'pi': 0.40, 'jetson': 0.05}},
        ],
    })  # fmt: skip


def test_a_policy_moves_by_a_trial_objective(trial):
    problem = two_boards()
    best = tuple(solve(problem, trial).assignment)
    other = max(itertools.product(problem.names, repeat=2), key=lambda plan: cents(problem, plan))
    assert best != other
    policy = policy_of('exact', Settings(trial, confirmations=1))
    policy.moved(0.0, other)
    choice = policy.choose(Conditions(100.0, problem))
    assert choice.assignment == best
    assert choice.values == pytest.approx((cents(problem, other), cents(problem, best)))


def test_a_trial_objective_is_explained_in_its_own_words(trial):
    problem = two_boards()
    best = tuple(solve(problem, trial).assignment)
    found = explain(problem, best, (0, 1), trial, reason='first plan', moved=True)
    assert found.unit == 'ct'
    assert found.value == pytest.approx(cents(problem, best))
    assert f'{cents(problem, best):.3g} ct predicted' in found.text
    assert '% dearer' in found.text


def test_a_trial_objective_is_known_to_fleet_files_and_the_command_line(trial):
    document = {'source': 'pi', 'objective': 'running_cost', 'devices': {'pi': {}}}
    assert parse_fleet(document).goal == trial
    assert trial.counts_joules
    parser = argparse.ArgumentParser()
    plan_verb.add_parser(parser.add_subparsers())
    assert parser.parse_args(['plan', '--objective', 'running_cost']).objective == 'running_cost'


def test_an_unknown_objective_is_refused_with_the_nearest_one():
    with pytest.raises(PlanError, match="unknown objective 'latancy'; did you mean 'latency'"):
        parse_fleet({'source': 'pi', 'objective': 'latancy', 'devices': {'pi': {}}})


def test_only_the_objectives_know_their_names():
    """Nowhere else, but for benchmarks of chosen ones, is an objective told apart by its name."""
    package = Path(edge_dnn_partition.__file__).parent
    found = []
    for path in package.rglob('*.py'):
        if path.name == 'objectives.py' or 'benchmarks' in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if not isinstance(node, ast.Compare):
                continue
            words = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
            if words & OBJECTIVES.keys():
                found.append(f'{path.relative_to(package)}:{node.lineno}')
    assert not found


def test_a_criterion_measures_one_plan_and_many_alike():
    criterion = Criterion(seconds=2.0, joules=0.0)
    costs = evaluate(two_boards(), ('pi', 'pi'))
    assert criterion.of(costs) == 2 * costs.latency_seconds
    many = type('Many', (), {'latency_seconds': np.array([1.0, 2.0]), 'energy_joules': np.array([np.inf, 1.0])})
    assert criterion.of(many).tolist() == [2.0, 4.0], 'an infinite figure that counts nothing is left out'
