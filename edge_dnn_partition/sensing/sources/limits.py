# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a process may use of its host: cores by affinity, CPU quota and memory by cgroup, version 1 and 2.

A limit of any parent holds as well, so the whole path up to where the hierarchy is mounted is read, and the tightest counts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from edge_dnn_partition.sensing.files import number, read_number, text_or_empty
from edge_dnn_partition.sensing.source import Source, Unavailable

from .cpu import CpuReading
from .memory import MemoryReading, MemorySource
from .process import cpu_seconds

_NO_LIMIT: Final = 2.0**60
"""Version 1 writes the largest multiple of a page where there is no limit of memory."""


@dataclass(frozen=True)
class QuotaReading:
    """The tightest CPU quota and what became of it since the reading before; NaN: unknown, or there is none.

    :param cores: what the group's processes may use together, in cores.
    :param period_seconds: in each such period they may use ``cores`` times as many CPU seconds, then all of them are halted.
    :param used_cores: what they did use.
    :param throttled_percent: of the periods in which they ran, those in which the quota was used up.
    :param throttled_seconds: for how long they were halted, added up over the cores that they had.
    """

    cores: float = math.nan
    period_seconds: float = math.nan
    used_cores: float = math.nan
    throttled_percent: float = math.nan
    throttled_seconds: float = math.nan


@dataclass(frozen=True)
class LimitsReading:
    """What this process may use.

    :param cpus: numbers of the cores that it may run on; empty: unknown.
    :param quota: of CPU time.
    :param memory_bytes: what its cgroup may hold; infinite: no limit.
    :param memory_free_bytes: what it may still take; infinite: no limit.
    """

    cpus: frozenset[int] = frozenset()
    quota: QuotaReading = field(default_factory=QuotaReading)
    memory_bytes: float = math.inf
    memory_free_bytes: float = math.inf

    @property
    def usable_cores(self) -> float:
        """How many cores' time it may use; infinite: unknown."""
        return min(len(self.cpus) or math.inf, self.quota.cores if self.quota.cores > 0 else math.inf)

    @property
    def whole_cores(self) -> int:
        """How many threads it can keep busy, at least one."""
        cores = self.usable_cores
        return max(1, round(cores)) if math.isfinite(cores) else os.cpu_count() or 1

    @property
    def limited(self) -> bool:
        """Whether its cgroup holds it to less than the host has."""
        return self.quota.cores > 0 or math.isfinite(self.memory_bytes)

    def cpu(self, host: CpuReading) -> CpuReading:
        """Return the CPU use relative to what this process may use: of its cores alone, or of its quota if that is fuller."""
        percents = [
            percent for core, percent in zip(host.cores, host.percent_per_core, strict=False) if not self.cpus or core in self.cpus
        ]
        known = [percent for percent in percents if math.isfinite(percent)]
        restricted = 0 < len(percents) < len(host.percent_per_core)
        percent = (sum(known) / len(known) if known else math.nan) if restricted else host.percent
        of_quota = 100 * self.quota.used_cores / self.quota.cores
        if math.isfinite(of_quota) and not percent >= of_quota:
            percent = min(100.0, of_quota)
        return replace(host, percent=percent, percent_per_core=tuple(percents) if restricted else host.percent_per_core)

    def memory(self, host: MemoryReading) -> MemoryReading:
        """Return the memory that this process may have."""
        return replace(
            host, total_bytes=_least(host.total_bytes, self.memory_bytes),
            available_bytes=_least(host.available_bytes, self.memory_free_bytes),
        )  # fmt: skip


def _least(host: float, group: float) -> float:
    """Return the smaller one; an infinite limit is none, so that what is unknown stays so."""
    return host if math.isinf(group) else group if math.isnan(host) else min(host, group)


class _Hierarchy(NamedTuple):
    """A cgroup's folders, its own first and the mounted root last."""

    unified: bool
    folders: tuple[str, ...]


def parse_cpus(text: str) -> frozenset[int]:
    """Return the numbers in a list such as ``0-3,6``; what is nonsense counts as none."""
    found: set[int] = set()
    for part in text.split(','):
        first, _, last = part.strip().partition('-')
        if first.isdecimal() and (not last or last.isdecimal()):
            found.update(range(int(first), min(int(last or first), int(first) + 4095) + 1))
    return frozenset(found)


