# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's management library, through pynvml where it is installed."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from edge_dnn_partition.sensing.power.reading import EnergyCounter, Meter, PowerIntegral, PowerReading, add
from edge_dnn_partition.sensing.source import Source, Unavailable
from edge_dnn_partition.sensing.sources.gpu import GpuReading

Import = Callable[[str], ModuleType]


class Nvml:
    """The GPUs that NVML knows; what it does not support is None.

    On a Jetson NVML starts and answers nothing, so a GPU counts only if it tells its memory.

    :param load: imports pynvml.
    """

    def __init__(self, load: Import = importlib.import_module) -> None:
        self._load = load
        self._nvml: Any = None

    def open(self) -> list[tuple[str, Any]]:
        """Return the GPUs' names and handles.

        :raises Unavailable: without pynvml, a driver or a GPU.
        """
        try:
            self._nvml = self._load('pynvml')
        except ImportError:
            raise Unavailable('the Python package nvidia-ml-py is not installed, which reads NVIDIA GPUs') from None
        try:
            self._nvml.nvmlInit()
            count = int(self._nvml.nvmlDeviceGetCount())
            handles = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
        except self._nvml.NVMLError as error:
            raise Unavailable(f'NVML: {" ".join(str(error).split())}') from error
        found = [(self._name(h), h) for h in handles if self.ask('nvmlDeviceGetMemoryInfo', h) is not None]
        if not found:
            raise Unavailable('NVML finds no GPU' if not handles else 'NVML reports nothing about this GPU (a Jetson)')
        return found

    def ask(self, function: str, *arguments: Any) -> Any:
        """Return what an NVML function says, None if the GPU does not support it.

        :raises Unavailable: if the driver or the GPU has gone.
        """
        try:
            return getattr(self._nvml, function)(*arguments)
        except AttributeError:
            return None  # an older pynvml
        except self._nvml.NVMLError as error:
            gone = ('NVMLError_GpuIsLost', 'NVMLError_Uninitialized', 'NVMLError_DriverNotLoaded')
            if type(error).__name__ in gone:
                raise Unavailable(f'NVML: {" ".join(str(error).split())}') from error
            return None

    def _name(self, handle: Any) -> str:
        name = self.ask('nvmlDeviceGetName', handle)
        return name.decode() if isinstance(name, bytes) else str(name or 'NVIDIA GPU')


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


_STEP: Final = 1e-3  # watts and joules of one GPU
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
            raise Unavailable('no NVIDIA GPU here reports its power')
        self._gpus = [handle for _, handle in gpus]
        if len(self._totals) != len(gpus):
            self._totals = [EnergyCounter() if self._raw(h)[0] else PowerIntegral() for h in self._gpus]
        return ', '.join(name for name, _ in gpus)

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the power of all GPUs together."""
        for handle, one in zip(self._gpus, self._totals, strict=True):
            one.update(now_seconds, self._raw(handle)[1])
        count = len(self._totals)
        note = 'NVIDIA gives 5 W as the accuracy of most boards'
        total = add(self._totals)
        return (total.reading('nvml', 'gpu', _STEP * count, note=note, response_seconds=_RESPONSE_SECONDS),)

    def _raw(self, handle: Any) -> tuple[bool, float]:
        """Return whether the GPU counts energy, and its joules, else its watts; NaN if it tells neither."""
        millijoules = self._nvml.ask('nvmlDeviceGetTotalEnergyConsumption', handle)
        if millijoules is not None:
            return True, float(millijoules) / 1e3
        milliwatts = self._nvml.ask('nvmlDeviceGetPowerUsage', handle)
        return False, math.nan if milliwatts is None else float(milliwatts) / 1e3
