# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The objectives and what comes first among equals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Literal, get_args, overload

import numpy as np

from edge_dnn_partition.errors import PlanError, nearest

from .evaluate import Costs, evaluate
from .linear import LinearCost, device_once, energy_cost, latency_cost
from .problem import Ints, Problem
from .tail import reach_of

Objective = Literal['latency', 'energy', 'throughput', 'balanced', 'deadline']
Space = Literal['any', 'each_device_once']
OBJECTIVES: Final[tuple[str, ...]] = get_args(Objective)
SPACES: Final[tuple[str, ...]] = get_args(Space)
EQUAL: Final = 1e-11
"""Relative difference up to which two values of a whole plan count as equal."""
DEADLINE_SLACK: Final = 1e-9
"""Relative excess up to which a latency counts as within a deadline: it is no more than rounding."""
HALVES: Final = (0.5, 0.5)


@dataclass(frozen=True)
class Goal:
    """What is to be least, whole.

    :param name: ``latency``, ``energy``, ``throughput``, ``balanced`` or ``deadline`` (least energy among the plans whose
        latency keeps to the deadline; where none does, least latency).
    :param weights: of latency and energy in ``balanced``; only their ratio counts.
    :param deadline_seconds: for ``deadline``.
    :param deadline_share: of the frames that must keep to it, by how devices and links scatter; a half: the prediction must.
    :raises PlanError: if the name is unknown, the weights are no weights, a deadline is missing, or the share is not from a
        half to below 1.
    """

    name: str = 'latency'
    weights: tuple[float, float] = HALVES
    deadline_seconds: float = math.inf
    deadline_share: float = 0.5

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise PlanError(f'unknown objective {self.name!r}{nearest(self.name, OBJECTIVES)}')
        check_weights(self.weights)
        if self.name == 'deadline' and not 0 < self.deadline_seconds < math.inf:
            raise PlanError('the objective deadline needs a deadline; give one in seconds, above 0')
        if not 0.5 <= self.deadline_share < 1:
            raise PlanError(f'deadline_share must be from 0.5 to below 1, not {self.deadline_share:g}')

    @property
    def shares(self) -> tuple[float, float]:
        """The weights, scaled to a sum of 1."""
        latency, energy = self.weights
        return latency / (latency + energy), energy / (latency + energy)

    @property
    def counts_joules(self) -> bool:
        """Whether it depends on what devices draw."""
        return self.name in ('energy', 'deadline') or (self.name == 'balanced' and self.weights[1] > 0)

    @property
    def reach(self) -> float:
        """How many standard deviations above its middle a latency must keep to the deadline."""
        return reach_of(self.deadline_share)

    def counted(self, costs: Costs) -> float:
        """Return the latency that is held against the deadline."""
        return costs.latency_at(self.reach)

    def meets(self, costs: Costs) -> bool:
        """Return whether a plan keeps to the deadline (always, if there is none)."""
        return self.counted(costs) <= self.deadline_seconds * (1 + DEADLINE_SLACK)

    def tightened(self, share: float) -> Goal:
        """Return the goal with a deadline that leaves so large a share of itself unused."""
        return replace(self, deadline_seconds=self.deadline_seconds * (1 - share))


def check_weights(weights: Sequence[float]) -> None:
    """Refuse what are no weights of latency and energy.

    :raises PlanError: with the reason.
    """
    good = len(weights) == 2 and all(math.isfinite(w) and w >= 0 for w in weights) and sum(weights) > 0
    if not good:
        given = ', '.join(f'{w:g}' for w in weights)
        raise PlanError(f'weights must be two numbers, for latency and energy, from 0 up and not both 0, not [{given}]')


def goal_of(objective: str | Goal) -> Goal:
    """Return a goal, given by its name alone or whole."""
    return objective if isinstance(objective, Goal) else Goal(objective)


@dataclass(frozen=True)
class Answer:
    """What a method found.

    :param assignment: device indices, or ``None``: no plan that can run was found.
    :param optimal: proven best over all assignments of the space; without an assignment,
        proven that none can run.
    """

    assignment: Ints | None
    optimal: bool


def check_space(space: str) -> None:
    """Refuse unknown spaces.

    :raises PlanError: naming the nearest known one.
    """
    if space not in SPACES:
        raise PlanError(f'unknown space {space!r}{nearest(space, SPACES)}')


