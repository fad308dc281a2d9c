# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Plans that get better the longer one looks: for throughput in search and scheduler, and in large fleets for latency."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.cli import bench
from edge_dnn_partition.control.decision import exact
from edge_dnn_partition.control.decision.exact import ExactPolicy
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.policy import Conditions
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.evaluate import evaluate, loads
from edge_dnn_partition.planning.cost_model.linear import latency_cost
from edge_dnn_partition.planning.objectives import BOTTLENECK, Goal
from edge_dnn_partition.planning.solvers import exhaustive, some_devices
from edge_dnn_partition.planning.solvers.bottleneck import Neighbourhood, TabuSearch
from edge_dnn_partition.planning.solvers.fewer_stages import effective_bottleneck
from edge_dnn_partition.planning.solvers.judge import Judge
from edge_dnn_partition.planning.solvers.pathbound import path_bound
from edge_dnn_partition.planning.solvers.solve import solve

bench.load('planner', bench.find()['planner'])

from edge_dnn_partition.benchmarks.throughput_graphs import FAMILIES, graph_problem  # noqa: E402


def rich(seed, nodes, devices):
    """A graph with boundary overheads, some below 0, and with seconds of coding."""
    rng = np.random.default_rng(seed)
    problem = graph_problem(FAMILIES[seed % 4], nodes, devices, rng)
    coded = tuple(dataclasses.replace(d, encode_seconds=0.002 * k, decode_seconds_per_byte=1e-9) for k, d in enumerate(problem.devices))
    return dataclasses.replace(problem, devices=coded, seam_seconds=rng.uniform(-0.002, 0.006, (nodes - 1, devices)))


def all_on_one(problem):
    return [np.full(problem.nodes, d) for d in range(len(problem.devices))]


