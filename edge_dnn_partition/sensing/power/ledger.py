# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Attributes energy to stages window by window, from a meter's readings or, without a meter, from a power model."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Final, Generic

from edge_dnn_partition.sensing.power.attribution import (
    Attribution,
    EnergyTrace,
    Run,
    Stage,
    attribute,
    busy_seconds,
    modelled,
    seen_seconds,
)
from edge_dnn_partition.sensing.power.model import PowerModel
from edge_dnn_partition.sensing.power.reading import PowerReading

_QUIET_SHARE: Final = 0.05
"""Of all cores; busier moments tell nothing of idleness."""

_WINDOW: Final = 60
"""How many of the last quiet moments count."""

_TO_DEVIATION: Final = 1.4826
"""Of a normal distribution, the standard deviation over the median absolute deviation."""


class IdlePower:
    """The median of the watts in quiet moments.

    :param guess_watts: counts until enough was seen, such as a power model's; NaN: unknown until then.
    :param guess_error_watts: standard error of that.
    :param least: how many quiet moments are enough.
    """

    def __init__(
        self,
        guess_watts: float = math.nan,
        guess_error_watts: float = math.nan,
        *,
        least: int = 5,
    ) -> None:
        self._guess = (guess_watts, guess_error_watts)
        self._least = least
        self._watts: deque[float] = deque(maxlen=_WINDOW)

    def add(self, watts: float, busy_share: float) -> None:
        """Take in a moment.

        :param watts: of the meter.
        :param busy_share: of all cores, 0 to 1.
        """
        if math.isfinite(watts) and busy_share <= _QUIET_SHARE:
            self._watts.append(watts)

    @property
    def measured(self) -> bool:
        """True if the watts are the meter's, not the guess."""
        return len(self._watts) >= self._least

    @property
    def watts(self) -> float:
        """What it draws when nothing runs."""
        return median(self._watts) if self.measured else self._guess[0]

    @property
    def error_watts(self) -> float:
        """Standard error of that."""
        if not self.measured:
            return self._guess[1]
        middle = median(self._watts)
        spread = median(abs(value - middle) for value in self._watts)
        return _TO_DEVIATION * spread / math.sqrt(len(self._watts))


class _Ledger(Generic[Stage]):
    """The runs of stages and radio of the last seconds, and the windows that wait for runs still under way.

    A run is reported when it has ended, so a window is settled ``lag_seconds`` after its end; a longer run loses what lies
    before. A run's stage may be any key: (frame, stage) gives the energy of each stage of each frame.

    :param lag_seconds: longer than almost every run.
    """

    def __init__(self, lag_seconds: float = 2.0) -> None:
        self._lag = lag_seconds
        self._windows: deque[tuple[float, float, float, float, int]] = deque()
        """Start, end, busy core-seconds of the device, its utilisation (meter) or clock ratio (model), and its cores."""
        self._runs: deque[Run[Stage]] = deque()
        self._radio: deque[Run[str]] = deque()  # with watts in place of cores
        self._last = math.nan

    def run(self, run: Run[Stage]) -> None:
        """Record a run that has ended."""
        self._runs.append(run)

    def radio(self, start: float, end: float, joules: float) -> None:
        """Record the modelled radio energy of a hop; if it is unknown, it stays in the rest."""
        if joules > 0 and end > start and math.isfinite(joules):
            self._radio.append(Run('radio', start, end, joules / (end - start)))

    def _settled(self, now: float) -> list[Attribution[Stage]]:
        """Attribute the windows that are old enough, oldest first, and drop the runs before them."""
        found = []
        while self._windows and self._windows[0][1] <= now - self._lag:
            start, end, device_busy, activity, cores = self._windows.popleft()
            busy = busy_seconds(self._runs, start, end)
            other = device_busy - seen_seconds(self._runs, start, end)
            other = max(0.0, other) if math.isfinite(other) else 0.0
            radio = busy_seconds(self._radio, start, end).get('radio', 0.0)
            found.append(self._attribute(start, end, busy, other, radio, activity, cores))
            for past in (self._runs, self._radio):
                while past and past[0].end <= now - 2 * self._lag:
                    past.popleft()
        return found

    def _attribute(
        self, start: float, end: float, busy: dict[Stage, float], other: float, radio: float, activity: float, cores: int
    ) -> Attribution[Stage]:
        raise NotImplementedError


class EnergyLedger(_Ledger[Stage]):
    """Attributes what a meter measures.

    :param idle: what the device draws anyway.
    """

    def __init__(self, idle: IdlePower, lag_seconds: float = 2.0) -> None:
        super().__init__(lag_seconds)
        self.idle = idle
        self._trace = EnergyTrace(keep_seconds=30.0 + 10 * lag_seconds)
        self._begun, self._busy, self._at_work = math.nan, 0.0, 0.0

    def reading(
        self, now_seconds: float, reading: PowerReading, busy_cores: float = math.nan, cores: int = 1, gpu_share: float = 0.0
    ) -> list[Attribution[Stage]]:
        """Record a reading and return what can be settled now, oldest first.

        :param now_seconds: on the runs' clock.
        :param reading: of the device's total, measured or modelled.
        :param busy_cores: of the whole device since the last reading: what exceeds the stages is other work; NaN: all
            of it belongs to the stages.
        :param cores: of the device.
        :param gpu_share: share of the time in which the GPU was busy, where its idleness counts; NaN: unknown.
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
        return self._settled(now_seconds)

    def _attribute(
        self, start: float, end: float, busy: dict[Stage, float], other: float, radio: float, activity: float, cores: int
    ) -> Attribution[Stage]:
        window, seconds = self._trace.between(start, end), end - start
        # Only now are the window's runs known, and with them whether it was quiet.
        self.idle.add(window.joules / seconds, max(activity, math.fsum(busy.values()) / seconds / cores))
        return attribute(
            window, seconds, idle_watts=self.idle.watts, idle_error_watts=self.idle.error_watts, busy=busy, other_busy=other,
            radio_joules=radio,
        )  # fmt: skip


class ModelledLedger(_Ledger[Stage]):
    """Attributes what a power model says, for a device without a meter.

    :param model: of the device.
    """

    def __init__(self, model: PowerModel, lag_seconds: float = 2.0) -> None:
        super().__init__(lag_seconds)
        self.model = model

    def reading(self, now_seconds: float, busy_cores: float = math.nan, clock_ratio: float = 1.0) -> list[Attribution[Stage]]:
        """Close a window and return what can be settled now, oldest first.

        :param now_seconds: on the runs' clock.
        :param busy_cores: of the whole device since the last reading; NaN: the device runs nothing but the stages.
        :param clock_ratio: the cores' clock over the highest one.
        """
        if self._last < now_seconds:
            self._windows.append((self._last, now_seconds, busy_cores * (now_seconds - self._last), clock_ratio, 1))
        self._last = now_seconds
        return self._settled(now_seconds)

    def _attribute(
        self, start: float, end: float, busy: dict[Stage, float], other: float, radio: float, activity: float, cores: int
    ) -> Attribution[Stage]:
        return modelled(self.model, end - start, busy=busy, other_busy=other, clock_ratio=activity, radio_joules=radio)
