# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Deadlines that a share of the frames must keep to: how sums scatter, and the plans that are found, against all of them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_dnn_partition.control.decision.exact import decide
from edge_dnn_partition.control.decision.hysteresis import Hysteresis, Settings
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.evaluate import evaluate, sum_of_lognormals
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.solvers import deadline
from edge_dnn_partition.planning.solvers.solve import solve

FEW = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
NINE_IN_TEN = 0.9


@FEW
@given(
    parts=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6), share=st.floats(0.55, 0.97), certain=st.floats(0.0, 0.5),
    deviations=st.lists(st.floats(0.0, 0.5), min_size=6, max_size=6),
)  # fmt: skip
def test_a_sum_scatters_as_draws_of_its_parts_do(parts, deviations, share, certain):
    parts, deviations = np.array(parts), np.array(deviations[: len(parts)])
    tail = sum_of_lognormals(parts, deviations, certain)
    draws = parts * np.exp(deviations * np.random.default_rng(1).standard_normal((40_000, len(parts))))
    seen = float(np.quantile(draws.sum(axis=1), share)) + certain
    assert tail.quantile(Goal('deadline', deadline_seconds=1.0, deadline_share=share).reach) == pytest.approx(seen, rel=0.03, abs=1e-12)


def scattering(document, random):
    problem = from_costs_json(document)
    devices = {name: random.uniform(0.0, 0.2) for name in problem.names}
    links = {(link.sender, link.reader): random.uniform(0.1, 0.5) for link in problem.links}
    return problem.scattering(devices, links)


def every(problem, goal):
    """Return the least energy among the plans whose tails keep to the deadline; infinite if there is none."""
    plans = (evaluate(problem, list(plan)) for plan in itertools.product(range(len(problem.names)), repeat=problem.nodes))
    return min((costs.energy_joules for costs in plans if costs.feasible and not goal.late(costs)), default=math.inf)


def fleets(reference, count, chain):
    for seed in range(count):
        random = np.random.default_rng(seed)
        document = reference.random_document(
            nodes=5, devices=3, chain=chain, seed=seed, ties=False, missing=0.0, channels=False, outputs=False)
        problem = scattering(document, random)
        least, cheap = (solve(problem, name) for name in ('latency', 'energy'))
        if least.feasible:
            span = cheap.latency_seconds - least.latency_seconds
            most = 1.15 * least.latency_seconds + random.uniform(0.1, 1.3) * span
            yield problem, Goal('deadline', deadline_seconds=max(most, 1e-6), deadline_share=NINE_IN_TEN)


@pytest.mark.parametrize('tried', [True, False], ids=['all tried', 'sought'])
@pytest.mark.parametrize('chain', [True, False], ids=['chains', 'graphs'])
def test_plans_keep_their_tails_to_the_deadline_and_need_little_more_than_the_best(reference, monkeypatch, chain, tried):
    if not tried:
        monkeypatch.setattr(deadline, '_TRIED', 0)
    found, possible, excess = 0, 0, []
    for problem, goal in fleets(reference, 50, chain):
        solution, best = solve(problem, goal), every(problem, goal)
        costs = evaluate(problem, solution.assignment)
        assert solution.deadline_met == (not goal.late(costs))
        assert bool(solution.reason) == (not solution.deadline_met)
        possible += math.isfinite(best)
        if solution.deadline_met:
            found += 1
            assert costs.energy_joules >= best * (1 - 1e-9)
            excess.append(costs.energy_joules / best - 1 if best > 0 else costs.energy_joules)
            assert not solution.optimal or excess[-1] < 1e-6
    assert possible > 25
    assert found == possible if tried else found >= 0.97 * possible
    assert np.mean(excess) < (1e-9 if tried else 0.01)
    assert np.mean(np.array(excess) < 1e-6) > 0.95


def test_what_nothing_is_known_to_scatter_is_planned_by_its_prediction(reference):
    for problem, goal in fleets(reference, 10, True):
        plain = problem.scattering({}, {})
        assert plain.scatter is None
        assert solve(plain, goal).assignment == solve(plain, Goal('deadline', deadline_seconds=goal.deadline_seconds)).assignment


def test_a_plan_whose_tail_is_late_is_left_for_one_in_time(reference):
    moved = 0
    for problem, goal in fleets(reference, 60, True):
        usual = Goal('deadline', deadline_seconds=goal.deadline_seconds)
        assignment = solve(problem, usual).assignment
        present = evaluate(problem, assignment)
        settings_ = Settings(goal, least_gain=0.0, dwell_seconds=0.0, confirmations=1)
        decision = decide(9.0, problem, Hysteresis(settings_, assignment, 0.0))
        if not usual.late(present) and goal.late(present) and solve(problem, goal).deadline_met:
            moved += 1
            assert decision.assignment is not None
            assert not goal.late(decision.costs)
            assert goal.gain(present, decision.costs, present) == 1.0
    assert moved > 3


@pytest.mark.parametrize('share', [0.4, 1.0, math.nan])
def test_shares_that_are_none_are_refused(share):
    with pytest.raises(PlanError, match='deadline_share'):
        Goal('deadline', deadline_seconds=1.0, deadline_share=share)
