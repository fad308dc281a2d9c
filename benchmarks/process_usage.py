# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a running process takes: CPU seconds, wake-ups and memory, by thread where it has named its threads (Linux).

CPU time is the scheduler's own count in nanoseconds, not that of the timer's ticks: a thread that wakes for 50 microseconds
between two ticks counts. Resident memory counts a shared page once for each process that has it; proportional memory shares it
out between them, so that it can be summed; private memory is what the process alone has, and what its end would give back.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CPU_CLOCK: Final = 2  # CPUCLOCK_SCHED, of <linux/posix-timers.h>

_NAMES_THREADS: Final = """\
import ctypes
import sys
import threading

if sys.version_info < (3, 14):  # from then on Python does it
    PR_SET_NAME = 15
    plain = threading.Thread._set_native_id

    def named(thread):
        plain(thread)
        ctypes.CDLL(None).prctl(PR_SET_NAME, thread.name.encode()[:15])

    threading.Thread._set_native_id = named
"""


def naming_threads(folder: Path) -> dict[str, str]:
    """Return what a Python process's environment needs, so that the kernel knows its threads by their names.

    :param folder: gets a file, and is to be there as long as the process.
    """
    (folder / 'sitecustomize.py').write_text(_NAMES_THREADS, encoding='utf-8')
    return {'PYTHONPATH': os.pathsep.join([str(folder), *filter(None, [os.environ.get('PYTHONPATH')])])}


@dataclass(frozen=True)
class Usage:
    """What a process took in a span of time.

    :param wakeups: how often its threads went to sleep meanwhile, and so were woken.
    :param threads: CPU seconds and wake-ups by name of thread, those that lived throughout.
    """

    seconds: float
    cpu_seconds: float
    wakeups: int
    threads: Mapping[str, tuple[float, int]]


def cpu_seconds(pid: int) -> float:
    """Return what a process has taken of the processor since it began, threads that have ended included."""
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK)


class Reading:
    """A process's counters at one time.

    :raises OSError: if there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self._at = time.monotonic()
        self._cpu = cpu_seconds(pid)
        self._threads: dict[int, tuple[str, float, int]] = {}
        for task in Path(f'/proc/{pid}/task').iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                name = 'MainThread' if task.name == str(pid) else (task / 'comm').read_text().strip()
                switches = re.search(r'^voluntary_ctxt_switches:\s*(\d+)', (task / 'status').read_text(), re.MULTILINE)
                busy = int((task / 'schedstat').read_text().split()[0]) * 1e-9
                self._threads[int(task.name)] = _family(name), busy, int(switches[1]) if switches else 0

    def since(self, before: Reading) -> Usage:
        """Return what the process took since an earlier reading."""
        threads: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
        for number, (name, busy, wakeups) in self._threads.items():
            if number in before._threads:
                _, busy_before, wakeups_before = before._threads[number]
                seconds, count = threads[name]
                threads[name] = seconds + busy - busy_before, count + wakeups - wakeups_before
        wakeups = sum(count for _, count in threads.values())
        return Usage(self._at - before._at, self._cpu - before._cpu, wakeups, dict(threads))


def _family(name: str) -> str:
    """Return the name that threads of one kind share: Fast DDS numbers its own."""
    return 'DDS' if name.startswith('dds.') else name


def measure(pids: Mapping[str, int], seconds: float) -> dict[str, Usage]:
    """Return what processes take in so many seconds, by the names that they are given."""
    before = {name: Reading(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    return {name: Reading(pid).since(before[name]) for name, pid in pids.items()}


def memory(pid: int) -> dict[str, int]:
    """Return what memory a process has, in bytes: resident, its proportional share, private.

    :raises OSError: if there is no such process, or it is another user's.
    """
    lines = (line.split() for line in Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='utf-8').splitlines()[1:])
    kilobytes = {name.rstrip(':'): int(amount) for name, amount, *_ in lines}
    return {
        'resident_bytes': 1024 * kilobytes['Rss'], 'proportional_bytes': 1024 * kilobytes['Pss'],
        'private_bytes': 1024 * (kilobytes['Private_Clean'] + kilobytes['Private_Dirty']),
    }  # fmt: skip