def _paths(cgroup: str, controller: str) -> Iterator[tuple[bool, str]]:
    """Yield where this process is, version 1 first, from the text of ``/proc/self/cgroup``."""
    rows = [line.split(':', 2) for line in cgroup.splitlines() if line.count(':') >= 2]
    yield from ((False, path) for _, controllers, path in rows if controller in controllers.split(','))
    yield from ((True, path) for number_, controllers, path in rows if number_ == '0' and not controllers)


def _mount(mountinfo: str, controller: str, *, unified: bool) -> tuple[str, str]:
    """Return a hierarchy's root within the kernel's own and where it is mounted, from the text of ``/proc/self/mountinfo``."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(' - ')
        before, after = left.split(), right.split()
        if len(before) < 5 or len(after) < 3 or after[0] != ('cgroup2' if unified else 'cgroup'):
            continue
        if unified or controller in after[2].split(','):
            return before[3], before[4].replace('\\040', ' ')
    return '', ''


def _below(path: str, root: str) -> list[str]:
    """Return the names from a hierarchy's mounted root to a cgroup; none where that lies elsewhere, as seen from a container."""
    names = [name for name in path.split('/') if name]
    upper = [name for name in root.split('/') if name]
    return names[len(upper) :] if names[: len(upper)] == upper and '..' not in names else []


