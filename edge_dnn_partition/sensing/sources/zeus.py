# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""GPUs that zeus knows and NVML does not (AMD's), through its Python package where it is installed."""

from __future__ import annotations

import importlib
from typing import Any, Final

from edge_dnn_partition.sensing.power.reading import EnergyCounter, Meter, PowerReading, add
from edge_dnn_partition.sensing.source import Unavailable
from edge_dnn_partition.sensing.sources.nvidia import Import, Nvml

_STEP_JOULES: Final = 1e-3
_ENERGY: Final = ('get_total_energy_consumption', 'getTotalEnergyConsumption')  # its name changed


class ZeusMeter(Meter):
    """Reads the counters of energy of zeus' GPUs; the sum is one reading.

    :param load: imports ``zeus.device``.
    """

    name = 'zeus'
    period_seconds = 0.1

    def __init__(self, load: Import = importlib.import_module) -> None:
        self._load = load
        self._energy: Any = None
        self._counters: list[EnergyCounter] = []

    def probe(self) -> str:
        """Say how many GPUs zeus counts for."""
        try:
            Nvml(self._load).open()
        except Unavailable:
            pass
        else:
            raise Unavailable('NVML reads these GPUs already')
        try:
            gpus = self._load('zeus.device').get_gpus()
            count = len(gpus)
        except ImportError:
            raise Unavailable('the Python package zeus is not installed') from None
        except Exception as error:  # zeus raises errors of its own and of its vendors
            raise Unavailable(f'zeus: {" ".join(str(error).split())[:120]}') from error
        self._energy = next((getattr(gpus, name) for name in _ENERGY if hasattr(gpus, name)), None)
        if not count or self._energy is None:
            raise Unavailable('zeus finds no GPU that counts its energy')
        if len(self._counters) != count:
            self._counters = [EnergyCounter() for _ in range(count)]
        return f'{count} GPUs'

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the power of all GPUs together."""
        for index, counter in enumerate(self._counters):
            counter.update(now_seconds, float(self._energy(index)) / 1e3)
        return (add(self._counters).reading('zeus', 'gpu', _STEP_JOULES * len(self._counters)),)
