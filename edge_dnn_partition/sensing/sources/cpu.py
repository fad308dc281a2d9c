# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""CPU use, of all cores together and of each, and the load, from proc."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.sensing.files import listing, number, read_number, read_text, text_or_empty
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


_PLAUSIBLE: Final = {'low': 1e6, 'high': 1e11}
_SLOW_SECONDS: Final = 2.0


@dataclass(frozen=True)
class ClockReading:
    """Clocks in hertz; NaN: unknown.

    :param hertz: mean over the cores.
    :param max_hertz: highest that the fastest cores can take.
    :param limit_hertz: highest that they may take now: below ``max_hertz`` when a power mode or a thermal
        governor caps them.
    """

    hertz: float = math.nan
    max_hertz: float = math.nan
    limit_hertz: float = math.nan


class ClockSource(Source[ClockReading]):
    """Reads cpufreq's policies (one per group of cores that share a clock), else ``/proc/cpuinfo``.

    :param root: of proc and sysfs.
    """

    name = 'clock'

    def __init__(self, root: str = '') -> None:
        self._policies = f'{root}/sys/devices/system/cpu/cpufreq'
        self._cpuinfo = f'{root}/proc/cpuinfo'
        self._found: list[tuple[str, int]] = []
        self.period_seconds = 0.5

    def probe(self) -> str:
        """Find the policies and how many cores each has."""
        self._found = []
        for folder in listing(self._policies):
            if '/policy' in folder and math.isfinite(self._hertz(folder)):
                cores = text_or_empty(f'{folder}/affected_cpus').split()
                self._found.append((folder, max(1, len(cores))))
        if self._found:
            self.period_seconds = 0.5
            driver = text_or_empty(f'{self._found[0][0]}/scaling_driver')
            return f'cpufreq, {len(self._found)} policies{f" ({driver})" if driver else ""}'
        if self._from_cpuinfo().hertz > 0:
            self.period_seconds = _SLOW_SECONDS
            return '/proc/cpuinfo, without limits: no cpufreq here (a virtual machine, or the driver is missing)'
        raise Unavailable('neither cpufreq nor /proc/cpuinfo reports a clock, as in most virtual machines')

    def read(self, now_seconds: float) -> ClockReading:
        """Return the present clocks."""
        if not self._found:
            return self._from_cpuinfo()
        clocks = [(self._hertz(folder), cores) for folder, cores in self._found]
        known = [(hertz, cores) for hertz, cores in clocks if math.isfinite(hertz)]
        if not known:
            raise Unavailable('cpufreq no longer reports a clock')
        mean = sum(hertz * cores for hertz, cores in known) / sum(cores for _, cores in known)
        return ClockReading(mean, self._highest('cpuinfo_max_freq'), self._highest('scaling_max_freq'))

    @staticmethod
    def _hertz(folder: str) -> float:
        return read_number(f'{folder}/scaling_cur_freq', scale=1e3, **_PLAUSIBLE)

    def _highest(self, name: str) -> float:
        values = [read_number(f'{folder}/{name}', scale=1e3, **_PLAUSIBLE) for folder, _ in self._found]
        return max((value for value in values if math.isfinite(value)), default=math.nan)

    def _from_cpuinfo(self) -> ClockReading:
        try:
            lines = read_text(self._cpuinfo).splitlines()
        except OSError:
            return ClockReading()
        values = [
            number(line.partition(':')[2], scale=1e6, **_PLAUSIBLE) for line in lines if line.startswith('cpu MHz')
        ]
        known = [value for value in values if math.isfinite(value)]
        return ClockReading(hertz=sum(known) / len(known)) if known else ClockReading()
