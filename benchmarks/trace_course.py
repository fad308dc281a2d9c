# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Courses of bandwidth and load, what an oracle would do in them, and how soon somebody has adapted. Pure; times in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import edge_dnn_partition
from edge_dnn_partition import ros_env
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed.traces import read_trace

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
    """Return six steps of seven seconds: the uplink falls and comes back, the Jetson and the cloud are busy."""
    return (
        Condition(0, 8.0), Condition(7, 1.0), Condition(14, 8.0, (('jetson', 3.0),)), Condition(21, 40.0),
        Condition(28, 40.0, (('cloud', 8.0),)), Condition(35, 8.0),
    )  # fmt: skip


def recorded(name: str, begin: float, end: float, every: float = 1.0) -> tuple[Condition, ...]:
    """Return a part of one of the testbed's traces (config/traces) as the cloud's uplink, a condition each second.

    :raises UserError: if there is no such trace.
    """
    trace = read_trace(_traces() / f'{name}.csv', 'bits_per_second')
    count = round((end - begin) / every)
    return tuple(Condition(i * every, trace.at(begin + i * every) / 1e6) for i in range(count))


def _traces() -> Path:
    """Return the folder of the traces: a checkout's, else the installed one.

    :raises UserError: if there is neither.
    """
    checkout = Path(edge_dnn_partition.__file__).resolve().parent.parent / 'config'
    if checkout.is_dir():
        return checkout / 'traces'
    prefix = ros_env.install_prefix()
    if prefix is None:
        raise UserError('the traces of the testbed are not installed: run `make setup` in a checkout')
    return prefix / 'share' / 'edge_dnn_partition' / 'config' / 'traces'


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
    'steps': (steps, 42.0),
    'lte': (lambda: recorded('lte', 0.0, 24.0), 24.0),
    'short': (lambda: recorded('lte', 0.0, 8.0), 8.0),
    'wifi_walk': (lambda: recorded('wifi_walk', 0.0, 30.0), 30.0),
}
"""The courses and their ends."""
