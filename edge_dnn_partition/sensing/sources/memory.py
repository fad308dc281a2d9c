# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Memory and swap, from proc."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_dnn_partition.sensing.files import number, read_text
from edge_dnn_partition.sensing.source import Source, Unavailable


@dataclass(frozen=True)
class MemoryReading:
    """Memory of the device, in bytes; NaN: unknown.

    :param total_bytes: physical memory.
    :param available_bytes: what a new process could get without swapping.
    :param swap_total_bytes: size of the swap space; 0 where there is none.
    :param swap_used_bytes: of it.
    """

    total_bytes: float = math.nan
    available_bytes: float = math.nan
    swap_total_bytes: float = math.nan
    swap_used_bytes: float = math.nan


class MemorySource(Source[MemoryReading]):
    """Reads ``/proc/meminfo``.

    :param root: of proc.
    """

    name = 'memory'

    def __init__(self, root: str = '') -> None:
        self._path = f'{root}/proc/meminfo'

    def probe(self) -> str:
        """Say how large the memory is."""
        total = self.read(0.0).total_bytes
        if not total > 0:
            raise Unavailable(f'{self._path} names no MemTotal')
        return f'{total / 2**30:.1f} GiB'

    def read(self, now_seconds: float) -> MemoryReading:
        """Return the present state."""
        fields = {}
        for line in read_text(self._path).splitlines():
            name, _, value = line.partition(':')
            fields[name] = value

        def value_of(name: str) -> float:
            return number(fields.get(name, ''), scale=1024, low=0)

        swap = value_of('SwapTotal')
        return MemoryReading(value_of('MemTotal'), value_of('MemAvailable'), swap, swap - value_of('SwapFree'))
