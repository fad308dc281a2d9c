# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""CPU use, of all cores together and of each, and the load, from proc."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edge_dnn_partition.sensing.files import number, read_text
from edge_dnn_partition.sensing.source import Source, Unavailable

Cores = Mapping[str, tuple[float, float]]
"""Busy and total ticks by core."""


@dataclass(frozen=True)
class CpuReading:
    """CPU use since the reading before; NaN or empty: unknown.

    :param percent: of all cores together, 0 to 100.
    :param percent_per_core: 0 to 100 each, of the cores that are online, in their order.
    :param load_1min: runnable processes, averaged over a minute.
    :param cores: their numbers.
    """

    percent: float = math.nan
    percent_per_core: tuple[float, ...] = ()
    load_1min: float = math.nan
    cores: tuple[int, ...] = ()


def parse_cores(stat: str) -> Cores:
    """Return the cores' ticks from the text of ``/proc/stat``; a line that is nonsense is left out.

    user and nice hold guest and guest_nice already; iowait is idleness.
    """
    cores = {}
    for line in stat.splitlines():
        if not line.startswith('cpu'):
            break
        name, *words = line.split()
        if not name[3:].isdecimal():
            continue
        try:
            ticks = [int(word) for word in words[:8]]
        except ValueError:
            continue
        if len(ticks) >= 4:
            total = sum(ticks)
            cores[name] = (float(total - ticks[3] - (ticks[4] if len(ticks) > 4 else 0)), float(total))
    return cores


def cpu_use(before: Cores, after: Cores) -> tuple[float, tuple[float, ...]]:
    """Return the percentages between two readings, of all cores together and of each.

    A core whose counters did not move (read twice within a tick) is unknown; a set of cores that
    changed makes all unknown.
    """
    if before.keys() != after.keys():
        return math.nan, ()
    busy = [after[name][0] - before[name][0] for name in after]
    total = [after[name][1] - before[name][1] for name in after]
    return _percent(math.fsum(busy), math.fsum(total)), tuple(map(_percent, busy, total))


def _percent(busy: float, total: float) -> float:
    if total <= 0:
        return math.nan
    return min(100.0, max(0.0, 100.0 * busy / total))  # iowait may run backwards


class CpuSource(Source[CpuReading]):
    """Reads ``/proc/stat`` and ``/proc/loadavg``.

    :param root: of proc.
    """

    name = 'cpu'

    def __init__(self, root: str = '') -> None:
        self._stat, self._load = f'{root}/proc/stat', f'{root}/proc/loadavg'
        self._before: Cores = {}

    def probe(self) -> str:
        """Say how many cores are online."""
        self._before = {}
        cores = self._cores()
        return f'{len(cores)} cores online'

    def read(self, now_seconds: float) -> CpuReading:
        """Return the use since the reading before; the first one knows none."""
        before, after = self._before, self._cores()
        self._before = after
        percent, per_core = cpu_use(before, after) if before else (math.nan, ())
        try:
            load = number(read_text(self._load), low=0)
        except OSError:
            load = math.nan
        return CpuReading(percent, per_core, load, tuple(int(name[3:]) for name in after) if per_core else ())

    def _cores(self) -> Cores:
        cores = parse_cores(read_text(self._stat))
        if not cores:
            raise Unavailable(f'{self._stat} names no core')
        return cores
