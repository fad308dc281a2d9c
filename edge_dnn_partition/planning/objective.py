# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The objectives and what comes first among equals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from edge_dnn_partition.errors import PlanError

from .evaluate import Costs, evaluate
from .linear import LinearCost, device_once, energy_cost, latency_cost
from .problem import Ints, Problem, nearest

Objective = Literal['latency', 'energy', 'throughput', 'balanced']
Space = Literal['any', 'each_device_once']
OBJECTIVES: Final[tuple[str, ...]] = get_args(Objective)
SPACES: Final[tuple[str, ...]] = get_args(Space)
EQUAL: Final = 1e-11
"""Relative difference up to which two values of a whole plan count as equal."""


@dataclass(frozen=True)
class Answer:
    """What a method found.

    :param assignment: device indices, or ``None``: no plan that can run was found.
    :param optimal: proven best over all assignments of the space; without an assignment,
        proven that none can run.
    """

    assignment: Ints | None
    optimal: bool


def check(objective: str, space: str) -> None:
    """Refuse unknown objectives and spaces.

    :raises PlanError: naming the nearest known one.
    """
    if objective not in OBJECTIVES:
        raise PlanError(f'unknown objective {objective!r}{nearest(objective, OBJECTIVES)}')
    if space not in SPACES:
        raise PlanError(f'unknown space {space!r}{nearest(space, SPACES)}')


@dataclass(frozen=True)
class Reference:
    """Latency and energy that ``balanced`` is measured against."""

    latency_seconds: float
    energy_joules: float
    proven: bool = True


def reference(problem: Problem, fastest: Callable[[], Answer]) -> Reference | None:
    """Return the costs of everything on the source if that can run, else of the plan of least latency.

    The plan of least latency is sought in the space ``any`` whatever the space asked for, so that
    ``balanced`` means the same in both. ``None`` if no plan can run.
    """
    costs = evaluate(problem, np.full(problem.nodes, problem.source_index))
    if costs.feasible:
        return Reference(costs.latency_seconds, costs.energy_joules)
    answer = fastest()
    if answer.assignment is None:
        return None
    costs = evaluate(problem, answer.assignment)
    return Reference(costs.latency_seconds, costs.energy_joules, answer.optimal)


def levels(problem: Problem, objective: str, ref: Reference | None) -> list[LinearCost]:
    """Return the linear costs that decide, in order; for throughput those that decide among equals."""
    latency, energy = latency_cost(problem), energy_cost(problem)
    if objective == 'energy':
        return [energy, latency]
    if objective == 'balanced' and ref is not None:
        weights = [0.5 / zero if zero > 0 else 0.0 for zero in (ref.latency_seconds, ref.energy_joules)]
        return [latency.plus(energy, weights[1], weights[0]), latency, energy]
    return [latency, energy]


def value(costs: Costs, objective: str, ref: Reference | None) -> float:
    """Return the objective's value."""
    if objective == 'balanced':
        assert ref is not None
        total = 0.0
        if ref.latency_seconds > 0:
            total += 0.5 * costs.latency_seconds / ref.latency_seconds
        if ref.energy_joules > 0:
            total += 0.5 * costs.energy_joules / ref.energy_joules
        return total
    return {
        'latency': costs.latency_seconds,
        'energy': costs.energy_joules,
        'throughput': costs.bottleneck_seconds,
    }[objective]


@dataclass
class Judge:
    """Compares plans for one objective and space; the best seen is kept."""

    problem: Problem
    objective: str
    space: str
    ref: Reference | None
    best: Ints | None = None
    best_value: float = float('inf')
    _rank: tuple[float, ...] = ()

    def measure(self, assignment: Ints) -> float:
        """Return a plan's value, infinite if it cannot run or is not in the space."""
        if self.space == 'each_device_once' and not device_once(assignment):
            return float('inf')
        costs = evaluate(self.problem, assignment)
        return value(costs, self.objective, self.ref) if costs.feasible else float('inf')

    def offer(self, assignment: Ints | None) -> float:
        """Take a plan if it is better than the best so far, or equal and first among equals."""
        if assignment is None:
            return float('inf')
        if self.space == 'each_device_once' and not device_once(assignment):
            return float('inf')
        costs = evaluate(self.problem, assignment)
        if not costs.feasible:
            return float('inf')
        new = value(costs, self.objective, self.ref)
        rank = (new, costs.latency_seconds, costs.energy_joules, float(costs.stages), *assignment.tolist())
        if self.best is None or before(rank, self._rank):
            self.best, self.best_value, self._rank = assignment.copy(), new, rank
        return new


def before(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether a rank comes first, where close numbers are equal."""
    for a, b in zip(one, other, strict=True):
        if abs(a - b) > EQUAL * max(abs(a), abs(b)):
            return a < b
    return False
