# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A meter's joules over time, and how many of them fell into a window."""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from edge_dnn_partition.sensing.power.model import PowerModel
from edge_dnn_partition.sensing.power.reading import Kind, PowerReading


class Window(NamedTuple):
    """Energy between two times.

    :param joules: NaN if the meter did not cover the window.
    :param error_joules: standard error of that: of the meter's steps, and of the time between its readings.
    """

    joules: float
    error_joules: float


class EnergyTrace:
    """Keeps a meter's last readings.

    Between two readings energy is taken to flow steadily; neighbouring windows add up to the joules of both,
    whatever their edges.

    :param keep_seconds: how long a reading is kept.
    """

    def __init__(self, keep_seconds: float = 60.0) -> None:
        self._keep = keep_seconds
        self._points: deque[tuple[float, float, float]] = deque()  # time, joules, covered seconds
        self._source = ''
        self._step = math.nan

    def add(self, now_seconds: float, reading: PowerReading) -> None:
        """Take in a reading; one of another meter, or one that began anew, starts the trace anew."""
        anew = self._points and reading.joules < self._points[-1][1] - 1e-9
        if reading.source != self._source or anew:
            self._points.clear()
            self._source = reading.source
        if not math.isfinite(reading.joules) or (self._points and now_seconds <= self._points[-1][0]):
            return
        if self._points and (reading.joules, reading.covered_seconds) == self._points[-1][1:]:
            return  # the same once more: its sensor is read less often than it is asked for
        self._step = reading.resolution_joules
        self._points.append((now_seconds, reading.joules, reading.covered_seconds))
        while self._points[-1][0] - self._points[0][0] > self._keep:
            self._points.popleft()

    def span(self) -> tuple[float, float]:
        """Return the times of the first and the last reading that are kept, NaN without one."""
        return (self._points[0][0], self._points[-1][0]) if self._points else (math.nan, math.nan)

    def between(self, start: float, end: float) -> Window:
        """Return the energy of a window.

        :param start: seconds, on the readings' clock.
        :param end: likewise.
        """
        first, last = self.span()
        if not first <= start <= end <= last:
            return Window(math.nan, math.nan)
        points = list(self._points)
        at_start, edge_start, covered_start = self._at(points, start)
        at_end, edge_end, covered_end = self._at(points, end)
        if covered_end - covered_start < 0.99 * (end - start) - 1e-6:
            return Window(math.nan, math.nan)
        # a counter's value is uniform within its step; an edge between two readings within what flowed there
        return Window(at_end - at_start, math.sqrt((self._step**2 * 2 + edge_start**2 + edge_end**2) / 12))

    @staticmethod
    def _at(points: list[tuple[float, float, float]], when: float) -> tuple[float, float, float]:
        """Return joules and covered seconds at a time, and between them the spread of joules around it."""
        i = bisect.bisect_left(points, (when,))
        if i < len(points) and points[i][0] == when:
            return points[i][1], 0.0, points[i][2]
        (t0, j0, c0), (t1, j1, c1) = points[i - 1], points[i]
        share = (when - t0) / (t1 - t0)
        return j0 + share * (j1 - j0), (j1 - j0) * 2 * min(share, 1 - share), c0 + share * (c1 - c0)


Stage = TypeVar('Stage', bound=Hashable)


@dataclass(frozen=True)
class Energy:
    """Joules with their standard error."""

    joules: float
    error_joules: float
    kind: Kind = 'measured'


@dataclass(frozen=True)
class Attribution(Generic[Stage]):
    """Where a window's energy went; ``idle``, ``radio``, ``other`` and the stages add up to ``total``.

    :param idle: what the device would have drawn anyway.
    :param radio: what the hops' bytes took, which is modelled always and has no error; 0 joules where no hop is known.
    :param other: what was drawn above that and belongs to no stage.
    :param seconds: how long the window was.
    :param busy: core-seconds of each stage in it.
    """

    total: Energy
    idle: Energy
    other: Energy
    stages: Mapping[Stage, Energy]
    seconds: float = math.nan
    busy: Mapping[Stage, float] = field(default_factory=dict)
    radio: Energy = Energy(0.0, math.nan, 'modelled')


