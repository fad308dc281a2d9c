# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An arm that follows a policy's chunks of actions: how it moves, depending on when chunks arrive. Time is simulated.

The policy is made up and closed-loop: from where the arm is observed it returns to a path within half a second, and it changes
its mind a little with each observation. The arm lags behind what is commanded, as servos do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.results.actions import Actions, ChunkBlender

Positions = NDArray[np.float64]
HERTZ: Final = 30.0
"""Of actions."""
STEPS: Final = 50
"""Actions in a chunk: 1.67 s."""
_JOINTS: Final = 6
_LAG_SECONDS: Final = 0.1
_RETURN_SECONDS: Final = 0.5
_MIND_SECONDS: Final = 0.3
_MIND_RADIANS: Final = 0.05


def path(times: Any) -> Positions:
    """Return where the arm is to be, ``[times, joints]``, in radians; at most 1 rad/s."""
    phases = np.arange(_JOINTS) * 0.9
    column = np.atleast_1d(times)[:, None]
    return np.asarray(0.4 * np.sin(1.3 * column + phases) + 0.1 * np.sin(4.1 * column - phases))


def policy(position: Positions, now: float) -> Positions:
    """Return a chunk ``[STEPS, joints]`` for an arm that is observed at a position ``[joints]``; the same for the same moment."""
    chance = np.random.default_rng(round(now * 1e6))
    after = np.arange(STEPS)[:, None] / HERTZ
    mind = chance.normal(0, _MIND_RADIANS, _JOINTS) * (1 - np.exp(-after / _MIND_SECONDS))
    return path(now + after[:, 0]) + (position - path(now)[0]) * np.exp(-after / _RETURN_SECONDS) + mind


@dataclass
class Arm:
    """What was commanded, and where the arm was."""

    times: list[float] = field(default_factory=list)
    commands: list[Positions] = field(default_factory=list)
    observed: list[float] = field(default_factory=list)
    """When what each command rests on was observed."""
    _position: Positions = field(default_factory=lambda: path(0.0)[0])
    _at: float = 0.0

    def command(self, now: float, position: Positions, observed_at: float) -> None:
        """Command a position."""
        self._advance(now)
        self.times.append(now)
        self.commands.append(position)
        self.observed.append(observed_at)

    def position(self, now: float) -> Positions:
        """Return where the arm is, ``[joints]``."""
        self._advance(now)
        return self._position

    def _advance(self, now: float) -> None:
        if self.commands:
            self._position = self.commands[-1] + (self._position - self.commands[-1]) * np.exp((self._at - now) / _LAG_SECONDS)
        self._at = now

    def measures(self, begin: float, end: float) -> dict[str, float]:
        """Return how well it went in a part of the run.

        ``ready_share``: of the actions that were due; ``longest_hold_seconds``: without an action; ``largest_jump``: between
        two commands, radians; ``path_error``: RMS of what was commanded, held where nothing was, radians; ``age_p95_seconds``
        of the observations behind the commands. NaN where there is no command to tell.
        """
        chosen = [number for number, at in enumerate(self.times) if begin <= at < end]
        times, commands = np.array(self.times)[chosen], np.array(self.commands).reshape(-1, _JOINTS)[chosen]
        ticks = np.arange(begin, end, 1 / HERTZ)
        last = np.searchsorted(self.times, ticks, 'right') - 1
        jumps, ages = np.abs(np.diff(commands, axis=0)), times - np.array(self.observed)[chosen]
        return {
            'ready_share': min(1.0, len(times) / len(ticks)),
            'longest_hold_seconds': round(max(0.0, float(np.diff([begin, *times, end]).max()) - 1 / HERTZ), 6),
            'largest_jump': float(jumps.max()) if len(jumps) else np.nan,
            'path_error': float(np.sqrt(np.mean((np.array(self.commands)[last] - path(ticks))[last >= 0] ** 2))),
            'age_p95_seconds': float(np.quantile(ages, 0.95)) if len(ages) else np.nan,
        }


@dataclass(frozen=True)
class Arrival:
    """A chunk that arrived; seconds since the begin."""

    observed_at: float
    arrived_at: float


def follow(arrivals: Sequence[Arrival], seconds: float, blend_seconds: float = 0.3) -> Arm:
    """Return an arm that is commanded by the clock and by `ChunkBlender`: what the topic `actions` and a controller do."""
    arm, blender, last = Arm(), ChunkBlender(), -1.0
    seen: dict[float, Positions] = {}
    moments = sorted({a.observed_at for a in arrivals if a.observed_at >= 0})
    events: list[tuple[float, int, Callable[[], None]]] = []
    observed = 0.0

    def observe(at: float) -> None:
        seen[at] = policy(arm.position(at), at)

    def take(arrival: Arrival) -> None:
        nonlocal last, observed
        if arrival.observed_at in seen:
            actions = Actions(tuple('abcdef'), seen[arrival.observed_at], 1 / HERTZ, blend_seconds)
            found = blender.take(actions, arrival.observed_at, arrival.arrived_at)
            if found is not None:
                last, observed = float(found.times[-1]), arrival.observed_at

    def tick(at: float) -> None:
        if at <= last:
            arm.command(at, blender.positions(np.array([at]))[0], observed)

    events += [(at, 0, lambda at=at: observe(at)) for at in moments]  # type: ignore[misc]
    events += [(a.arrived_at, 1, lambda a=a: take(a)) for a in arrivals]  # type: ignore[misc]
    events += [(number / HERTZ, 2, lambda at=number / HERTZ: tick(at)) for number in range(int(seconds * HERTZ))]  # type: ignore[misc]
    for at, _, act in sorted(events, key=lambda event: event[:2]):
        if at <= seconds:
            act()
    return arm


def alone(board_seconds: float, seconds: float, period_seconds: float = 0.1) -> list[Arrival]:
    """Return when chunks arrive from a model that runs wholly on the robot, one after the other."""
    arrivals, free = [], 0.0
    while free < seconds:
        observed = np.ceil(free / period_seconds - 1e-9) * period_seconds
        free = float(observed) + board_seconds
        arrivals.append(Arrival(float(observed), free))
    return arrivals


Trace = Sequence[tuple[float, float, float]]
"""From when (seconds) which rate (bytes per second) and one-way delay (seconds)."""
