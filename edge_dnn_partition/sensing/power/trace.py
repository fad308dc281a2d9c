# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A meter's joules over time, and how many of them fell into a window."""

from __future__ import annotations

import bisect
import math
from collections import deque
from typing import NamedTuple

from .reading import PowerReading


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
