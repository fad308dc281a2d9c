# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Energy by stage, window after window, of a device without a meter: by its power model, and named modelled."""

from __future__ import annotations

import math
from collections import deque
from typing import Generic

from .attribution import Attribution, Run, Stage, busy_seconds, modelled, seen_seconds
from .model import PowerModel


class ModelledLedger(Generic[Stage]):
    """As `EnergyLedger`, with a model's joules for what a meter would tell.

    :param model: the device's.
    :param lag_seconds: longer than almost every run.
    """

    def __init__(self, model: PowerModel, lag_seconds: float = 2.0) -> None:
        self.model = model
        self._lag = lag_seconds
        self._windows: deque[tuple[float, float, float, float]] = deque()  # start, end, busy core-seconds, clock
        self._runs: deque[Run[Stage]] = deque()
        self._radio: deque[Run[str]] = deque()  # in watts for cores
        self._last = math.nan

    def run(self, run: Run[Stage]) -> None:
        """Take in a run that has ended."""
        self._runs.append(run)

    def radio(self, start: float, end: float, joules: float) -> None:
        """Take in what the radio took for a hop, by a model; what is unknown is left in the rest."""
        if joules > 0 and end > start and math.isfinite(joules):
            self._radio.append(Run('radio', start, end, joules / (end - start)))

    def reading(self, now_seconds: float, busy_cores: float = math.nan, clock_ratio: float = 1.0) -> list[Attribution[Stage]]:
        """Close a window and return what can be settled now, oldest first.

        :param now_seconds: on the runs' clock.
        :param busy_cores: of the whole device since the reading before; NaN: it does nothing but the stages.
        :param clock_ratio: the cores' clock over the highest one.
        """
        if self._last < now_seconds:
            self._windows.append((self._last, now_seconds, busy_cores * (now_seconds - self._last), clock_ratio))
        self._last = now_seconds
        settled = []
        while self._windows and self._windows[0][1] <= now_seconds - self._lag:
            start, end, device_busy, clock = self._windows.popleft()
            busy = busy_seconds(self._runs, start, end)
            other = device_busy - seen_seconds(self._runs, start, end)
            settled.append(modelled(self.model, end - start, busy=busy, clock_ratio=clock,
                                    other_busy=max(0.0, other) if math.isfinite(other) else 0.0,
                                    radio_joules=busy_seconds(self._radio, start, end).get('radio', 0.0)))  # fmt: skip
            for past in (self._runs, self._radio):
                while past and past[0].end <= self._last - 2 * self._lag:
                    past.popleft()
        return settled
