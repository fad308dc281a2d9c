# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The battery as a power meter: while it is discharged, what it gives is what the device draws."""

from __future__ import annotations

import math
from typing import Final

from edge_dnn_partition.sensing.source import Unavailable
from edge_dnn_partition.sensing.sources.battery import BatterySource

from .meter import Meter, reading_of
from .reading import PowerIntegral, PowerReading

_STEP_WATTS: Final = 0.1
"""Fuel gauges average over seconds and step by tens of milliwatts and more."""


class BatteryMeter(Meter):
    """Reads the discharge from ``/sys/class/power_supply``; unknown while the battery is charged.

    :param root: of sysfs.
    """

    name = 'battery_meter'
    period_seconds = 1.0

    def __init__(self, root: str = '') -> None:
        self._battery = BatterySource(root)
        self._total = PowerIntegral()

    def probe(self) -> str:
        """Say which batteries tell what they give."""
        found = self._battery.probe()
        reading = self._battery.read(0.0)
        if not reading.charging and not math.isfinite(reading.discharge_watts):
            raise Unavailable(f'{found} tells neither power nor current')
        return f'{found}, while it is discharged'

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the board's power; NaN while the battery is charged."""
        reading = self._battery.read(now_seconds)
        self._total.update(now_seconds, math.nan if reading.charging else reading.discharge_watts)
        return (
            reading_of(
                self._total, 'battery', 'board', resolution_watts=_STEP_WATTS, resolution_joules=_STEP_WATTS,
                note='averaged by the fuel gauge',
            ),
        )  # fmt: skip
