# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How much slower a device is now than while it was profiled."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

_TELLING: Final = 0.15
"""Change of the logarithm of what telemetry says from which it counts."""


@dataclass
class ComputeEstimator:
    """Follows a device's factor: measured over profiled time; time is passed in, seconds.

    A stage's own timing counts most. While a device runs no stage, the small fixed
    computation of its worker (speed probe) tells. The factor is the median of the last
    few of either, so that a single late run moves nothing; a step shows after half of them.

    What telemetry says of the host (:mod:`.contention`) counts at once, before a frame has paid for it: timings are
    kept relative to it, so that those from before a change hold after it, and correct it where it is wrong.

    :param window: how many timings the median looks back.
    :param stage_seconds: how long stage timings count more than probes.
    :param probe_window: how many probes the median looks back.
    """

    window: int = 5
    stage_seconds: float = 3.0
    probe_window: int = 3
    _stages: deque[float] = field(default_factory=deque)
    _probes: deque[float] = field(default_factory=deque)
    _stage_at: float = float('-inf')
    _host: float = 1.0

    def host(self, factor: float) -> None:
        """Take in by how much telemetry says that the worker is slowed down; small changes are noise."""
        if math.isfinite(factor) and factor > 0 and abs(math.log(factor / self._host)) > _TELLING:
            self._host = factor

    def stage(self, now: float, measured_seconds: float, profiled_seconds: float) -> None:
        """Take in a stage's time and what the profile says of it."""
        if not (measured_seconds > 0 and profiled_seconds > 0):
            return
        if now - self._stage_at > self.stage_seconds:
            self._stages.clear()
        self._stage_at = now
        self._push(self._stages, measured_seconds / profiled_seconds / self._host, self.window)

    def probe(self, factor: float, *, alone: bool = False) -> None:
        """Take in the speed probe's time over its time while profiling.

        :param alone: it is timed as if nobody shared the host, and so says nothing of what telemetry says.
        """
        if math.isfinite(factor) and factor > 0:
            self._push(self._probes, factor if alone else factor / self._host, self.probe_window)

    def measured(self, now: float) -> bool:
        """True if a stage's timing is recent enough to count."""
        return bool(self._stages) and now - self._stage_at <= self.stage_seconds

    def factor(self, now: float) -> float:
        """The device's factor now; 1 if nothing is known."""
        if self.measured(now):
            return median(self._stages) * self._host
        return (median(self._probes) if self._probes else 1.0) * self._host

    def deviation(self, now: float) -> float:
        """The relative standard deviation of what the factor was taken from; 0.1 if too little is known."""
        values = self._stages if self.measured(now) else self._probes
        if len(values) < 3:
            return 0.1
        logs = [math.log(value) for value in values]
        mean = sum(logs) / len(logs)
        return math.sqrt(sum((value - mean) ** 2 for value in logs) / (len(logs) - 1))

    @staticmethod
    def _push(values: deque[float], value: float, window: int) -> None:
        values.append(value)
        while len(values) > window:
            values.popleft()