class LimitsSource(Source[LimitsReading]):
    """Reads ``/proc/self/status``, ``/proc/self/cgroup`` and the limits in the cgroups that it names.

    :param root: of proc and sysfs.
    """

    name = 'limits'

    def __init__(self, root: str = '') -> None:
        self._root = root
        self._cpu, self._accounting, self._memory = (_Hierarchy(False, ()),) * 3
        self._before: tuple[str, float, dict[str, float]] = ('', math.nan, {})

    def look(self) -> None:
        """Find the cgroups."""
        self._before = ('', math.nan, {})
        self._cpu, self._accounting, self._memory = map(self._find, ('cpu', 'cpuacct', 'memory'))

    def probe(self) -> str:
        """Find the cgroups and say which limits hold."""
        self.look()
        reading = self.read(0.0)
        if not (reading.cpus or self._cpu.folders or self._memory.folders):
            raise Unavailable(f'{self._root}/proc/self names neither cores nor cgroups')
        said = [f'may run on {len(reading.cpus)} cores'] if reading.cpus else []
        if reading.quota.cores > 0:
            said.append(f'CPU quota of {reading.quota.cores:g} cores, in periods of {reading.quota.period_seconds * 1e3:g} ms')
        else:
            said.append('no CPU quota')
        limited = math.isfinite(reading.memory_bytes)
        said.append(f'{reading.memory_bytes / 2**20:.0f} MiB of memory' if limited else 'no limit of memory')
        return ', '.join(said)

    def read(self, now_seconds: float) -> LimitsReading:
        """Return the present limits, and what became of the quota since the reading before."""
        limits = [pair for folder in self._memory.folders for pair in self._memory_of(folder)]
        return LimitsReading(
            cpus=self._cpus(), quota=self._quota(now_seconds),
            memory_bytes=min((limit for limit, _ in limits), default=math.inf),
            memory_free_bytes=min((max(0.0, free) for _, free in limits if not math.isnan(free)), default=math.inf),
        )  # fmt: skip

    def _find(self, controller: str) -> _Hierarchy:
        mountinfo = text_or_empty(f'{self._root}/proc/self/mountinfo')
        for unified, path in _paths(text_or_empty(f'{self._root}/proc/self/cgroup'), controller):
            root, point = _mount(mountinfo, controller, unified=unified)
            if point:
                names = _below(path, root)
                steps = range(len(names), -1, -1)
                return _Hierarchy(unified, tuple('/'.join((f'{self._root}{point}', *names[:count])) for count in steps))
        return _Hierarchy(False, ())

    def _cpus(self) -> frozenset[int]:
        """Return the affinity, in which the kernel counts the cpusets of all parents."""
        for line in text_or_empty(f'{self._root}/proc/self/status').splitlines():
            if line.startswith('Cpus_allowed_list:'):
                return parse_cpus(line.partition(':')[2])
        return frozenset()

    def _quota_of(self, folder: str) -> tuple[float, float]:
        """Return a folder's own quota in cores, and its period; NaN: none."""
        if self._cpu.unified:
            words = text_or_empty(f'{folder}/cpu.max').split()
            quota, period = (number(word, scale=1e-6, low=1e-6) for word in (*words, '', '')[:2])
        else:
            quota = read_number(f'{folder}/cpu.cfs_quota_us', scale=1e-6, low=1e-6)  # -1: none
            period = read_number(f'{folder}/cpu.cfs_period_us', scale=1e-6, low=1e-6)
        return quota / period, period

    def _quota(self, now: float) -> QuotaReading:
        quotas = [(*self._quota_of(folder), folder) for folder in self._cpu.folders]
        tightest = min((quota for quota in quotas if quota[0] > 0), default=None)
        if tightest is None:
            self._before = ('', math.nan, {})
            return QuotaReading()
        cores, period, folder = tightest
        (last_folder, then, before), after = self._before, self._counters(folder)
        self._before = folder, now, after
        if last_folder != folder or not now > then:
            return QuotaReading(cores, period)
        risen = {name: after[name] - before[name] if after[name] >= before[name] else math.nan for name in after}
        periods = risen['nr_periods']
        return QuotaReading(
            cores, period, risen['usage'] / (now - then), 100 * risen['nr_throttled'] / periods if periods > 0 else math.nan,
            risen['throttled'],
        )  # fmt: skip

    def _counters(self, folder: str) -> dict[str, float]:
        """Return what a group has counted: periods, those in which it was throttled, seconds throttled and CPU seconds used."""
        stat = _table(f'{folder}/cpu.stat')
        found = {name: stat.get(name, math.nan) for name in ('nr_periods', 'nr_throttled')}
        if self._cpu.unified:
            return found | {name: stat.get(f'{name}_usec', math.nan) * 1e-6 for name in ('throttled', 'usage')}
        depth = len(self._cpu.folders) - self._cpu.folders.index(folder)
        beside = self._accounting.folders[-depth] if len(self._accounting.folders) >= depth else ''
        if depth > 1 and beside.rpartition('/')[2] == folder.rpartition('/')[2]:
            usage = read_number(f'{beside}/cpuacct.usage', scale=1e-9, low=0)
        else:  # the groups that count are others than those that limit
            usage = sum(cpu_seconds(self._root, pid) for pid in text_or_empty(f'{folder}/cgroup.procs').split())
        return found | {'throttled': stat.get('throttled_time', math.nan) * 1e-9, 'usage': usage}

    def _memory_of(self, folder: str) -> Iterator[tuple[float, float]]:
        """Yield a folder's own limits, and how much of each is left; files that were read and are not in use can be let go."""
        if self._memory.unified:
            names, usage, reclaimable = ('memory.max', 'memory.high'), 'memory.current', 'inactive_file'
        else:
            names, usage, reclaimable = ('memory.limit_in_bytes', ''), 'memory.usage_in_bytes', 'total_inactive_file'
        for name in filter(None, names):
            limit = read_number(f'{folder}/{name}', low=0, high=_NO_LIMIT)
            if not math.isnan(limit):
                used = read_number(f'{folder}/{usage}', low=0)
                yield limit, limit - used + _table(f'{folder}/memory.stat').get(reclaimable, 0.0)


def _table(path: str) -> dict[str, float]:
    """Return a file of names and numbers."""
    rows = (line.split() for line in text_or_empty(path).splitlines())
    return {row[0]: number(row[1]) for row in rows if len(row) == 2}


def limits_now(root: str = '') -> LimitsReading:
    """Return what this process may use.

    :param root: of proc and sysfs.
    """
    source = LimitsSource(root)
    source.look()
    return source.read(0.0)


class Halts:
    """For how long a CPU quota halts this process's group, from one look to the next."""

    def __init__(self) -> None:
        self._source, self._looks = LimitsSource(), 0
        self._source.look()
        self.seconds()

    def seconds(self) -> float:
        """Return for how long since the look before, added up over the cores; 0 where there is no quota."""
        self._looks += 1
        halted = self._source.read(float(self._looks)).quota.throttled_seconds
        return halted if halted > 0 else 0.0


def memory_now(root: str = '') -> MemoryReading:
    """Return the memory that this process may have; NaN: unknown.

    :param root: of proc and sysfs.
    """
    try:
        host = MemorySource(root).read(0.0)
    except OSError:
        host = MemoryReading()
    return limits_now(root).memory(host)
