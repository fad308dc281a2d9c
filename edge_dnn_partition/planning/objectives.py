# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The objectives: one class each, registered by name, with all that the planner, the policies and people need of it.

To add one, write a subclass of `Objective` and `register` it; nothing else names objectives. The solvers see an objective only as
a `Criterion`: a weighted sum of a plan's latency and energy, or its bottleneck. Among equal plans the order is the same for
all: less latency, less energy, fewer stages, then the order of the devices. This module imports no numpy, so that
the command line can list the objectives at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar, Final

from edge_dnn_partition.errors import PlanError, nearest

if TYPE_CHECKING:
    from edge_dnn_partition.planning.cost_model.evaluate import Costs

HALVES: Final = (0.5, 0.5)
DEADLINE_SLACK: Final = 1e-9
"""Relative excess up to which a latency counts as within a deadline: it is no more than rounding."""


@dataclass(frozen=True)
class Criterion:
    """What the solvers minimise: a weighted sum of latency and energy, or the bottleneck.

    :param seconds: weight of a second of latency.
    :param joules: weight of a joule.
    :param bottleneck: minimise the seconds of the busiest device or channel; the weights are unused.
    """

    seconds: float = 0.0
    joules: float = 0.0
    bottleneck: bool = False

    def of(self, figures: Any) -> Any:
        """Return the value of a plan's `Costs` as a float, or of many plans' figures as an array ``(plans,)``."""
        if self.bottleneck:
            return figures.bottleneck_seconds
        total: Any = 0.0
        for weight, figure in ((self.seconds, figures.latency_seconds), (self.joules, figures.energy_joules)):
            if weight > 0:  # an infinite figure times 0 is not a number
                total = total + weight * figure
        return total


LATENCY: Final = Criterion(seconds=1.0)
ENERGY: Final = Criterion(joules=1.0)
BOTTLENECK: Final = Criterion(bottleneck=True)


class Objective:
    """One way of saying which plan is best."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """What is minimised, for help texts and references."""
    minimises: ClassVar[Criterion] = LATENCY

    unit: ClassVar[str] = 's'
    """Unit of a value in messages and JSON; empty: a ratio."""
    scale: ClassVar[float] = 1e3
    """Factor from ``unit`` to the unit in which people read values."""
    suffix: ClassVar[str] = ' ms'
    """What follows such a number in a sentence."""
    worse: ClassVar[str] = 'slower'
    better: ClassVar[str] = 'faster'

    relative: ClassVar[bool] = False
    """Values are relative to the costs of everything on the source."""
    has_weights: ClassVar[bool] = False
    """`Goal.weights` matter."""
    has_deadline: ClassVar[bool] = False
    """Plans beyond `Goal.deadline_seconds` do not count; if all are, the least latency does."""
    encode_for: ClassVar[Criterion] = LATENCY
    """What the encoding of each transfer is chosen by."""
    is_latency: ClassVar[bool] = False
    """A frame's measured latency is this objective's value, so that it can be learned from frames."""
    is_energy: ClassVar[bool] = False
    """A frame's measured joules are this objective's value."""
    resend_late: ClassVar[bool] = True
    """A frame that is late under an old plan is sent again under the new one, at the price of its joules."""

    def criterion(self, shares: tuple[float, float], reference: Costs | None) -> Criterion:  # noqa: ARG002
        """Return what to minimise.

        :param shares: of latency and energy; their sum is 1.
        :param reference: costs of everything on the source, for an objective that is ``relative``; None: take it as 1.
        """
        return self.minimises

    def number(self, value: float, digits: int = 3) -> str:
        """Return a value as people read it, without its unit."""
        return f'{value * self.scale:.{digits}g}'

    def in_words(self, value: float) -> str:
        """Return a value with its unit as people read it."""
        return self.number(value) + self.suffix


class Latency(Objective):
    """Time from a frame's acceptance to its result."""

    name = 'latency'
    summary = 'least time from image to result'
    is_latency = True


class Energy(Objective):
    """Joules of all devices for a frame, each device's weighted as the fleet file says."""

    name = 'energy'
    summary = 'least joules per frame'
    minimises = ENERGY
    unit, scale, suffix = 'J', 1.0, ' J'
    worse, better = 'more energy', 'less energy'
    encode_for = ENERGY
    is_energy = True
    resend_late = False


class Throughput(Objective):
    """Seconds between two frames: those of the busiest device or channel."""

    name = 'throughput'
    summary = 'most frames per second'
    minimises = BOTTLENECK
    suffix = ' ms between frames'


