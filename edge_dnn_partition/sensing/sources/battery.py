# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The battery, from the kernel's power supplies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from edge_dnn_partition.sensing.files import listing, read_number, text_or_empty
from edge_dnn_partition.sensing.power.reading import Meter, PowerIntegral, PowerReading
from edge_dnn_partition.sensing.source import Source, Unavailable


@dataclass(frozen=True)
class BatteryReading:
    """The device's batteries together; NaN: unknown.

    :param percent: of the charge they can hold, 0 to 100.
    :param discharge_watts: what they give; 0 while they are charged or full, NaN if they do not tell.
    :param charging: whether something charges them or holds them full.
    """

    percent: float = math.nan
    discharge_watts: float = math.nan
    charging: bool = False


def battery_folders(root: str = '') -> list[str]:
    """Return the folders of the batteries that feed the device; those of a mouse or headset do not.

    :param root: of sysfs.
    """
    return [
        folder
        for folder in listing(f'{root}/sys/class/power_supply')
        if text_or_empty(f'{folder}/type') == 'Battery'
        and text_or_empty(f'{folder}/scope') != 'Device'
        and text_or_empty(f'{folder}/present') != '0'
    ]


def battery_watts(folder: str) -> float:
    """Return what flows through one battery in either direction, in watts; NaN if it does not tell."""
    watts = abs(read_number(f'{folder}/power_now', scale=1e-6))  # a driver may give a discharge as negative
    if math.isfinite(watts):
        return watts
    amperes = abs(read_number(f'{folder}/current_now', scale=1e-6))
    return amperes * read_number(f'{folder}/voltage_now', scale=1e-6, low=0)


class BatterySource(Source[BatteryReading]):
    """Reads ``/sys/class/power_supply``.

    :param root: of sysfs.
    """

    name = 'battery'
    period_seconds = 1.0

    def __init__(self, root: str = '') -> None:
        self._root = root
        self._folders: list[str] = []

    def probe(self) -> str:
        """Name the batteries."""
        self._folders = battery_folders(self._root)
        if not self._folders:
            raise Unavailable('no battery in /sys/class/power_supply; if the robot has one, set battery_topic')
        return ', '.join(folder.rpartition('/')[2] for folder in self._folders)

    def read(self, now_seconds: float) -> BatteryReading:
        """Return the present state."""
        present = [folder for folder in self._folders if text_or_empty(f'{folder}/type')]
        if not present:
            raise Unavailable('the battery was taken out')
        discharging = [folder for folder in present if text_or_empty(f'{folder}/status') == 'Discharging']
        watts = math.fsum(battery_watts(folder) for folder in discharging)
        return BatteryReading(self._percent(present), watts, charging=not discharging)

    @staticmethod
    def _percent(folders: list[str]) -> float:
        """Return the charge of all together, each weighed by what it holds when full where that is told."""
        percents = [read_number(f'{folder}/capacity', low=0, high=100) for folder in folders]
        full = [read_number(f'{folder}/energy_full', low=1) for folder in folders]
        weights = full if all(map(math.isfinite, full)) else [1.0] * len(folders)
        return sum(p * w for p, w in zip(percents, weights, strict=True)) / sum(weights)


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

    def on_state(
        self, now_seconds: float, *, fraction: float, volts: float, amperes: float, discharging: bool
    ) -> BatteryReading:
        """Record a state and return it as a reading.

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
            raise Unavailable(f'{found} reports neither power nor current')
        return f'{found}, while it is discharged'

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the board's power; NaN while the battery is charged."""
        reading = self._battery.read(now_seconds)
        self._total.update(now_seconds, math.nan if reading.charging else reading.discharge_watts)
        return (self._total.reading('battery', 'board', _STEP_WATTS, note='averaged by the fuel gauge'),)