@given(seed=st.integers(0, 10_000), nodes=st.integers(2, 14), devices=st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_each_move_is_known_to_lead_where_it_leads(seed, nodes, devices):
    problem = rich(seed, nodes, devices)
    around = Neighbourhood(problem)
    plans = np.random.default_rng(seed).integers(0, devices, (3, nodes))
    loads_now, nodes_of, norms = around.moves(plans, np.ones((3, around.resources)), 2)
    for plan, now, chosen, norm in zip(plans, loads_now, nodes_of, norms, strict=True):
        load = loads(problem, plan)
        assert now == pytest.approx(np.concatenate((load.device_seconds, load.channel_seconds)), rel=1e-9, abs=1e-12)
        for row, node in enumerate(chosen.tolist()):
            for device in range(devices):
                moved = plan.copy()
                moved[node] = device
                expected = float(((around.loads(moved[None])[0] / now.max()) ** 4).sum())
                assert norm[row, device] == (np.inf if device == plan[node] else pytest.approx(expected, rel=1e-9))


def test_two_nodes_that_must_change_places_are_moved_at_once():
    problem = graph_problem('skips', 4, 2, np.random.default_rng(0))
    work = np.array([7.0, 4.0, 5.0, 3.0])  # beside these the transfers are nothing
    problem = dataclasses.replace(problem, seconds=np.repeat(work[:, None], 2, axis=1))
    around, plan = Neighbourhood(problem), np.array([0, 0, 1, 1])
    (loads,), _, (norm,) = around.moves(plan[None], np.ones((1, around.resources)), 4)
    assert norm.min() > ((loads / loads.max()) ** 16).sum(), 'each move alone makes it worse'
    assert around.loads(around.pairs(plan)).max(axis=1).min() == pytest.approx(10.0)


@given(seed=st.integers(0, 10_000), steps=st.lists(st.integers(0, 4), min_size=1, max_size=4))
@settings(max_examples=6, deadline=None)
def test_a_longer_search_is_never_worse(seed, steps):
    problem = rich(seed, 12, 3)
    search, straight = (TabuSearch(problem, all_on_one(problem), seed=seed) for _ in range(2))
    before = evaluate(problem, search.best).bottleneck_seconds
    for kicks in steps:
        search.improve(kicks)
        now = evaluate(problem, search.best).bottleneck_seconds
        assert now <= before * (1 + 1e-12)
        before = now
    straight.improve(sum(steps))
    assert np.array_equal(straight.best, search.best), 'it is all the same whether it is looked for in one go'


@pytest.mark.parametrize('seed', range(8))
def test_search_finds_the_best_of_all_plans_where_they_can_be_counted(seed):
    problem = rich(seed, 9, 3)
    search = TabuSearch(problem, all_on_one(problem))
    search.improve(20)
    best = exhaustive.answer(problem, Judge(problem, BOTTLENECK)).assignment
    assert evaluate(problem, search.best).bottleneck_seconds == pytest.approx(evaluate(problem, best).bottleneck_seconds)


def test_a_known_plan_is_kept_or_improved():
    problem = rich(6, 24, 4)
    good = solve(problem, 'throughput', quick=True, few_stages=False)
    again = solve(problem, 'throughput', quick=True, few_stages=False, known=[good.assignment], seed=5)
    assert again.bottleneck_seconds <= good.bottleneck_seconds * (1 + 1e-12)


def test_between_decisions_the_plan_gets_better_until_nothing_is_gained(monkeypatch):
    monkeypatch.setattr(exact, '_IN_VAIN', 2)
    problem = rich(3, 22, 4)
    policy = ExactPolicy(Settings('throughput'))
    best, values = exact.Ahead(Goal('throughput')), []
    while not values or (len(values) < 20 and best._in_vain < 2):
        best.improve(problem)
        values.append(effective_bottleneck(problem, best.known(problem)[0]))
    assert values == sorted(values, reverse=True) and best._in_vain == 2, 'it ends'
    conditions = Conditions(0.0, problem)
    policy.choose(conditions)
    policy.maintain(conditions)
    choice = policy.choose(dataclasses.replace(conditions, now=1.0))
    assert effective_bottleneck(problem, choice.assignment) <= values[0] * (1 + 1e-12)
    slower = dataclasses.replace(problem, seconds=problem.seconds * 1.2)
    assert not best.known(slower), 'other conditions, another search'


@given(
    seed=st.integers(0, 10**6), nodes=st.integers(2, 6), memory=st.booleans(), channels=st.booleans(),
    objective=st.sampled_from(['latency', 'energy']), missing=st.sampled_from([0.0, 0.3]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_what_is_proven_of_some_devices_holds_for_all(reference, seed, nodes, memory, channels, objective, missing):
    document = reference.random_document(seed, nodes=nodes, devices=4, memory=memory, channels=channels, missing=missing)
    best = reference.brute_force(document, objective)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(some_devices, 'FEW', 1)
        patch.setattr(some_devices, '_RANKED', 1)
        found = solve(from_costs_json(document), objective)
    if best is None:
        assert not found.feasible
        return
    assert not found.feasible or found.objective_value >= best[0] * (1 - 1e-9)
    assert not found.optimal or found.objective_value == pytest.approx(best[0], rel=2e-9)


@given(seed=st.integers(0, 10_000), nodes=st.integers(2, 12))
@settings(max_examples=30, deadline=None)
def test_no_plan_through_a_device_is_below_its_bound(seed, nodes):
    problem = rich(seed, nodes, 4)
    cost = latency_cost(problem)
    through = path_bound(problem, cost).through
    for plan in np.random.default_rng(seed).integers(0, 4, (20, nodes)):
        value = cost.value(problem, plan)
        assert (through[np.arange(nodes), plan] <= value * (1 + 1e-9)).all()


def test_a_large_fleet_plans_a_graph_as_well_as_with_all_its_devices():
    problem = graph_problem('branches', 12, 60, np.random.default_rng(4))
    found = solve(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(some_devices, 'FEW', 60)
        whole = solve(problem)
    assert found.latency_seconds <= 1.02 * whole.latency_seconds