class Balanced(Objective):
    """Latency and energy, each relative to everything on the source; a term whose reference is 0 is left out."""

    name = 'balanced'
    summary = 'latency and energy together, by weights'
    unit, scale, suffix = '', 1.0, ' times what the source alone takes'
    worse, better = 'worse', 'better'
    relative = has_weights = True

    def criterion(self, shares: tuple[float, float], reference: Costs | None) -> Criterion:  # noqa: D102
        units = (1.0, 1.0) if reference is None else (reference.latency_seconds, reference.energy_joules)
        seconds, joules = (share / unit if unit > 0 else 0.0 for share, unit in zip(shares, units, strict=True))
        return Criterion(seconds, joules)


class Deadline(Objective):
    """Least energy within a latency; where no plan keeps to it, least latency."""

    name = 'deadline'
    summary = 'least energy among the plans within the deadline'
    minimises = ENERGY
    unit, scale, suffix = 'J', 1.0, ' J'
    worse, better = 'more energy', 'less energy'
    has_deadline = True


OBJECTIVES: Final[dict[str, Objective]] = {}
"""All objectives by name, in the order in which they are listed for people."""


def register(objective: Objective) -> None:
    """Make an objective known everywhere: to goals, fleet files, parameters and the command line."""
    OBJECTIVES[objective.name] = objective


for _one in (Latency(), Energy(), Throughput(), Balanced(), Deadline()):
    register(_one)


def summaries() -> str:
    """Return what each objective minimises, for a help text."""
    return '; '.join(f'{objective.name}: {objective.summary}' for objective in OBJECTIVES.values())


@dataclass(frozen=True)
class Goal:
    """An objective with its settings.

    :param name: of a registered objective.
    :param weights: of latency and energy, for an objective that has weights; only their ratio counts.
    :param deadline_seconds: for an objective that has a deadline.
    :param deadline_share: of the frames that must keep to it, by how devices and links scatter; a half: the prediction must.
    :raises PlanError: if the name is unknown, the weights are no weights, a deadline is missing, or the share is not from a
        half to below 1.
    """

    name: str = Latency.name
    weights: tuple[float, float] = HALVES
    deadline_seconds: float = math.inf
    deadline_share: float = 0.5

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise PlanError(f'unknown objective {self.name!r}{nearest(self.name, OBJECTIVES)}')
        check_weights(self.weights)
        if self.objective.has_deadline and not 0 < self.deadline_seconds < math.inf:
            raise PlanError(f'the objective {self.name} needs a deadline; give one in seconds, above 0')
        if not 0.5 <= self.deadline_share < 1:
            raise PlanError(f'deadline_share must be from 0.5 to below 1, not {self.deadline_share:g}')

    @property
    def objective(self) -> Objective:
        """What its values are and mean."""
        return OBJECTIVES[self.name]

    def criterion(self, reference: Costs | None = None) -> Criterion:
        """Return what to minimise; for ``reference`` see `Objective.criterion`."""
        latency, energy = self.weights
        return self.objective.criterion((latency / (latency + energy), energy / (latency + energy)), reference)

    @property
    def counts_joules(self) -> bool:
        """Whether it depends on what devices draw."""
        return self.criterion().joules > 0

    @property
    def pipelined(self) -> bool:
        """Whether the bottleneck counts, so that several frames are to be under way at a time."""
        return self.criterion().bottleneck

    def value(self, costs: Costs, reference: Costs | None = None) -> float:
        """Return a plan's value, in the objective's unit.

        :param reference: costs of everything on the source, for a relative objective; None: the plan's own.
        """
        return float(self.criterion(reference or costs).of(costs))

    def gain(self, present: Costs, costs: Costs, reference: Costs | None = None) -> float:
        """Return the share of the present plan's value that another plan would save.

        Where there is a deadline, a late plan is no better than one in time; one in time saves all of a late one; of
        two late ones the quicker one is better.
        """
        current, candidate = self.value(present, reference), self.value(costs, reference)
        if self.late(present):
            if not self.late(costs):
                return 1.0
            current, candidate = self.counted(present), self.counted(costs)
        elif self.late(costs):
            return 0.0
        return 1 - candidate / current if current > 0 else 0.0

    @property
    def reach(self) -> float:
        """How many standard deviations above its median a latency must keep to the deadline."""
        return max(0.0, NormalDist().inv_cdf(self.deadline_share))

    @property
    def counts_scatter(self) -> bool:
        """Whether it matters how latencies scatter from frame to frame."""
        return self.objective.has_deadline and self.reach > 0

    def counted(self, costs: Costs) -> float:
        """Return the latency that is held against the deadline."""
        return costs.latency_at(self.reach)

    def late(self, costs: Costs) -> bool:
        """Return whether a plan misses the deadline; never, where there is none."""
        return self.objective.has_deadline and not self.counted(costs) <= self.deadline_seconds * (1 + DEADLINE_SLACK)

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
