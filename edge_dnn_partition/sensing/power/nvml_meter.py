# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA GPUs' own power meters, from NVML."""

from __future__ import annotations

import importlib
import math
from typing import Any, Final

from edge_dnn_partition.sensing.nvml import Import, Nvml
from edge_dnn_partition.sensing.source import Unavailable

from .meter import Meter, reading_of
from .reading import EnergyCounter, PowerIntegral, PowerReading, add

_STEP_WATTS: Final = 1e-3
_STEP_JOULES: Final = 1e-3
_RESPONSE_SECONDS: Final = 1.0
"""The driver averages: on an H200 a third of the joules of runs of 0.1 s came after the tenth in which they were drawn."""


class NvmlMeter(Meter):
    """Reads each GPU's counter of energy (Volta and later), else its power; the sum is one reading.

    :param load: imports pynvml.
    """

    name = 'nvml'
    period_seconds = 0.25
    """One question takes 4 ms of CPU time (an H200's driver); the counter misses nothing in between."""

    def __init__(self, load: Import = importlib.import_module) -> None:
        self._nvml = Nvml(load)
        self._gpus: list[Any] = []
        self._totals: list[EnergyCounter | PowerIntegral] = []

    def probe(self) -> str:
        """Name the GPUs that tell their power."""
        gpus = [(name, handle) for name, handle in self._nvml.open() if math.isfinite(sum(self._raw(handle)[1:]))]
        if not gpus:
            raise Unavailable('no NVIDIA GPU here tells its power')
        self._gpus = [handle for _, handle in gpus]
        if len(self._totals) != len(gpus):
            self._totals = [EnergyCounter() if self._raw(h)[0] else PowerIntegral() for h in self._gpus]
        return ', '.join(name for name, _ in gpus)

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the power of all GPUs together."""
        for handle, total in zip(self._gpus, self._totals, strict=True):
            total.update(now_seconds, self._raw(handle)[1])
        count = len(self._totals)
        note = 'NVIDIA gives 5 W as the accuracy of most boards'
        return (
            reading_of(
                add(self._totals), 'nvml', 'gpu',
                resolution_watts=_STEP_WATTS * count, resolution_joules=_STEP_JOULES * count, note=note,
                response_seconds=_RESPONSE_SECONDS,
            ),
        )  # fmt: skip

    def _raw(self, handle: Any) -> tuple[bool, float]:
        """Return whether the GPU counts energy, and its joules, else its watts; NaN if it tells neither."""
        millijoules = self._nvml.ask('nvmlDeviceGetTotalEnergyConsumption', handle)
        if millijoules is not None:
            return True, float(millijoules) / 1e3
        milliwatts = self._nvml.ask('nvmlDeviceGetPowerUsage', handle)
        return False, math.nan if milliwatts is None else float(milliwatts) / 1e3
