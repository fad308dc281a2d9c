# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Memory and swap, from proc."""

from __future__ import annotations

import errno
import math
from dataclasses import dataclass
from typing import Final

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


_SWITCHED_OFF: Final = 'this kernel has PSI switched off'
_ADVICE: Final = 'add psi=1 to the kernel command line and restart, to see when work waits for memory or storage'


@dataclass(frozen=True)
class PressureReading:
    """Share of the last 10 s in which some task waited, 0 to 100 percent; NaN: unknown.

    :param cpu_percent: for a core.
    :param memory_percent: for memory, as when it is swapped or read from storage anew.
    :param io_percent: for storage.
    """

    cpu_percent: float = math.nan
    memory_percent: float = math.nan
    io_percent: float = math.nan


def parse_pressure(text: str) -> float:
    """Return ``avg10`` of the line ``some``, NaN if it is missing or nonsense."""
    for line in text.splitlines():
        kind, *fields = line.split()
        if kind == 'some':
            for field in fields:
                name, _, value = field.partition('=')
                if name == 'avg10':
                    return number(value, low=0, high=100)
    return math.nan


class PressureSource(Source[PressureReading]):
    """Reads ``/proc/pressure`` (Linux 4.20 and later; the kernel averages every 2 s).

    :param root: of proc.
    """

    name = 'pressure'
    period_seconds = 1.0

    def __init__(self, root: str = '') -> None:
        self._folder = f'{root}/proc/pressure'

    def probe(self) -> str:
        """Say that the kernel has it."""
        try:
            read_text(f'{self._folder}/cpu')
        except FileNotFoundError:
            raise Unavailable('no /proc/pressure: a kernel older than 4.20, or built without PSI') from None
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Unavailable(_SWITCHED_OFF, _ADVICE) from error
            raise
        return 'CPU, memory and IO'

    def read(self, now_seconds: float) -> PressureReading:
        """Return the present averages."""

        def of(resource: str) -> float:
            try:
                return parse_pressure(read_text(f'{self._folder}/{resource}'))
            except OSError:
                return math.nan

        return PressureReading(of('cpu'), of('memory'), of('io'))
