# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How fast a device is now: read from the speed probe while it is idle, and from a stage that is overdue while it runs."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.transport.probing import TOLD_SECONDS

from .speed_probe import SpeedProbe

LEAST_SECONDS: Final = 0.1
"""A stage that is late by less is not reported: it is not worth a change of plan before its frame is back."""
REMEMBER_SECONDS: Final = 2.0
"""A stage's time is reported for so long after it, if no other follows: by then an idle device's probe is read again."""


PROBE_SECONDS: Final = 0.2
"""Least seconds between two readings of the probe on a device that a better plan would need."""
REST_SECONDS: Final = 5.0
"""On a device that has run no stage for so long and that no better plan would need ..."""
REST_PERIODS: Final = 3
"""... so many periods are between two readings."""
STEP: Final = 1.25
"""One run of the probe that differs from the reading before by more than this factor is confirmed by more runs."""


class SpeedMonitor:
    """Reads the speed probe of one device. Time is passed in; `worth_probing` may be called from another thread.

    :param hardware: the device's.
    """

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self._probe: SpeedProbe | None = None
        self._worth = 0.0, -math.inf
        """Of a core, what readings may take, and when the scheduler asked for them."""
        self._probe_seconds = 0.0
        self.ran_at = -math.inf
        """When a stage last ran."""
        self.profile: Profile | None = None
        """Of this device, once it is known."""
        self.factor = math.nan
        """The probe's time over its time while profiling; NaN: unknown."""

    def _at_rest(self, now: float) -> bool:
        return math.isfinite(self.factor) and now - self.ran_at > REST_SECONDS

    def worth_probing(self, share: float, now: float) -> None:
        """Take in that the scheduler wants to know more of this device's speed.

        :param share: of a core, that readings may take.
        """
        self._worth = share, now

    def pause(self, period: float, now: float) -> float:
        """Return the seconds until the next reading.

        :param period: where the scheduler has not asked for more.
        """
        share, at = self._worth
        if share <= 0 or now - at > TOLD_SECONDS:
            return period * (REST_PERIODS if self._at_rest(now) else 1)
        return min(period, max(PROBE_SECONDS, self._probe_seconds / share))

    def read(self, period: float) -> None:
        """Read the probe: once where it is read often, and more often if that shows another speed than before.

        :raises UserError: if the probe cannot be run.
        """
        if self.profile is None or not self.profile.probe_seconds > 0:
            return
        self._probe = self._probe or SpeedProbe()
        begin = time.thread_time()
        soon = self.pause(period, time.monotonic()) < period
        found = self._factor(self._probe, 1 if soon else 3, self.profile.probe_seconds)
        self._probe_seconds = (time.thread_time() - begin) / (1 if soon else 3)
        if soon and not self.factor / STEP < found < self.factor * STEP:
            found = self._factor(self._probe, 3, self.profile.probe_seconds)
        self.factor = found

    def _factor(self, probe: SpeedProbe, runs: int, profiled_seconds: float) -> float:
        reading = probe.read(runs)
        return self._hardware.probe_seconds(reading.busy_seconds, reading.wall_seconds) / profiled_seconds


@dataclass(frozen=True)
class _Run:
    begin: float
    profiled: float
    end: float | None = None

    def factor(self, until: float) -> float:
        took = until - self.begin
        return took / self.profiled if took - self.profiled >= LEAST_SECONDS else 0.0


@dataclass
class StageWatch:
    """Watches one stage after the other; `factor` may be asked from another thread.

    :param clock: seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _now: _Run | None = None
    _last: _Run | None = None

    @contextlib.contextmanager
    def watching(self, profiled_seconds: float) -> Iterator[None]:
        """Watch a stage while the context is entered.

        :param profiled_seconds: what it is to take; 0: not known, then it is not watched.
        """
        begin = self.clock()
        self._now = _Run(begin, profiled_seconds) if profiled_seconds > 0 else None
        try:
            yield
        finally:
            self._last = _Run(begin, profiled_seconds, self.clock()) if profiled_seconds > 0 else None
            self._now = None

    def factor(self, now: float) -> float:
        """Return the time of the stage under way, or of the last one, over its profiled time; 0 if that is not overdue."""
        present, last = self._now, self._last
        found = 0.0
        if last is not None and last.end is not None and now - last.end <= REMEMBER_SECONDS:
            found = last.factor(last.end)
        return max(found, present.factor(now)) if present is not None else found
