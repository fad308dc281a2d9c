# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""RAPL: the energy counters of Intel's and AMD's processors, from the kernel's powercap folder.

Package zones hold the cores and the integrated GPU, so their subzones are not added; the memory's zone
(dram) stands beside its package; psys, where a laptop has it, is of the whole board. A package that is
there twice (``intel-rapl-mmio`` beside ``intel-rapl``) counts once.
"""

from __future__ import annotations

import math
import os
from typing import Final

from edge_dnn_partition.sensing.files import listing, read_number, read_text, text_or_empty
from edge_dnn_partition.sensing.power.reading import EnergyCounter, Meter, PowerReading, Scope, add
from edge_dnn_partition.sensing.source import Unavailable

_STEP_JOULES: Final = 2.0**-14
"""Intel's usual unit of energy (Software Developer's Manual, volume 4, MSR_RAPL_POWER_UNIT); others' are finer."""

_TRUST_SECONDS: Final = 10.0
_LEAST_SHARE: Final = 0.95

ADVICE: Final = (
    'sudo chmod a+r /sys/class/powercap/*/energy_uj (until the next start), or a udev rule: only root may read them'
)


def _scope(name: str) -> Scope | None:
    if name.startswith('package'):
        return 'cpu'
    return {'dram': 'memory', 'psys': 'board'}.get(name)  # type: ignore[return-value]


class RaplMeter(Meter):
    """Reads ``/sys/class/powercap/intel-rapl:*``.

    :param root: of sysfs.
    """

    name = 'rapl'

    def __init__(self, root: str = '') -> None:
        self._root = root
        self._zones: dict[Scope, list[tuple[str, EnergyCounter]]] = {}
        self._counters: dict[str, EnergyCounter] = {}

    def probe(self) -> str:
        """Find the zones that may be read.

        :raises Unavailable: without RAPL, or without the right to read it, with what to do.
        """
        self._zones = {}
        found, refused, seen = [], [], set()
        zones = [z for z in listing(f'{self._root}/sys/class/powercap') if ':' in z.rpartition('/')[2]]
        for zone in sorted(zones, key=lambda z: '-mmio' in z):
            name = text_or_empty(f'{zone}/name')
            scope = _scope(name)
            package = name if scope != 'memory' else f'{name} {zone.rpartition("/")[2].split(":")[1]}'
            if scope is None or package in seen:
                continue
            path = f'{zone}/energy_uj'
            try:
                read_text(path)
            except PermissionError:
                refused.append(name)
                continue
            except OSError:
                continue
            seen.add(package)
            wrap = read_number(f'{zone}/max_energy_range_uj', scale=1e-6, low=0)
            counter = self._counters.setdefault(path, EnergyCounter())
            counter.range_joules = wrap if wrap > 0 else math.inf
            self._zones.setdefault(scope, []).append((path, counter))
            found.append(name)
        if refused and not found:
            zones_text = ', '.join(dict.fromkeys(refused))
            raise Unavailable(f'RAPL ({zones_text}) may be read by root only, not by uid {os.geteuid()}', ADVICE)
        if not found:
            raise Unavailable('no RAPL zone in /sys/class/powercap: no Intel or AMD processor, or a virtual machine')
        return ', '.join(found)

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return one reading per scope: the sum of its zones.

        A psys that has counted less than the processors is not the board's: some firmware leaves it idle.
        """
        found = {scope: self._sum(scope, zones, now_seconds) for scope, zones in self._zones.items()}
        board, cpu = found.get('board'), found.get('cpu')
        if board and cpu and cpu.covered_seconds > _TRUST_SECONDS and board.joules < _LEAST_SHARE * cpu.joules:
            del found['board']
        return tuple(found.values())

    def _sum(self, scope: Scope, zones: list[tuple[str, EnergyCounter]], now: float) -> PowerReading:
        for path, counter in zones:
            counter.update(now, read_number(path, scale=1e-6, low=0))
        total = add([counter for _, counter in zones])
        label = {'cpu': 'package', 'memory': 'dram', 'board': 'psys'}.get(scope, scope)
        return total.reading(f'rapl {label}', scope, _STEP_JOULES * len(zones))
