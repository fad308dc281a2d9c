# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's GPUs, from NVML."""

from __future__ import annotations

import importlib
import math
from typing import Any, Final

from edge_dnn_partition.sensing.nvml import Import, Nvml
from edge_dnn_partition.sensing.source import Source

from .gpu import GpuReading

_CORE_SENSOR: Final = 0  # NVML_TEMPERATURE_GPU
_GRAPHICS_CLOCK: Final = 0  # NVML_CLOCK_GRAPHICS


class NvidiaGpuSource(Source[tuple[GpuReading, ...]]):
    """Asks NVML for each GPU's use, memory, temperature and clock.

    :param load: imports pynvml.
    """

    name = 'nvidia_gpu'
    period_seconds = 0.2

    def __init__(self, load: Import = importlib.import_module) -> None:
        self._nvml = Nvml(load)
        self._gpus: list[tuple[str, Any]] = []

    def probe(self) -> str:
        """Name the GPUs."""
        self._gpus = self._nvml.open()
        return ', '.join(name for name, _ in self._gpus)

    def read(self, now_seconds: float) -> tuple[GpuReading, ...]:
        """Return the present use."""
        return tuple(self._gpu(name, handle) for name, handle in self._gpus)

    def _gpu(self, name: str, handle: Any) -> GpuReading:
        use = self._nvml.ask('nvmlDeviceGetUtilizationRates', handle)
        memory = self._nvml.ask('nvmlDeviceGetMemoryInfo', handle)
        celsius = self._nvml.ask('nvmlDeviceGetTemperature', handle, _CORE_SENSOR)
        megahertz = self._nvml.ask('nvmlDeviceGetClockInfo', handle, _GRAPHICS_CLOCK)
        return GpuReading(
            name,
            percent=math.nan if use is None else float(use.gpu),
            memory_used_bytes=math.nan if memory is None else float(memory.used),
            memory_total_bytes=math.nan if memory is None else float(memory.total),
            celsius=math.nan if celsius is None else float(celsius),
            hertz=math.nan if megahertz is None else float(megahertz) * 1e6,
        )
