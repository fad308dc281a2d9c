# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which changes of an estimate are steps, larger than `MUCH` and than its noise, and when to decide at once. Times in seconds.

A step means that the world has changed, not that a prediction was wrong. It is decided on at once, it explains a move, and
frames that were under way meanwhile count for no plan and no prediction. A link may drift as far in small changes: that
explains a move, too, where it was since the plan in force was chosen. Devices do not drift, they are busy now and idle then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.sensing.link import speed_of

MUCH: Final = math.log(1.3)
"""A change by less is no step..."""
_ALWAYS: Final = math.log(3.0)
"""... and one by more always is one."""
_SCALE: Final = 3.0
"""Between them it is one if it is more than so many times what the estimate scattered by of late."""
_RATE: Final = 0.1
"""With which an estimate's level follows it, each time that it is observed, and its noise what is above it..."""
_CALM_SECONDS: Final = 60.0
"""... while noise goes with this time constant."""
_BURST_SECONDS: Final = 5.0
"""A step that is gone within so long was a burst of other work: the estimate scatters..."""
_BURST_NOISE: Final = 0.5
"""... by this share of it, so that the next bursts of that size are no steps."""
_APART_SECONDS: Final = 30.0
"""A step to less counts as a large one, too, that is the first one for so long: a device that is idle again, and not one that
comes and goes."""
SETTLE_SECONDS: Final = 0.5
"""So long after a step estimates are still on their way to what has become true."""
FRAMES: Final = 'frames over their prediction'
"""The name of what is observed of frames, beside those of devices and links."""
FEW_DEVICES: Final = 12
"""In a larger fleet only the devices of the plan in force are watched."""


LEAST_SECONDS: Final = 0.06
"""Between two decisions."""
MOST_SHARE: Final = 0.25
"""Decisions out of turn take no larger share of the time."""
HURRY_SECONDS: Final = 0.3
"""So long after a step decisions follow each other soon, so that one which needs confirmation gets it."""


class Steps:
    """Follows estimates by name: devices' times, links' rates. Not thread safe."""

    def __init__(self) -> None:
        self._levels: dict[Hashable, tuple[float, float]] = {}
        """Of each estimate: its level, as a logarithm, and by how much it scatters around it."""
        self._at: dict[tuple[Hashable, bool, bool], float] = {}
        """When each has last made a step, by whether it rose, and whether the step was a large one."""
        self._appeared: dict[Hashable, float] = {}
        """When each last appeared."""
        self._observed_at = -math.inf
        self._marks: dict[Hashable, float] = {}
        """Each link's level when the plan in force was chosen."""

    def mark(self) -> None:
        """Record that a plan has come into force."""
        self._marks = {name: level for name, (level, _) in self._levels.items() if isinstance(name, tuple)}

    def are_in(self, signs: Mapping[Hashable, float]) -> bool:
        """Return whether one of these estimates, all above 0, is a step from what was observed before."""
        return any(
            name in self._levels and value > 0 and self._is_step(*self._levels[name], math.log(value))
            for name, value in signs.items()
        )

    def observe(self, now: float, signs: Mapping[Hashable, float], *, appearing: bool = False) -> bool:
        """Record estimates, and return whether one was a step. Those that are missing are forgotten.

        :param appearing: what was not there before is a step, too, but for the first time.
        """
        before, self._levels = self._levels, {}
        keep = math.exp(-max(now - self._observed_at, 0.0) / _CALM_SECONDS)
        self._observed_at = now
        found = False
        for name, value in signs.items():
            if not value > 0:
                continue
            if name in before:
                level, noise = before[name]
                found |= self._follow(now, name, level, noise * keep, math.log(value))
            else:
                self._levels[name] = math.log(value), 0.0
                if appearing and before:
                    self._at[name, False, True] = self._at[name, True, True] = self._appeared[name] = now
                    found = True
        return found

    def _follow(self, now: float, name: Hashable, level: float, noise: float, value: float) -> bool:
        change = value - level
        step = self._is_step(level, noise, value)
        if step:
            alone = change < 0 and now - self._last(name, rose=False) > _APART_SECONDS
            self._at[name, change > 0, alone or abs(change) > _ALWAYS] = now
            if now - self._last(name, rose=change <= 0) <= _BURST_SECONDS:
                noise = max(noise, _BURST_NOISE * abs(change))
        noise += _RATE * max((MUCH if step else abs(change)) - noise, 0.0)
        self._levels[name] = value if step else level + _RATE * change, noise
        return step

    @staticmethod
    def _is_step(level: float, noise: float, value: float) -> bool:
        return abs(value - level) > max(MUCH, min(_SCALE * noise, _ALWAYS))

    def last(self, names: Iterable[Hashable], *, worse: bool | None = None, large: bool = False) -> float:
        """Return when one of these estimates has last made a step; minus infinity if none has.

        :param worse: one to the worse, or to the better: devices' times are worse when they rise, links' rates when they fall.
        :param large: of devices and frames one by more than three times, or to the better after long; a link that others use is
            no more likely to be as before.
        """
        ways = (True, False) if worse is None else (worse,)
        link = ((name, isinstance(name, tuple)) for name in names)
        found = (self._last(name, rose=way != is_link, large=large and not is_link) for name, is_link in link for way in ways)
        return max(found, default=-math.inf)

    def drifted(self, names: Iterable[Hashable], *, worse: bool) -> bool:
        """Return whether the level of one of these links has gone by more than `MUCH` since the plan in force was chosen.

        :param worse: to less, else to more.
        """
        known = [name for name in names if name in self._marks and name in self._levels]
        gone = (self._levels[name][0] - self._marks[name] for name in known)
        return any((-by if worse else by) > MUCH for by in gone)

    def appeared(self, names: Iterable[Hashable]) -> float:
        """Return when one of these last appeared; minus infinity if none has."""
        return max((self._appeared.get(name, -math.inf) for name in names), default=-math.inf)

    def _last(self, name: Hashable, *, rose: bool, large: bool = False) -> float:
        return max(self._at.get((name, rose, size), -math.inf) for size in ((True,) if large else (True, False)))


