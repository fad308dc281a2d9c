# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Temperatures, from hwmon's chips and the thermal zones."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge_dnn_partition.sensing.files import Run, listing, read_number, read_text, run_command, text_or_empty
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


PI_FLAGS: Final = {
    0: 'under_voltage',
    1: 'frequency_capped',
    2: 'throttled',
    3: 'soft_temperature_limit',
    16: 'under_voltage_since_boot',
    17: 'frequency_capped_since_boot',
    18: 'throttled_since_boot',
    19: 'soft_temperature_limit_since_boot',
}
"""Bits of ``vcgencmd get_throttled``, from Raspberry Pi's documentation of vcgencmd."""

_PI_FILE: Final = '/sys/devices/platform/soc/soc:firmware/get_throttled'
_COMMAND: Final = ('vcgencmd', 'get_throttled')


@dataclass(frozen=True)
class ThrottlingReading:
    """What holds the clocks back now, and on a Raspberry Pi what has since it was started; empty: nothing."""

    flags: tuple[str, ...] = ()


def pi_flags(text: str) -> tuple[str, ...]:
    """Return the flags of ``throttled=0x50005`` or ``50005``.

    :raises Unavailable: if the text is neither.
    """
    match = re.fullmatch(r'(?:throttled=)?(?:0x)?([0-9a-fA-F]+)', text.strip())
    if match is None:
        raise Unavailable(f'get_throttled said {text.strip()[:40]!r}, which is not a number')
    bits = int(match[1], 16)
    return tuple(name for bit, name in PI_FLAGS.items() if bits >> bit & 1)


class ThrottlingSource(Source[ThrottlingReading]):
    """Reads the Raspberry Pi's firmware, or Intel's throttle counters, and the cooling devices of the CPU.

    :param root: of sysfs.
    :param run: runs ``vcgencmd`` where the kernel has no file for it.
    """

    name = 'throttling'
    period_seconds = 1.0

    def __init__(self, root: str = '', run: Run = run_command) -> None:
        self._root, self._run = root, run
        self._pi = ''
        self._counters: dict[str, float] = {}
        self._cooling: list[tuple[str, str]] = []

    def probe(self) -> str:
        """Find who tells."""
        found = []
        self._pi = self._find_pi()
        if self._pi:
            found.append('the firmware')
        base = f'{self._root}/sys/devices/system/cpu'
        files = [f'{cpu}/thermal_throttle/package_throttle_count' for cpu in listing(base)]
        self._counters = {path: value for path in files if (value := read_number(path, low=0)) >= 0}
        if self._counters:
            found.append("Intel's thermal counters")
        self._cooling = []
        for device in listing(f'{self._root}/sys/class/thermal'):
            kind = text_or_empty(f'{device}/type')
            if '/cooling_device' in device and ('cpu' in kind.lower() or kind == 'Processor'):
                self._cooling.append((kind, f'{device}/cur_state'))
        if self._cooling:
            found.append(', '.join(dict.fromkeys(kind for kind, _ in self._cooling)))
        if not found:
            raise Unavailable('no firmware, counter or cooling device reports throttling')
        return ' and '.join(found)

    def read(self, now_seconds: float) -> ThrottlingReading:
        """Return the present flags."""
        flags: list[str] = []
        if self._pi:
            flags += pi_flags(self._run(_COMMAND) if self._pi == _COMMAND[0] else read_text(self._pi))
        counters = {path: read_number(path, low=0) for path in self._counters}
        if any(value > self._counters[path] for path, value in counters.items()):
            flags.append('throttled')
        self._counters = {path: v if v >= 0 else self._counters[path] for path, v in counters.items()}
        if any(read_number(path) > 0 for _, path in self._cooling):
            flags.append('cooling')
        return ThrottlingReading(tuple(dict.fromkeys(flags)))

    def _find_pi(self) -> str:
        """Return the file or command that answers, empty if neither does."""
        path = f'{self._root}{_PI_FILE}'
        if text_or_empty(path):
            return path
        if 'Raspberry Pi' in text_or_empty(f'{self._root}/proc/device-tree/model'):
            try:
                pi_flags(self._run(_COMMAND))
            except (OSError, Unavailable):
                return ''
            return _COMMAND[0]
        return ''
