# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Finding the best plan: which method answers which problem.

=====================  =========================  =====================================================
objective              problem                    method
=====================  =========================  =====================================================
latency, energy,       chain                      Viterbi (exact)
balanced               two devices, any graph     minimum cut (exact)
..                     any graph                  expansion and swap moves, each a minimum cut; exact
                                                  search over the frontier; HiGHS where small
..                     each device once           search over (position, device, devices used)
deadline               any                        the above at a price on seconds (Lagrangean bound); then
                                                  Pareto labels on chains, else HiGHS where small
throughput             each device once, chain    exact search over sets of devices
..                     else                       Lagrangian bound, tabu search, HiGHS where small
memory that binds                                 the same with a price on memory, and HiGHS where small
=====================  =========================  =====================================================

All of them are deterministic: no randomness without a fixed seed, limits by work and not by time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import LATENCY, Goal, goal_of

from . import chain, linked_chain, twodevices
from .judge import Answer, Judge, check_space, levels


@dataclass(frozen=True)
class Solution:
    """A plan and its costs; ``None`` in place of each where no plan can run.

    :param assignment: the device of each node.
    :param optimal: proven best of its space, to 1e-9 relative (with ``feasible`` false: proven
        that nothing can run).
    :param reason: why there is no plan, or, for the objective ``deadline``, why this one misses it.
    :param deadline_met: for the objective ``deadline``: whether the plan keeps to it.
    """

    objective: str
    feasible: bool
    optimal: bool
    assignment: tuple[str, ...] | None
    objective_value: float | None
    latency_seconds: float | None
    energy_joules: float | None
    bottleneck_seconds: float | None
    planning_seconds: float
    reason: str = ''
    deadline_met: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the answer as ``plan --costs --json`` prints it."""
        answer: dict[str, Any] = {
            'feasible': self.feasible,
            'optimal': self.optimal,
            'objective': self.objective,
            'objective_value': self.objective_value,
            'latency_seconds': self.latency_seconds,
            'energy_joules': self.energy_joules,
            'bottleneck_seconds': self.bottleneck_seconds,
            'assignment': None if self.assignment is None else list(self.assignment),
            'planning_seconds': self.planning_seconds,
        }
        if self.deadline_met is not None:
            answer['deadline_met'] = self.deadline_met
        if self.reason:
            answer['reason'] = self.reason
        return answer


def solve(
    problem: Problem, objective: str | Goal = 'latency', space: str = 'any', *, quick: bool = False,
    few_stages: bool | None = None, known: Sequence[Sequence[str]] = (), seed: int = 0,
) -> Solution:  # fmt: skip
    """Return the best plan that is found for a problem.

    Equal values are decided by less latency, then less energy, then fewer stages (maximal runs of
    consecutive nodes on one device), then the order of the devices, from the first node on.

    :param objective: its name, or a whole `Goal`.
    :param space: ``any``, or ``each_device_once``: no device has two stages.
    :param quick: throughput: for who plans all the time: leave HiGHS out, which takes seconds of a core where three devices
        or more share a model, and search a quarter as long. The bottleneck is up to a few per cent longer (docs/planning.md).
    :param few_stages: throughput: for a pipeline that is to run: have no more stages than pay. None: if ``quick``, and in
        chains, since in a bare graph the order of parallel branches, and so what is a stage, is arbitrary.
    :param known: throughput: plans that the answer is none the worse for; with ``quick`` these are improved, in a short while.
    :param seed: throughput: of the search's course: another one may find a better plan.
    :raises PlanError: for an unknown objective or space, or a goal that is not whole.
    """
    goal = goal_of(objective)
    check_space(space)
    start = time.perf_counter()
    reference, proven, met, reason = None, True, None, ''
    if goal.objective.has_deadline:
        from .deadline import answer_deadline

        found, met = answer_deadline(problem, goal, space)
    else:
        if goal.objective.relative:
            reference, proven = _reference(problem)
            if reference is None:
                return _nothing(problem, goal.name, start, proven=True)
        judge = Judge(problem, goal.criterion(reference), space)
        if goal.pipelined:
            few_stages = (quick and problem.is_chain) if few_stages is None else few_stages
            plans = [problem.indices(plan) for plan in known]
            found = answer(problem, judge, quick=quick, few_stages=few_stages, known=plans, seed=seed)
        else:
            found = answer(problem, judge)
    if found.assignment is None:
        return _nothing(problem, goal.name, start, proven=found.optimal)
    costs = evaluate(problem, found.assignment)
    if met is False:
        plan = 'no plan keeps' if found.optimal else 'no plan was found that keeps'
        reason = (
            f'{plan} to the deadline of {goal.deadline_seconds * 1e3:.4g} ms{_in_words(goal)}; '
            f'this is the one of least latency, {costs.latency_seconds * 1e3:.4g} ms'
        )
    return Solution(
        objective=goal.name,
        feasible=True,
        optimal=found.optimal and proven,
        assignment=tuple(problem.names[d] for d in found.assignment),
        objective_value=goal.value(costs, reference),
        latency_seconds=costs.latency_seconds,
        energy_joules=costs.energy_joules,
        bottleneck_seconds=costs.bottleneck_seconds,
        planning_seconds=time.perf_counter() - start,
        reason=reason,
        deadline_met=met,
    )


def _reference(problem: Problem) -> tuple[Costs | None, bool]:
    """Return the costs of everything on the source if that can run, else of the plan of least latency, and whether that is proven.

    The plan of least latency is sought in the space ``any`` whatever the space asked for, so that a relative objective means the
    same in both. None if no plan can run.
    """
    costs = evaluate(problem, np.full(problem.nodes, problem.source_index))
    if costs.feasible:
        return costs, True
    fastest = answer(problem, Judge(problem, LATENCY))
    return (None if fastest.assignment is None else evaluate(problem, fastest.assignment)), fastest.optimal


def _in_words(goal: Goal) -> str:
    return f' in {goal.deadline_share:.4g} of the frames' if goal.reach > 0 else ''


def _nothing(problem: Problem, objective: str, start: float, *, proven: bool) -> Solution:
    return Solution(
        objective, False, proven, None, None, None, None, None, time.perf_counter() - start, why_not(problem, proven)
    )


def why_not(problem: Problem, proven: bool = True) -> str:
    """Return why no plan can run, as far as it is plain to see."""
    stuck = np.flatnonzero(~np.isfinite(problem.seconds).any(axis=1))
    if len(stuck):
        return f'layer {problem.node_names[stuck[0]]!r} cannot run on any device'
    memory = problem.column('memory_bytes')
    able = np.where(np.isfinite(problem.seconds), memory[None, :], -1).max(axis=1)
    heavy = np.flatnonzero(problem.weight_bytes > able)
    if len(heavy):
        return f'the weights of layer {problem.node_names[heavy[0]]!r} fit into no device that can run it'
    if problem.weight_bytes.sum() > memory.sum():
        return 'the weights do not fit into the memory of all devices together'
    if not proven:
        return 'no plan was found that keeps to links and memory; one may exist'
    return 'no assignment keeps to the links, the memory and the devices that each layer can run on'


def answer(problem: Problem, judge: Judge, **throughput: Any) -> Answer:
    """Return the best assignment for a judge's criterion and space; for the options see :func:`.throughput.answer_throughput`."""
    if not np.isfinite(problem.seconds).any(axis=1).all():
        return Answer(None, True)
    if judge.criterion.bottleneck:
        from .throughput import answer_throughput

        return answer_throughput(problem, judge, **throughput)
    return answer_linear(problem, judge, levels(problem, judge.criterion))