@dataclass
class Urgency:
    """Tells from the estimates that the last decision rested on whether the next one should wait for its turn."""

    _steps: Steps = field(default_factory=Steps)
    _hurry_until: float = -math.inf
    _next_at: float = -math.inf

    def is_due(self, now: float, estimates: Callable[[], Mapping[Hashable, float]]) -> bool:
        """Return whether to decide now.

        :param estimates: returns the estimates by name, above 0: factors of devices, rates of links.
        """
        if now < self._next_at:
            return False
        return now <= self._hurry_until or self._steps.are_in(estimates())

    def on_decision(self, now: float, estimates: Mapping[Hashable, float]) -> None:
        """Record that a decision is taken now, on these estimates."""
        if self._steps.observe(now, estimates):
            self._hurry_until = now + HURRY_SECONDS
        self._next_at = now + LEAST_SECONDS

    def on_duration(self, now: float, seconds: float) -> None:
        """Record how long a decision has taken, until now."""
        self._next_at = max(self._next_at, now + seconds * (1 / MOST_SHARE - 1))


def resources_of(problem: Problem, plan: Collection[str]) -> frozenset[Hashable]:
    """Return the names of what a plan uses: its devices, and the links between them, the source and the sink."""
    devices = set(plan)
    return frozenset(devices) | frozenset(permutations(devices | {problem.source, problem.sink}, 2))


def signs_of(problem: Problem, plan: Collection[str]) -> dict[Hashable, float]:
    """Return a problem's estimates by name: each device's seconds for the whole model, each link's `speed_of`.

    :param plan: the one in force, whose devices alone are looked at in a large fleet.
    """
    few = len(problem.names) <= FEW_DEVICES
    names = problem.names if few else tuple({problem.source, problem.sink, *plan} & set(problem.names))
    places = [problem.position[name] for name in names]
    seconds = problem.seconds[:, places]
    totals = np.where(np.isfinite(seconds), seconds, 0.0).sum(axis=0).tolist()
    rates, latencies = (table[np.ix_(places, places)].tolist() for table in (problem.rate, problem.latency))
    found: dict[Hashable, float] = dict(zip(names, totals, strict=True))
    for (i, a), (j, b) in permutations(enumerate(names), 2):
        found[a, b] = speed_of(rates[i][j], latencies[i][j])
    return found
