# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A battery that someone else watches, as a node hears of it on a topic."""

from __future__ import annotations

import math
from dataclasses import replace

from edge_dnn_partition.sensing.source import Source, Unavailable

from .battery import BatteryReading


class BatteryTopicSource(Source[BatteryReading]):
    """Keeps the last state that came.

    :param label: the topic's name.
    :param stale_seconds: how long a state counts after it came.
    """

    name = 'battery_topic'

    def __init__(self, label: str, stale_seconds: float = 30.0) -> None:
        self._label, self._stale = label, stale_seconds
        self._last = BatteryReading()
        self._at = -math.inf

    def take(
        self, now_seconds: float, *, fraction: float, volts: float, amperes: float, discharging: bool
    ) -> BatteryReading:
        """Take in a state and return it as a reading.

        :param now_seconds: when it came, on the clock that `read` is given.
        :param fraction: of the charge it can hold, 0 to 1; NaN if not measured.
        :param volts: NaN if not measured.
        :param amperes: of either sign; NaN if not measured.
        :param discharging: whether the battery gives power.
        """
        watts = abs(volts * amperes) if discharging else 0.0
        percent = 100 * fraction if 0 <= fraction <= 1 else math.nan
        self._last = BatteryReading(percent, watts if math.isfinite(watts) else math.nan, not discharging)
        self._at = now_seconds
        return self._last

    def probe(self) -> str:
        """Say whose state it keeps."""
        if not self._label:
            raise Unavailable('no topic named')
        return self._label

    def read(self, now_seconds: float) -> BatteryReading:
        """Return the last state; what it said is unknown once it is too old."""
        if now_seconds - self._at > self._stale:
            return replace(self._last, percent=math.nan, discharge_watts=math.nan)
        return self._last