def answer_linear(problem: Problem, judge: Judge, costs: Sequence[LinearCost]) -> Answer:
    """Return the best assignment under a cost that adds up."""
    free = unlimited(problem, costs)
    if free is not None:
        if free.assignment is None:
            return free
        fits = np.isfinite(judge.offer(free.assignment))
        if fits and free.optimal:
            return free
    if judge.space == 'each_device_once':
        from .once import answer_once

        return answer_once(problem, judge, costs)
    from .some_devices import FEW, answer_some_devices

    if len(problem.devices) > FEW and (found := answer_some_devices(problem, judge, costs)) is not None:
        return found
    from .general import answer_general

    return answer_general(problem, judge, costs)


def unlimited(problem: Problem, costs: Sequence[LinearCost]) -> Answer | None:
    """Return the exact optimum without regard to memory and space, where a fast method knows it."""
    if problem.is_chain:
        if len(problem.devices) > linked_chain.FEW and (path := linked_chain.only_path(problem, costs[0])) is not None:
            return Answer(path, True)
        found = chain.shortest(_trellises(problem, costs))
        return Answer(None, True) if found is None else Answer(found[0], True)
    if twodevices.applies(problem, costs[0]):
        cut = twodevices.solve(problem, costs)
        if cut is None:
            return Answer(None, True)
        return Answer(cut[0], cut[1] <= 1e-10 * max(costs[0].value(problem, cut[0]), 0.0))
    return None


def _trellises(problem: Problem, costs: Sequence[LinearCost]) -> Iterator[chain.Trellis]:
    """Yield the trellis of each level, built when a tie asks for it; the last counts stages."""
    for cost in costs:
        yield chain.trellis(problem, cost)
    yield chain.stage_trellis(problem.nodes, len(problem.devices))
