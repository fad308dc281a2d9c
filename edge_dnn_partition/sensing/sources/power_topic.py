# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A meter that is not of this device: someone else gives its watts, as a node does from a topic."""

from __future__ import annotations

import math
from dataclasses import replace

from edge_dnn_partition.sensing.power.reading import LONGEST_GAP_SECONDS, Meter, PowerIntegral, PowerReading
from edge_dnn_partition.sensing.source import Unavailable


class ExternalMeter(Meter):
    """Takes watts as they come; joules are added up at the times they came.

    :param label: what the readings are called, such as the topic's name.
    :param name: of the source; two meters need two.
    :param kind: what the readings' source begins with: ``external`` beats the device's own meters,
        ``battery`` does not.
    :param stale_seconds: how long a value counts after it came.
    """

    name = 'external'

    def __init__(
        self, label: str, stale_seconds: float = LONGEST_GAP_SECONDS, *, name: str = 'external', kind: str = 'external'
    ) -> None:
        self.name = name
        self._label, self._stale, self._kind = label, stale_seconds, kind
        self._total = PowerIntegral(stale_seconds)
        self._at = -math.inf
        self._step = math.nan

    def on_watts(self, now_seconds: float, watts: float) -> None:
        """Record a value; a negative or non-finite one counts as unknown.

        :param now_seconds: when it came, on the clock that `read` is given.
        """
        before = self._total.watts
        value = float(watts) if math.isfinite(watts) and watts >= 0 else math.nan
        step = abs(value - before)
        if step > 0:
            self._step = min(self._step, step) if math.isfinite(self._step) else step
        self._total.update(now_seconds, value)
        self._at = now_seconds

    def probe(self) -> str:
        """Say whose values it takes."""
        if not self._label:
            raise Unavailable('none named: set power_topic of device_monitor to a topic of std_msgs/Float32 in watts')
        return self._label

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the last value, NaN if it is too old; its resolution is the least step seen."""
        reading = self._total.reading(f'{self._kind} {self._label}', 'board', self._step)
        return (replace(reading, watts=math.nan) if now_seconds - self._at > self._stale else reading,)