@dataclass(frozen=True)
class Reference:
    """Latency and energy that ``balanced`` is measured against, and what each counts."""

    latency_seconds: float
    energy_joules: float
    proven: bool = True
    shares: tuple[float, float] = HALVES

    @property
    def factors(self) -> tuple[float, float]:
        """What a second and what a joule count; 0 where the reference is 0."""
        zeros = (self.latency_seconds, self.energy_joules)
        latency, energy = (share / zero if zero > 0 else 0.0 for share, zero in zip(self.shares, zeros, strict=True))
        return latency, energy


def reference(
    problem: Problem, fastest: Callable[[], Answer], shares: tuple[float, float] = HALVES
) -> Reference | None:
    """Return the costs of everything on the source if that can run, else of the plan of least latency.

    The plan of least latency is sought in the space ``any`` whatever the space asked for, so that
    ``balanced`` means the same in both. ``None`` if no plan can run.
    """
    costs = evaluate(problem, np.full(problem.nodes, problem.source_index))
    if costs.feasible:
        return Reference(costs.latency_seconds, costs.energy_joules, shares=shares)
    answer = fastest()
    if answer.assignment is None:
        return None
    costs = evaluate(problem, answer.assignment)
    return Reference(costs.latency_seconds, costs.energy_joules, answer.optimal, shares)


class Levels(Sequence[LinearCost]):
    """Linear costs in order of importance, each worked out when it is asked for: the later ones decide only among equals."""

    def __init__(self, *makers: Callable[[], LinearCost]) -> None:
        self._makers = [cache(maker) for maker in makers]

    def __len__(self) -> int:
        return len(self._makers)

    @overload
    def __getitem__(self, index: int) -> LinearCost: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LinearCost]: ...
    def __getitem__(self, index: int | slice) -> LinearCost | Sequence[LinearCost]:
        """Return the cost at a place, or the costs of a range of places."""
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        return self._makers[places]()


def levels(problem: Problem, objective: str, ref: Reference | None) -> Levels:
    """Return the linear costs that decide, in order; for throughput those that decide among equals."""

    @cache
    def latency() -> LinearCost:
        return latency_cost(problem)

    @cache
    def energy() -> LinearCost:
        return energy_cost(problem, latency())

    if objective in ('energy', 'deadline'):
        return Levels(energy, latency)
    if objective == 'balanced' and ref is not None:
        seconds, joules = ref.factors
        return Levels(lambda: latency().plus(energy(), joules, seconds), latency, energy)
    return Levels(latency, energy)


def value(costs: Costs, objective: str, ref: Reference | None) -> float:
    """Return the objective's value."""
    if objective == 'balanced':
        assert ref is not None
        seconds, joules = ref.factors
        return seconds * costs.latency_seconds + joules * costs.energy_joules
    return {
        'latency': costs.latency_seconds,
        'energy': costs.energy_joules,
        'deadline': costs.energy_joules,
        'throughput': costs.bottleneck_seconds,
    }[objective]


@dataclass
class Judge:
    """Compares plans for one objective and space; the best seen is kept.

    :param most_seconds: plans of more latency do not count.
    :param reach: of which latency, see `Costs.latency_at`.
    """

    problem: Problem
    objective: str
    space: str
    ref: Reference | None
    most_seconds: float = math.inf
    best: Ints | None = None
    best_value: float = float('inf')
    _rank: tuple[float, ...] = ()
    reach: float = 0.0

    def measure(self, assignment: Ints) -> float:
        """Return a plan's value, infinite if it cannot run or is not in the space."""
        if self.space == 'each_device_once' and not device_once(assignment):
            return float('inf')
        costs = evaluate(self.problem, assignment)
        return value(costs, self.objective, self.ref) if self._counts(costs) else float('inf')

    def offer(self, assignment: Ints | None) -> float:
        """Take a plan if it is better than the best so far, or equal and first among equals."""
        if assignment is None:
            return float('inf')
        if self.space == 'each_device_once' and not device_once(assignment):
            return float('inf')
        costs = evaluate(self.problem, assignment)
        if not self._counts(costs):
            return float('inf')
        new = value(costs, self.objective, self.ref)
        rank = (new, costs.latency_seconds, costs.energy_joules, float(costs.stages), *assignment.tolist())
        if self.best is None or before(rank, self._rank):
            self.best, self.best_value, self._rank = assignment.copy(), new, rank
        return new

    def _counts(self, costs: Costs) -> bool:
        return costs.feasible and costs.latency_at(self.reach) <= self.most_seconds


def before(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether a rank comes first, where close numbers are equal."""
    for a, b in zip(one, other, strict=True):
        if abs(a - b) > EQUAL * max(abs(a), abs(b)):
            return a < b
    return False
