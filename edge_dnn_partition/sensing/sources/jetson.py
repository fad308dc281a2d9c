# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU of a Jetson, from sysfs."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.sensing.files import listing, read_number, text_or_empty
from edge_dnn_partition.sensing.power.reading import Meter, PowerIntegral, PowerReading
from edge_dnn_partition.sensing.source import Source, Unavailable
from edge_dnn_partition.sensing.sources.gpu import GpuReading

_NAMES: Final = ('gpu', 'gm20b', 'gp10b', 'gv11b', 'ga10b')
"""Names of the GPU's node in the device tree: Nano and TX1, TX2, Xavier, Orin."""


class JetsonGpuSource(Source[tuple[GpuReading, ...]]):
    """Reads the load (in tenths of a percent) and the clock of a Jetson's GPU.

    Its memory is the CPU's, and sysfs does not say how much of it the GPU has.

    :param root: of sysfs.
    """

    name = 'jetson_gpu'

    def __init__(self, root: str = '') -> None:
        self._root = root
        self._found: tuple[str, str, str] = ('', '', '')

    def probe(self) -> str:
        """Find the GPU among the devices whose clock devfreq sets, else by its usual places."""
        for folder in listing(f'{self._root}/sys/class/devfreq'):
            name = text_or_empty(f'{folder}/device/of_node/name') or folder.rpartition('.')[2]
            if name in _NAMES and text_or_empty(f'{folder}/device/load'):
                self._found = (name, f'{folder}/device/load', f'{folder}/cur_freq')
                return f'{name}, load and clock'
        for folder in ('sys/devices/gpu.0', 'sys/devices/platform/gpu.0'):
            load = f'{self._root}/{folder}/load'
            if text_or_empty(load):
                self._found = ('gpu', load, '')
                return 'gpu, load'
        raise Unavailable('no Jetson GPU in /sys/class/devfreq')

    def read(self, now_seconds: float) -> tuple[GpuReading, ...]:
        """Return the present use."""
        name, load, clock = self._found
        percent = read_number(load, scale=0.1, low=0, high=100)
        hertz = read_number(clock, low=1e6, high=1e11)
        return (GpuReading(name, percent=percent, hertz=hertz),)


TOTALS: Final = ('VDD_IN', 'POM_5V_IN')
"""Rails that measure the input of the module: NVIDIA's developer guide, and jetson-stats' issue 51."""

FED_BY: Final = {'VDDQ_VDD2_1V8AO': 'VIN_SYS_5V0'}
"""Rails that hang on another one, by that one. AGX Orin's memory rail is measured on the 5 V rail's side."""

_SHUNT_STEP_VOLTS: Final = 40e-6  # least significant bit of the shunt's voltage, TI SBOS576
_USUAL_STEP_AMPERES: Final = 8e-3  # with a shunt of 5 milliohm


@dataclass(frozen=True)
class Rail:
    """A rail and its files; ``power`` is empty where the driver gives volts and amperes only."""

    name: str
    millivolts: str
    milliamperes: str
    milliwatts: str
    shunt_microohms: str

    def watts(self) -> float:
        """Return what flows now, NaN if it cannot be read."""
        if self.milliwatts:
            return read_number(self.milliwatts, scale=1e-3, low=0)
        volts = read_number(self.millivolts, scale=1e-3, low=0)
        return volts * read_number(self.milliamperes, scale=1e-3, low=0)

    def step_watts(self) -> float:
        """Return the least step of the watts: that of the current at the present voltage."""
        ohms = read_number(self.shunt_microohms, scale=1e-6, low=1e-5)
        amperes = _SHUNT_STEP_VOLTS / ohms if math.isfinite(ohms) else _USUAL_STEP_AMPERES
        volts = read_number(self.millivolts, scale=1e-3, low=0.1)
        return amperes * (volts if math.isfinite(volts) else 5.0)


def parts_of_total(names: Collection[str]) -> list[str]:
    """Return the rails whose sum is what the board draws, none of them twice."""
    for total in TOTALS:
        if total in names:
            return [total]
    return [name for name in names if FED_BY.get(name) not in names]


def find_rails(root: str = '') -> list[Rail]:
    """Return all rails that have a name.

    :param root: of sysfs.
    """
    rails: dict[str, Rail] = {}
    for device in listing(f'{root}/sys/bus/i2c/devices'):
        if not text_or_empty(f'{device}/name').startswith('ina3221'):
            continue
        for folder in [*listing(f'{device}/hwmon'), *(f for f in listing(device) if '/iio' in f)]:
            for rail in _rails_in(folder):
                rails.setdefault(rail.name, rail)
    return list(rails.values())


def _rails_in(folder: str) -> list[Rail]:
    rails = []
    for path in listing(folder):
        file = path.rpartition('/')[2]
        new = re.fullmatch(r'in([123])_label', file)  # in7 is a sum of shunt voltages
        old = re.fullmatch(r'rail_name_(\d)', file)
        name = text_or_empty(path) if new or old else ''
        if not name or name.startswith('NC'):  # not connected
            continue
        if new:
            n = new[1]
            rails.append(Rail(name, f'{folder}/in{n}_input', f'{folder}/curr{n}_input', '', f'{folder}/shunt{n}_resistor'))
        elif old:
            n = old[1]
            power = f'{folder}/in_power{n}_input'
            rails.append(Rail(name, f'{folder}/in_voltage{n}_input', f'{folder}/in_current{n}_input', power, ''))
    return rails


class Ina3221Meter(Meter):
    """Reads the rails whose sum is what the board draws.

    :param root: of sysfs.
    """

    name = 'ina3221'

    def __init__(self, root: str = '') -> None:
        self._root = root
        self._rails: list[Rail] = []
        self._step = math.nan
        self._total = PowerIntegral()

    def probe(self) -> str:
        """Name the rails that make the total, and the others."""
        rails = {rail.name: rail for rail in find_rails(self._root)}
        if not rails:
            raise Unavailable('no INA3221 in /sys/bus/i2c/devices: only Jetsons have one')
        parts = parts_of_total(rails)
        self._rails = [rails[name] for name in parts]
        self._step = math.sqrt(sum(rail.step_watts() ** 2 for rail in self._rails))
        others = ', '.join(name for name in rails if name not in parts)
        return f'{" + ".join(parts)}{f"; parts of it: {others}" if others else ""}'

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the board's power; unknown if one of its rails cannot be read."""
        self._total.update(now_seconds, sum(rail.watts() for rail in self._rails))
        names = ' + '.join(rail.name for rail in self._rails)
        note = '' if len(self._rails) == 1 else 'sum of rails of the module: the carrier board is not in it'
        return (self._total.reading(f'ina3221 {names}', 'board', self._step, note=note),)
