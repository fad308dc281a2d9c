# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Courses of bandwidth and load, what an oracle would do in them, and how soon somebody has adapted. Pure; times in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

SEED: Final = 11
SWITCH_SECONDS: Final = 0.05
"""What a change of plan costs the oracle, once: a frame's time at 20 frames per second, as `bench switch` measures."""
NEAR: Final = 1.15
_IN_A_ROW: Final = 3


@dataclass(frozen=True)
class Condition:
    """What holds from a time on.

    :param uplink: Mbit/s of both links to the cloud.
    :param loads: by device, what its times are multiplied by.
    """

    at: float
    uplink: float
    loads: tuple[tuple[str, float], ...] = ()


def steps() -> tuple[Condition, ...]:
    """Return six steps of eight seconds: the uplink falls and comes back, the Jetson and the cloud are busy."""
    return (
        Condition(0, 8.0), Condition(8, 1.0), Condition(16, 8.0, (('jetson', 3.0),)), Condition(24, 40.0),
        Condition(32, 40.0, (('cloud', 8.0),)), Condition(40, 8.0),
    )  # fmt: skip


def lte(seconds: int = 24) -> tuple[Condition, ...]:
    """Return a made-up LTE uplink: its logarithm wanders around 8 Mbit/s, and falls to a tenth for three seconds once."""
    rng = np.random.default_rng(SEED)
    level, found = 0.0, []
    for second in range(seconds):
        level = 0.8 * level + float(rng.normal(0, 0.45))
        hole = 0.1 if seconds // 2 <= second < seconds // 2 + 3 else 1.0
        found.append(Condition(second, round(float(8.0 * np.exp(level)) * hole, 2)))
    return tuple(found)


def walk(seconds: int = 24) -> tuple[Condition, ...]:
    """Return a robot's walk away from its access point and back: 54 Mbit/s fall to 1 by a rate step at a time."""
    ladder = (54.0, 36.0, 18.0, 9.0, 4.0, 1.0)
    half = seconds / 2
    return tuple(
        Condition(second, ladder[min(len(ladder) - 1, int((1 - abs(second - half) / half) * len(ladder)))])
        for second in range(seconds)
    )


def changed(before: Condition, after: Condition) -> frozenset[str]:
    """Return what a step changes: devices, and ``cloud link``."""
    loads = dict(before.loads), dict(after.loads)
    found = {name for name in {*loads[0], *loads[1]} if loads[0].get(name, 1.0) != loads[1].get(name, 1.0)}
    return frozenset(found | ({'cloud link'} if before.uplink != after.uplink else set()))


Frames = Sequence[tuple[float, float]]
"""(when it was accepted, its latency), in order."""


def medians(course: Sequence[Condition], end: float, frames: Frames) -> list[float]:
    """Return the median latency of the frames that were accepted in each segment; NaN where there is none."""
    edges = [condition.at for condition in course] + [end]
    found = []
    for begin, stop in zip(edges, edges[1:], strict=False):
        inside = [latency for at, latency in frames if begin <= at < stop]
        found.append(float(np.median(inside)) if inside else float('nan'))
    return found


def oracle(course: Sequence[Condition], end: float, fixed: Mapping[str, Frames]) -> tuple[list[str], list[float], float]:
    """Return the plan of each segment, its median latency, and the mean over time of one who knows what comes.

    It chooses among the fixed plans, by what each took in each segment when it was run, and pays `SWITCH_SECONDS` for
    each change of plan (dynamic programming over the segments).
    """
    names = list(fixed)
    table = np.array([medians(course, end, fixed[name]) for name in names]).T
    table = np.where(np.isnan(table), np.inf, table)
    edges = np.array([condition.at for condition in course] + [end])
    weight = np.diff(edges)
    best, back = table[0] * weight[0], []
    for row, seconds in zip(table[1:], weight[1:], strict=True):
        arrive = best[None, :] + SWITCH_SECONDS * (1 - np.eye(len(names)))
        back.append(arrive.argmin(axis=1))
        best = arrive.min(axis=1) + row * seconds
    at = int(best.argmin())
    path = [at]
    for choice in reversed(back):
        path.append(int(choice[path[-1]]))
    path.reverse()
    return [names[i] for i in path], [float(table[s, i]) for s, i in enumerate(path)], float(best.min() / weight.sum())


def adapted(frames: Frames, begin: float, end: float, good: float) -> tuple[float, int] | None:
    """Return how long after the first frame accepted after a step, and with which frame, latency has become good.

    That is: it and the next two take at most `NEAR` times ``good`` at the median. None if it does not.
    """
    inside = [(at, latency) for at, latency in frames if begin <= at < end]
    for i in range(max(len(inside) - _IN_A_ROW + 1, 0)):
        window = [latency for _, latency in inside[i : i + _IN_A_ROW]]
        if inside[i][1] <= NEAR * good and float(np.median(window)) <= NEAR * good:
            return inside[i][0] - inside[0][0], i
    return None


COURSES: Final[Mapping[str, tuple[Callable[[], tuple[Condition, ...]], float]]] = {
    'steps': (steps, 48.0), 'lte': (lte, 24.0), 'walk': (walk, 24.0),
}  # fmt: skip
"""The courses and their ends."""
