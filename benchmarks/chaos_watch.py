# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What each process of a running fleet takes over time, and what is to be read from its results."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_dnn_partition.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self

    from edge_dnn_partition.cli.testbed import Testbed
    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

Row = dict[str, Any]

OK, LOST, EXPIRED, FAILED = 0, 1, 2, 4
"""A result's status."""


class Usage:
    """Looks at all processes of a fleet every so often within its ``with`` block.

    ``samples`` are dictionaries with ``at`` (this process's steady clock), ``label``, ``pid``, ``pss_bytes`` (memory, what is
    shared counted in parts), ``rss_bytes`` (counted in full), ``descriptors``, ``threads`` and ``frames``, the results until then.
    """

    def __init__(self, testbed: Testbed, *, period_seconds: float) -> None:
        self._testbed, self._period = testbed, period_seconds
        self.samples: list[Row] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name='usage', daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._ended.wait(self._period):
            frames = len(self._testbed.news.frames)
            for label in self._testbed.processes:
                with contextlib.suppress(UserError, OSError, StopIteration, ValueError):  # it is just not there
                    pid = self._testbed.pid(label)
                    self.samples.append({'at': time.monotonic(), 'label': label, 'pid': pid, 'frames': frames} | usage(pid))


def usage(pid: int) -> Row:
    """Return what a process holds now.

    :raises OSError: it has gone, or is another user's.
    """
    folder = Path(f'/proc/{pid}')
    lines = (line.split() for line in (folder / 'smaps_rollup').read_text().splitlines()[1:])
    kilobytes = {words[0]: int(words[1]) for words in lines}
    return {'pss_bytes': 1024 * kilobytes['Pss:'], 'rss_bytes': 1024 * kilobytes['Rss:'],
            'descriptors': sum(1 for _ in (folder / 'fd').iterdir()),
            'threads': sum(1 for _ in (folder / 'task').iterdir())}  # fmt: skip


def growth(samples: Sequence[Row]) -> dict[str, float]:
    """Return by process how much more memory it holds in the last tenth of the frames than in the second tenth, as a share.

    What is shared counts in full: its parts would grow whenever another process that has the same libraries ends.

    A process that was started anew counts from its last start; one that was seen too little is left out.
    """
    found = {}
    for label in dict.fromkeys(sample['label'] for sample in samples):
        own = [sample for sample in samples if sample['label'] == label]
        own = [sample for sample in own if sample['pid'] == own[-1]['pid']]
        span = own[-1]['frames'] - own[0]['frames']
        shares = [(sample['frames'] - own[0]['frames']) / max(1, span) for sample in own]
        first = [sample['rss_bytes'] for sample, share in zip(own, shares, strict=True) if 0.1 <= share <= 0.2]
        last = [sample['rss_bytes'] for sample, share in zip(own, shares, strict=True) if share >= 0.9]
        if first and last:
            found[label] = statistics.median(last) / statistics.median(first) - 1
    return found


@dataclass(frozen=True)
class Silence:
    """No frame ended from ``begin`` to ``end``; the causes are the rows of the events that overlap it."""

    begin: float
    end: float
    causes: tuple[Row, ...]

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.begin

    @property
    def after_up_seconds(self) -> float | None:
        """How much of it came after a process that was away was active again; None if none was, or it ended before."""
        ups = [row['up'] for row in self.causes if row['up'] is not None and row['up'] <= self.end]
        return self.end - max(ups) if ups else None


def silences(times: Iterable[float], events: Sequence[Row], *, least_seconds: float) -> Iterator[Silence]:
    """Find when no frame ended for a while.

    :param times: of the frames' ends, ascending.
    :param events: rows with ``at`` and ``until``, and ``up`` if a process was started again.
    """
    for begin, end in itertools.pairwise(times):
        if end - begin >= least_seconds:
            # An event's effect may come a little after it, such as a frame that was under way then.
            causes = tuple(row for row in events if row['at'] < end and row['until'] + 0.5 > begin)
            yield Silence(begin, end, causes)


def missing(frames: Sequence[FrameRecord]) -> int:
    """Return how many numbers between the first and the last frame have no result; a new run may begin at any higher one."""
    numbers = sorted({frame.frame_number for frame in frames})
    return sum(b - a - 1 for a, b in itertools.pairwise(numbers) if b - a <= 1000)


def doubled(frames: Sequence[FrameRecord]) -> int:
    """Return how many results came for frames that had one."""
    return sum(count - 1 for count in Counter(frame.frame_number for frame in frames).values())


def totals(samples: Sequence[Row], key: str) -> tuple[list[float], list[float]]:
    """Return times, and the sum over all processes of what they held at about that time."""
    rounds: list[tuple[float, Mapping[str, Row]]] = []
    held: dict[str, Row] = {}
    for sample in samples:
        if sample['label'] in held:
            rounds.append((sample['at'], held))
            held = {}
        held[sample['label']] = sample
    return [at for at, _ in rounds], [sum(row[key] for row in held.values()) for _, held in rounds]


def columns(samples: Sequence[Row], begin: float) -> dict[str, dict[str, list[float]]]:
    """Return by process what it held over time, in 200 values at most: seconds since ``begin``, and bytes in MB."""
    found = {}
    for label in dict.fromkeys(sample['label'] for sample in samples):
        own = [sample for sample in samples if sample['label'] == label]
        own = own[:: -(-len(own) // 200)]
        found[label] = {
            'at': [round(row['at'] - begin, 1) for row in own], 'pss_mb': [round(row['pss_bytes'] / 1e6, 1) for row in own],
            'descriptors': [row['descriptors'] for row in own], 'threads': [row['threads'] for row in own],
        }  # fmt: skip
    return found


def each_second(frames: Sequence[FrameRecord]) -> dict[str, list[float | None]]:
    """Return how many frames were delivered and how many failed in each second, and the median and longest latency in ms."""
    begin = frames[0].at
    seconds: list[list[FrameRecord]] = [[] for _ in range(int(frames[-1].at - begin) + 1)]
    for frame in frames:
        seconds[int(frame.at - begin)].append(frame)
    latencies = [[1e3 * frame.latency_seconds for frame in second if frame.status == OK] for second in seconds]
    return {
        'delivered': [len(own) for own in latencies], 'failed': [sum(f.status == FAILED for f in second) for second in seconds],
        'p50_ms': [round(float(np.median(own)), 1) if own else None for own in latencies],
        'longest_ms': [round(max(own), 1) if own else None for own in latencies],
    }  # fmt: skip
