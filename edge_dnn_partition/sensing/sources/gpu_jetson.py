# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU of a Jetson, from sysfs."""

from __future__ import annotations

from typing import Final

from edge_dnn_partition.sensing.files import listing, read_number, text_or_empty
from edge_dnn_partition.sensing.source import Source, Unavailable

from .gpu import GpuReading

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
