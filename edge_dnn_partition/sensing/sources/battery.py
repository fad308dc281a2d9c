# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The battery, from the kernel's power supplies."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_dnn_partition.sensing.files import listing, read_number, text_or_empty
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
            raise Unavailable('no battery in /sys/class/power_supply; a robot that has one may say so on a topic')
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
