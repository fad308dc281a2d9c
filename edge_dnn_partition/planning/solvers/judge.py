# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Compares plans while they are searched: the value, what comes first among equals, and the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final, overload

import numpy as np

from edge_dnn_partition.errors import PlanError, nearest
from edge_dnn_partition.planning.cost_model.batch import Measured
from edge_dnn_partition.planning.cost_model.evaluate import Costs, evaluate
from edge_dnn_partition.planning.cost_model.linear import LinearCost, device_once, energy_cost, latency_cost
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem
from edge_dnn_partition.planning.objectives import ENERGY, LATENCY, Criterion

SPACES: Final = ('any', 'each_device_once')
EQUAL: Final = 1e-11
"""Relative difference up to which two values of a whole plan count as equal."""


def check_space(space: str) -> None:
    """Refuse unknown spaces.

    :raises PlanError: naming the nearest known one.
    """
    if space not in SPACES:
        raise PlanError(f'unknown space {space!r}{nearest(space, SPACES)}')


@dataclass(frozen=True)
class Answer:
    """What a method found.

    :param assignment: device indices, or ``None``: no plan that can run was found.
    :param optimal: proven best over all assignments of the space; without an assignment,
        proven that none can run.
    """

    assignment: Ints | None
    optimal: bool


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


def levels(problem: Problem, criterion: Criterion) -> Levels:
    """Return the linear costs that decide, in order; for the bottleneck those that decide among equals."""

    @cache
    def latency() -> LinearCost:
        return latency_cost(problem)

    @cache
    def energy() -> LinearCost:
        return energy_cost(problem, latency())

    if criterion.bottleneck or criterion == LATENCY:
        return Levels(latency, energy)
    if criterion == ENERGY:
        return Levels(energy, latency)
    return Levels(lambda: latency().plus(energy(), criterion.joules, criterion.seconds), latency, energy)


@dataclass
class Judge:
    """Compares plans by one criterion in one space; the best seen is kept.

    :param most_seconds: plans of more latency do not count.
    :param reach: of which latency, see `Costs.latency_at`.
    """

    problem: Problem
    criterion: Criterion
    space: str = 'any'
    most_seconds: float = math.inf
    reach: float = 0.0
    best: Ints | None = None
    best_value: float = math.inf
    _rank: tuple[float, ...] = ()

    def measure(self, assignment: Ints) -> float:
        """Return a plan's value, infinite if it cannot run or is not in the space."""
        costs = self._costs(assignment)
        return math.inf if costs is None else float(self.criterion.of(costs))

    def offer(self, assignment: Ints | None) -> float:
        """Take a plan if it is better than the best so far, or equal and first among equals; return its value."""
        costs = None if assignment is None else self._costs(assignment)
        if assignment is None or costs is None:
            return math.inf
        new = float(self.criterion.of(costs))
        rank = (new, costs.latency_seconds, costs.energy_joules, float(costs.stages), *assignment.tolist())
        if self.best is None or before(rank, self._rank):
            self.best, self.best_value, self._rank = assignment.copy(), new, rank
        return new

    def accepts(self, assignment: Ints | None) -> bool:
        """Offer a plan; return whether it counts at all."""
        return math.isfinite(self.offer(assignment))

    def values(self, measured: Measured) -> Floats:
        """Return the values of many plans, ``(plans,)``; infinite where one cannot run or is too late."""
        counts = measured.fits & (measured.latency_seconds <= self.most_seconds)
        return np.asarray(np.where(counts, self.criterion.of(measured), np.inf), dtype=np.float64)

    def _costs(self, assignment: Ints) -> Costs | None:
        """Return a plan's costs; None if it does not count."""
        if self.space == 'each_device_once' and not device_once(assignment):
            return None
        costs = evaluate(self.problem, assignment)
        return costs if costs.feasible and costs.latency_at(self.reach) <= self.most_seconds else None


@dataclass
class Question:
    """What the methods are asked: the problem, the judge that keeps the best plan, and for the bottleneck how to search.

    :param quick: leave HiGHS out, and search a quarter as long.
    :param few_stages: have no more stages than pay (:mod:`.fewer_stages`); the last per cent, which is worth less than a stage,
        is not searched for then.
    :param known: plans that the answer is none the worse for; with ``quick`` it is these that are improved, for a short while.
    :param seed: of the search's course.
    :param part: the devices are some of a large fleet's.
    """

    problem: Problem
    judge: Judge
    quick: bool = False
    few_stages: bool = False
    known: Sequence[Ints] = ()
    seed: int = 0
    part: bool = False

    @cached_property
    def costs(self) -> Levels:
        """The costs that decide, in order of importance."""
        return levels(self.problem, self.judge.criterion)

    @property
    def adds_up(self) -> bool:
        """Whether the value is a sum over nodes and transfers; the bottleneck is not."""
        return not self.judge.criterion.bottleneck

    @property
    def single_visit(self) -> bool:
        """Whether no device may have two stages."""
        return self.judge.space == 'each_device_once'

    @property
    def limited(self) -> bool:
        """Whether any device's memory is limited."""
        return bool(np.isfinite(self.problem.column('memory_bytes')).any())

    @property
    def floor(self) -> float:
        """A bound below every bottleneck: the longest node where it is fastest; 0 with boundary overheads."""
        return 0.0 if self.problem.seam_seconds is not None else float(self.problem.seconds.min(axis=1).max())


def before(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether a rank comes first, where close numbers are equal."""
    for a, b in zip(one, other, strict=True):
        if abs(a - b) > EQUAL * max(abs(a), abs(b)):
            return a < b
    return False
