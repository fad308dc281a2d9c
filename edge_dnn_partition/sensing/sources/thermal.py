# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Temperatures, from hwmon's chips and the thermal zones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge_dnn_partition.sensing.files import listing, read_number, text_or_empty
from edge_dnn_partition.sensing.source import Source, Unavailable

_CPU_CHIPS: Final = ('coretemp', 'k10temp', 'k8temp', 'zenpower', 'soc_thermal', 'soc-thermal', 'x86_pkg_temp')
"""Names of CPU sensors that do not say cpu: Intel, AMD, and boards."""

_FALLBACK_CHIP: Final = 'acpitz'

_PLAUSIBLE: Final = {'low': -40.0, 'high': 150.0}


class Sensor(NamedTuple):
    """A temperature sensor: hwmon's chip and label, or a thermal zone's type and an empty label."""

    chip: str
    label: str
    celsius: float


@dataclass(frozen=True)
class ThermalReading:
    """Temperatures in degrees Celsius; NaN: unknown.

    :param cpu_celsius: of the hottest CPU sensor.
    :param gpu_celsius: of the hottest GPU sensor that the kernel knows (Jetson).
    """

    cpu_celsius: float = math.nan
    gpu_celsius: float = math.nan


def cpu_temperature(sensors: Sequence[Sensor]) -> float:
    """Return the temperature of the hottest CPU sensor, NaN without one.

    A sensor is a CPU's if its chip or its label says so; without one, ACPI's zone stands in.
    """
    own = _hottest([s for s in sensors if s.chip.lower() in _CPU_CHIPS or 'cpu' in f'{s.chip} {s.label}'.lower()])
    return own if math.isfinite(own) else _hottest([s for s in sensors if s.chip.lower() == _FALLBACK_CHIP])


def _hottest(sensors: Sequence[Sensor]) -> float:
    return max((s.celsius for s in sensors if math.isfinite(s.celsius)), default=math.nan)


class ThermalSource(Source[ThermalReading]):
    """Reads ``/sys/class/hwmon`` and ``/sys/class/thermal``.

    :param root: of sysfs.
    """

    name = 'thermal'
    period_seconds = 1.0

    def __init__(self, root: str = '') -> None:
        self._root = root
        self._found: list[tuple[str, str, str]] = []

    def probe(self) -> str:
        """Find the sensors of the CPU and the GPU."""
        chips = listing(f'{self._root}/sys/class/hwmon')
        inputs = [
            (text_or_empty(f'{chip}/name'), path)
            for chip in chips
            for path in listing(chip)
            if path.endswith('_input') and path.rpartition('/')[2].startswith('temp')
        ]
        found = [(name, text_or_empty(path.replace('_input', '_label')), path) for name, path in inputs]
        zones = [zone for zone in listing(f'{self._root}/sys/class/thermal') if '/thermal_zone' in zone]
        found += [(text_or_empty(f'{zone}/type'), '', f'{zone}/temp') for zone in zones]
        self._found = [item for item in found if self._matters(*item[:2])]
        if not self._found:
            raise Unavailable('no CPU sensor in /sys/class/hwmon or /sys/class/thermal, as in most virtual machines')
        return ', '.join(dict.fromkeys(f'{chip} {label}'.strip() for chip, label, _ in self._found))

    def read(self, now_seconds: float) -> ThermalReading:
        """Return the present temperatures."""
        sensors = [
            Sensor(chip, label, read_number(path, scale=1e-3, **_PLAUSIBLE)) for chip, label, path in self._found
        ]
        return ThermalReading(cpu_temperature(sensors), _hottest([s for s in sensors if _of_gpu(s.chip, s.label)]))

    @staticmethod
    def _matters(chip: str, label: str) -> bool:
        text = f'{chip} {label}'.lower()
        return 'cpu' in text or chip.lower() in (*_CPU_CHIPS, _FALLBACK_CHIP) or _of_gpu(chip, label)


def _of_gpu(chip: str, label: str) -> bool:
    return 'gpu' in f'{chip} {label}'.lower()
