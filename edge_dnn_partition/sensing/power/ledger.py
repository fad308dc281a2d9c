# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Brings a meter's readings and the stages' runs together: energy by stage, window after window."""

from __future__ import annotations

import math
from collections import deque
from typing import Generic

from .attribution import Attribution, Run, Stage, attribute, busy_seconds, seen_seconds
from .idle import IdlePower
from .reading import PowerReading
from .trace import EnergyTrace


class EnergyLedger(Generic[Stage]):
    """Settles the time between two readings once the runs that fall into it can be known.

    A run is told when it has ended, so a window waits ``lag_seconds``; a longer run loses what lies before.
    A run's stage may be any key: (frame, stage) gives the energy of each stage of each frame.

    :param idle: what the device draws anyway.
    :param lag_seconds: longer than almost every run.
    """

    def __init__(self, idle: IdlePower, lag_seconds: float = 2.0) -> None:
        self.idle = idle
        self._lag = lag_seconds
        self._trace = EnergyTrace(keep_seconds=30.0 + 10 * lag_seconds)
        self._windows: deque[tuple[float, float, float, float, int]] = deque()
        # start, end, busy core-seconds and share at work of the device, its cores
        self._runs: deque[Run[Stage]] = deque()
        self._radio: deque[Run[str]] = deque()  # in watts for cores
        self._last = math.nan
        self._begun, self._busy, self._at_work = math.nan, 0.0, 0.0

    def run(self, run: Run[Stage]) -> None:
        """Take in a run that has ended."""
        self._runs.append(run)

    def radio(self, start: float, end: float, joules: float) -> None:
        """Take in what the radio took for a hop, by a model; what is unknown is left in the rest."""
        if joules > 0 and end > start and math.isfinite(joules):
            self._radio.append(Run('radio', start, end, joules / (end - start)))

    def reading(
        self, now_seconds: float, reading: PowerReading, busy_cores: float = math.nan, cores: int = 1, gpu_share: float = 0.0
    ) -> list[Attribution[Stage]]:
        """Take in a reading and return what can be settled now, oldest first.

        :param now_seconds: on the runs' clock.
        :param reading: of the device's total, measured or modelled.
        :param busy_cores: of the whole device since the reading before: what is beyond the stages is other
            work; NaN: all of it is the stages'.
        :param cores: of the device.
        :param gpu_share: of the GPU's time in which it was at work, where its idleness counts; NaN: unknown.
        """
        self._trace.add(now_seconds, reading)
        if self._last < now_seconds:
            self._busy += busy_cores * (now_seconds - self._last)
            at_work = busy_cores / cores
            self._at_work = max(self._at_work, at_work, gpu_share) if math.isfinite(at_work + gpu_share) else math.nan
            if now_seconds - self._begun >= reading.response_seconds:
                self._windows.append((self._begun, now_seconds, self._busy, self._at_work, cores))
                self._begun, self._busy, self._at_work = now_seconds, 0.0, 0.0
        elif math.isnan(self._last):
            self._begun = now_seconds
        self._last = now_seconds
        settled = []
        while self._windows and self._windows[0][1] <= now_seconds - self._lag:
            settled.append(self._settle(*self._windows.popleft()))
            for past in (self._runs, self._radio):
                while past and past[0].end <= self._last - 2 * self._lag:
                    past.popleft()
        return settled

    def _settle(self, start: float, end: float, device_busy: float, at_work: float, cores: int) -> Attribution[Stage]:
        """Share a window out. What was drawn in one that was quiet tells of idleness: not before its runs are known."""
        busy = busy_seconds(self._runs, start, end)
        other = device_busy - seen_seconds(self._runs, start, end)
        window = self._trace.between(start, end)
        self.idle.add(window.joules / (end - start), max(at_work, math.fsum(busy.values()) / (end - start) / cores))
        return attribute(
            window,
            end - start,
            idle_watts=self.idle.watts,
            idle_error_watts=self.idle.error_watts,
            busy=busy,
            other_busy=max(0.0, other) if math.isfinite(other) else 0.0,
            radio_joules=busy_seconds(self._radio, start, end).get('radio', 0.0),
        )
