# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's management library, through pynvml where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .source import Unavailable

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
            raise Unavailable('NVML knows no GPU' if not handles else 'NVML tells nothing of this GPU (a Jetson)')
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
