# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Why a plan is what it is, in words: what it sends over which link, the next best plan, what it costs to do without a device.

The next best plan is found as Lawler does (E. L. Lawler, A procedure for computing the K best solutions to discrete
optimization problems, Management Science 18, 1972): every other assignment agrees with the best one up to some node and
differs there, so that one planning problem for each node has the second best among its answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.linear import transfers
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import OBJECTIVES, Goal
from edge_dnn_partition.planning.plans.compose import placement_of
from edge_dnn_partition.planning.plans.plan import label_of
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.units import format_bytes, format_rate

from .policy import Assignment, feasible

_SHOWN_SHARE: Final = 0.1
"""Transfers that take a smaller share of all transfers' time are left out."""


@dataclass(frozen=True)
class Explanation:
    """A plan's reasons; values are predictions in the objective's unit.

    :param next_best: as `plan.parse_label` reads it; empty if no other plan can run.
    :param best_latency_seconds: of the plan that the planner holds for the best one now; NaN if none can run.
    """

    text: str
    objective: str
    value: float
    next_best: str = ''
    next_best_value: float = math.nan
    best_latency_seconds: float = math.nan

    @property
    def unit(self) -> str:
        """The unit of both values."""
        return OBJECTIVES[self.objective].unit


@dataclass(frozen=True, eq=False)
class _Scale:
    """Compares plans by a goal."""

    problem: Problem
    goal: Goal
    reference: Costs

    def costs(self, assignment: Assignment) -> Costs:
        return evaluate(self.problem, assignment)

    def value(self, costs: Costs) -> float:
        return self.goal.value(costs, self.reference)

    def rank(self, assignment: Assignment) -> tuple[bool, float]:
        costs = self.costs(assignment)
        late = self.goal.late(costs)
        return late, self.goal.counted(costs) if late else self.value(costs)

    def against(self, assignment: Assignment, present: Assignment) -> str:
        """Say how another plan compares with the present one."""
        costs, current = self.costs(assignment), self.costs(present)
        if self.goal.late(costs):
            return f'{(self.goal.counted(costs) - self.goal.deadline_seconds) * 1e3:.3g} ms over the deadline'
        before, after = self.value(current), self.value(costs)
        share = after / before - 1 if before > 0 else 0.0
        if abs(share) < 0.005:
            return 'as good'
        return f'{100 * abs(share):.0f} % {self.goal.objective.worse if share > 0 else self.goal.objective.better}'


def explain(
    problem: Problem, assignment: Assignment, boundaries: Sequence[int], goal: Goal, *, reason: str, moved: bool = False
) -> Explanation:
    """Return why a plan is in force. Pure and deterministic; takes as many plannings as the problem has nodes.

    :param assignment: the plan in force, the device of each node.
    :param boundaries: the cut indices between which the segments lie.
    :param reason: why the fleet moved to the plan, or stays with it.
    """
    best = solve(problem, goal, quick=True, few_stages=True).assignment
    why = f'{"moved here" if moved else "stays"}: {reason}'
    words = plan_words(assignment, boundaries)
    if best is None or not feasible(problem, assignment):
        return Explanation(f'{words}, which cannot go on now; {why}', goal.name, math.nan)
    reference = evaluate(problem, [problem.source] * problem.nodes)
    scale = _Scale(problem, goal, reference if reference.feasible else evaluate(problem, best))
    other = best if best != assignment else next_best(scale, best)
    value = scale.value(scale.costs(assignment))
    parts = [': '.join(filter(None, (words, _hop_words(problem, assignment)))), f'{goal.objective.in_words(value)} predicted']
    if other is None:
        parts.append('no other plan is possible')
    else:
        which = 'predicted to be better' if other == best and scale.rank(best) < scale.rank(assignment) else 'next best'
        parts.append(f'{which}: {plan_words(other, boundaries)}, {scale.against(other, assignment)}')
        if set(other) == set(assignment):
            parts += _without(scale, assignment, boundaries)
    return Explanation(
        '; '.join([*parts, why]), goal.name, value, label_of(placement_of(other, boundaries)) if other else '',
        scale.value(scale.costs(other)) if other else math.nan, scale.costs(best).latency_seconds,
    )  # fmt: skip


def next_best(scale: _Scale, best: Assignment) -> Assignment | None:
    """Return the best plan other than the best one; None if no other can run. Exact where the planner is."""
    answers = (solve(problem, scale.goal, quick=True, few_stages=True) for problem in _rests(scale.problem, best))
    found = [tuple(answer.assignment) for answer in answers if answer.assignment]
    return min(found, key=scale.rank, default=None)


def _rests(problem: Problem, best: Assignment) -> Iterator[Problem]:
    """Yield, for each node, the problem of the plans that differ from the best one there first."""
    chosen = problem.indices(best)
    seconds = problem.seconds.copy()
    for node, device in enumerate(chosen):
        differs = seconds.copy()
        differs[node, device] = np.inf
        if np.isfinite(differs[node]).any():
            yield replace(problem, seconds=differs)
        seconds[node, np.arange(seconds.shape[1]) != device] = np.inf


def _without(scale: _Scale, assignment: Assignment, boundaries: Sequence[int]) -> list[str]:
    """Say what the best plan without one of the plan's devices is, if there is one."""
    found = []
    for device in dict.fromkeys(assignment):
        plan = solve(scale.problem.constrained(exclude=[device]), scale.goal, quick=True, few_stages=True).assignment
        if plan is not None:
            found.append((scale.rank(tuple(plan)), device, tuple(plan)))
    if not found:
        return []
    _, device, plan = min(found)
    return [f'without {device}: {plan_words(plan, boundaries)}, {scale.against(plan, assignment)}']


def plan_words(assignment: Assignment, boundaries: Sequence[int]) -> str:
    """Return a plan for people: ``cut after layer 31 (pi to cloud)``."""
    stages = placement_of(assignment, boundaries)
    if len(stages) == 1:
        return f'all on {stages[0][0]}'
    cuts = []
    for (device, _, layers), (following, _, _) in zip(stages, stages[1:], strict=False):
        place = f'layer {layers[-1][1] - 1}' if layers else 'the preprocessing'
        cuts.append(f'{place} ({device} to {following})')
    return f'cut after {" and ".join(cuts)}'


def _hop_words(problem: Problem, assignment: Assignment) -> str:
    """Return what travels over which link, but for what takes hardly any time."""
    tensor, sender, reader = transfers(problem, problem.indices(assignment))
    size = problem.wire_bytes(tensor, sender, reader)
    seconds = size / problem.rate[sender, reader] + problem.latency[sender, reader]
    hops: dict[tuple[int, int], list[float]] = {}
    for pair, count, taken in zip(zip(sender.tolist(), reader.tolist(), strict=True), size, seconds, strict=True):
        total = hops.setdefault(pair, [0.0, 0.0])
        total[0] += count
        total[1] += taken
    shown = {pair: total for pair, total in hops.items() if total[1] >= _SHOWN_SHARE * float(seconds.sum())}
    names = problem.names
    return ' and '.join(
        f'{format_bytes(count)} over a link of {format_rate(float(problem.rate[a, b]))}'
        + (f' from {names[a]} to {names[b]}' if len(shown) > 1 else '')
        for (a, b), (count, _) in shown.items()
    )
