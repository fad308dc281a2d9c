# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How much slower a device is now than while it was profiled."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

TELLING: Final = 0.15
"""Change of the logarithm of what telemetry says from which it counts."""
_STEP: Final = math.log(1.4)
"""Two timings on end that are so far from those before, on one side of them..."""
_ALIKE: Final = math.log(1.25)
"""... and so near to each other show a step."""
_OVERDUE: Final = 2.0
"""A stage that takes so many times what is believed shows that the device has become slower, before it is done."""
_OVERDUE_COUNTS_SECONDS: Final = 0.35

_WINDOW: Final = 5
"""How many timings of stages the median looks back ..."""

_PROBE_WINDOW: Final = 3
"""... and how many probes."""


@dataclass
class ComputeEstimator:
    """Follows a device's factor: measured over profiled time; time is passed in, seconds.

    A stage's own timing counts most. While a device runs no stage, the small fixed
    computation of its worker (speed probe) tells. The factor is the median of the last
    few of either, so that a single late run moves nothing; a step shows in two timings of stages, as soon as those
    agree with each other and not with the others. Of a stage that is overdue by far the time so far is believed at once,
    as long as it is said.

    What telemetry says of the host (:mod:`.contention`) counts at once, before a frame has paid for it: timings are
    kept relative to it, so that those from before a change hold after it, and correct it where it is wrong.

    :param stage_seconds: how long stage timings count more than probes.
    """

    stage_seconds: float = 3.0
    _stages: deque[float] = field(default_factory=deque)
    _probes: deque[float] = field(default_factory=deque)
    _stage_at: float = float('-inf')
    _host: float = 1.0
    _overdue: float = 0.0
    _overdue_at: float = float('-inf')

    def host(self, factor: float) -> None:
        """Take in by how much telemetry says that the worker is slowed down; small changes are noise."""
        if math.isfinite(factor) and factor > 0 and abs(math.log(factor / self._host)) > TELLING:
            self._host = factor

    def stage(self, now: float, measured_seconds: float, profiled_seconds: float) -> None:
        """Take in a stage's time and what the profile says of it."""
        if not (measured_seconds > 0 and profiled_seconds > 0):
            return
        if now - self._stage_at > self.stage_seconds:
            self._stages.clear()
        self._stage_at = now
        self._push(self._stages, measured_seconds / profiled_seconds / self._host, _WINDOW)
        self._notice_step()

    def forget_stages(self) -> None:
        """Forget what stages took: there is another profile to compare them with."""
        self._stages.clear()
        self._overdue = 0.0

    def overdue(self, now: float, factor: float) -> None:
        """Take in what the stage under way, or the last one, takes at least over its profiled time; 0: no longer than usual.

        If that is by far longer than what is believed, the stages before say nothing any more: if the device has no stage
        from now on, since its slowness has driven the plan away, its probes tell.
        """
        self._overdue, self._overdue_at = (factor if math.isfinite(factor) else 0.0), now
        if self._late(now):
            self._stages.clear()

    def probe(self, factor: float, *, alone: bool = False) -> None:
        """Take in the speed probe's time over its time while profiling.

        :param alone: it is timed as if nobody shared the host, and so says nothing of what telemetry says.
        """
        if math.isfinite(factor) and factor > 0:
            self._push(self._probes, factor if alone else factor / self._host, _PROBE_WINDOW)

    def measured(self, now: float) -> bool:
        """True if a stage's timing is recent enough to count."""
        return bool(self._stages) and now - self._stage_at <= self.stage_seconds

    @property
    def idle_factor(self) -> float:
        """The device's factor by its probes and what telemetry says alone; 1 if nothing is known."""
        return (median(self._probes) if self._probes else 1.0) * self._host

    def factor(self, now: float) -> float:
        """The device's factor now; 1 if nothing is known."""
        return self._overdue if self._late(now) else self._believed(now)

    def _believed(self, now: float) -> float:
        if self.measured(now):
            return median(self._stages) * self._host
        return self.idle_factor

    def _late(self, now: float) -> bool:
        return self._overdue > _OVERDUE * self._believed(now) and now - self._overdue_at <= _OVERDUE_COUNTS_SECONDS

    def deviation(self, now: float) -> float:
        """The relative standard deviation of what the factor was taken from; 0.1 if too little is known."""
        values = self._stages if self.measured(now) else self._probes
        if len(values) < 3:
            return 0.1
        logs = [math.log(value) for value in values]
        mean = sum(logs) / len(logs)
        return math.sqrt(sum((value - mean) ** 2 for value in logs) / (len(logs) - 1))

    def _notice_step(self) -> None:
        """Forget what came before a step, if the last two timings show one."""
        if len(self._stages) < 4:
            return
        *before, first, second = self._stages
        off = [math.log(value / median(before)) for value in (first, second)]
        if abs(off[0] - off[1]) <= _ALIKE and (min(off) > _STEP or max(off) < -_STEP):
            self._stages = deque((first, second))

    @staticmethod
    def _push(values: deque[float], value: float, window: int) -> None:
        values.append(value)
        while len(values) > window:
            values.popleft()