@dataclass(frozen=True)
class Run(Generic[Stage]):
    """One run of a stage, on the clock of the meter's readings.

    :param cores: how many cores it kept busy on average; weighs its time against others'.
    :param seen: how many of them show in what is known of the device's use; None: all. A GPU's do not.
    """

    stage: Stage
    start: float
    end: float
    cores: float = 1.0
    seen: float | None = None


def seen_seconds(runs: Iterable[Run[Stage]], start: float, end: float) -> float:
    """Return the core-seconds of all runs within a window that show in what is known of the device's use."""
    parts = (Run('', r.start, r.end, r.cores if r.seen is None else r.seen) for r in runs)
    return math.fsum(busy_seconds(parts, start, end).values())


def busy_seconds(runs: Iterable[Run[Stage]], start: float, end: float) -> dict[Stage, float]:
    """Return the core-seconds that each stage was busy within a window; runs may overlap and reach beyond it."""
    busy: dict[Stage, float] = {}
    for run in runs:
        seconds = min(run.end, end) - max(run.start, start)
        if seconds > 0:
            busy[run.stage] = busy.get(run.stage, 0.0) + seconds * run.cores
    return busy


def attribute(
    window: Window,
    seconds: float,
    *,
    idle_watts: float,
    idle_error_watts: float = 0.0,
    busy: Mapping[Stage, float],
    other_busy: float = 0.0,
    radio_joules: float = 0.0,
) -> Attribution[Stage]:
    """Share a window's energy.

    Idleness takes at most what there is, and then the radio. The rest goes to the stages and to other work by their busy
    core-seconds; with no busy time at all it is other. A share's error is that of the rest, and the shares'
    errors go together: they are not independent.

    :param window: of the meter.
    :param seconds: how long it was.
    :param idle_watts: of the device, on the same meter.
    :param idle_error_watts: standard error of that.
    :param busy: core-seconds by stage.
    :param other_busy: core-seconds of everything else on the device.
    :param radio_joules: of the hops' bytes in the window, by a model.
    """
    total, error = window
    idle = min(total, idle_watts * seconds) if math.isfinite(total) else math.nan
    idle_error = idle_error_watts * seconds
    radio = min(total - idle, radio_joules) if math.isfinite(total) else math.nan
    rest, rest_error = total - idle - radio, math.hypot(error, idle_error)
    whole = math.fsum(busy.values()) + other_busy
    shares = {stage: (core_seconds / whole if whole > 0 else 0.0) for stage, core_seconds in busy.items()}
    stages = {stage: Energy(rest * share, rest_error * share) for stage, share in shares.items()}
    remaining = max(0.0, 1.0 - math.fsum(shares.values())) if whole > 0 else 1.0
    other = rest * remaining
    return Attribution(
        total=Energy(total, error), idle=Energy(idle, idle_error), other=Energy(other, rest_error * remaining), stages=stages,
        seconds=seconds, busy=busy, radio=Energy(radio, math.nan, 'modelled'),
    )  # fmt: skip


def modelled(model: PowerModel, seconds: float, *, busy: Mapping[Stage, float], other_busy: float = 0.0,
             clock_ratio: float = 1.0, radio_joules: float = 0.0) -> Attribution[Stage]:  # fmt: skip
    """Return the same from a power model, for a device without a meter: the total is the sum of its parts."""

    def energy(joules: float) -> Energy:
        return Energy(joules, joules * model.relative_error, 'modelled')

    stages = {stage: energy(model.stage_joules(core_seconds, clock_ratio=clock_ratio)[0]) for stage, core_seconds in busy.items()}
    idle = model.idle_watts * seconds
    other = model.stage_joules(other_busy, clock_ratio=clock_ratio)[0]
    total = idle + other + radio_joules + math.fsum(share.joules for share in stages.values())
    return Attribution(total=energy(total), idle=energy(idle), other=energy(other), stages=stages, seconds=seconds,
                       radio=Energy(radio_joules, math.nan, 'modelled'))  # fmt: skip
