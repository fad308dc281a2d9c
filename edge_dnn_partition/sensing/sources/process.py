# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What one process takes: CPU and memory."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.sensing.files import number, read_text, text_or_empty
from edge_dnn_partition.sensing.source import Source, Unavailable

_TICKS: Final = float(os.sysconf('SC_CLK_TCK'))
_PAGE: Final = float(os.sysconf('SC_PAGE_SIZE'))


@dataclass(frozen=True)
class ProcessReading:
    """What a process takes; NaN: unknown.

    :param cpu_percent: since the reading before; 100 is one core.
    :param cpu_seconds: since the process began, of all its threads.
    :param resident_bytes: its part of the memory.
    """

    cpu_percent: float = math.nan
    cpu_seconds: float = math.nan
    resident_bytes: float = math.nan


def cpu_seconds(root: str, pid: str) -> float:
    """Return what a process has taken of CPU time since it began; 0 where it is gone."""
    words = text_or_empty(f'{root}/proc/{pid}/stat').rpartition(')')[2].split()  # the name may hold spaces and brackets
    return (number(words[11]) + number(words[12])) / _TICKS if len(words) >= 13 else 0.0  # utime, stime


class ProcessSource(Source[ProcessReading]):
    """Reads ``/proc/PID/stat`` and ``/proc/PID/statm``.

    :param root: of proc.
    """

    name = 'process'

    def __init__(self, root: str = '') -> None:
        self._folder = f'{root}/proc/self'
        self._before = (math.nan, math.nan)

    def probe(self) -> str:
        """Say which process it is."""
        self._before = (math.nan, math.nan)
        pid, _, name = read_text(f'{self._folder}/stat').rpartition(')')[0].partition(' (')
        return f'process {pid}: {name}'

    def read(self, now_seconds: float) -> ProcessReading:
        """Return what it takes; the first reading knows no percentage."""
        text = read_text(f'{self._folder}/stat')
        words = text.rpartition(')')[2].split()  # the name may hold spaces and brackets
        if len(words) < 13:
            raise Unavailable(f'{self._folder}/stat: has {len(words)} words after the name, not 13 or more')
        seconds = (number(words[11]) + number(words[12])) / _TICKS  # utime, stime
        then, before = self._before
        self._before = (now_seconds, seconds)
        interval = now_seconds - then
        percent = 100 * (seconds - before) / interval if interval > 0 else math.nan
        try:
            pages = number(' '.join(read_text(f'{self._folder}/statm').split()[1:2]), low=0)
        except OSError:
            pages = math.nan
        return ProcessReading(percent if percent >= 0 else math.nan, seconds, pages * _PAGE)
