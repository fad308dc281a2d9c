# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A message that is arriving: what of it is here, and how it came, which shows what its link carries.

A long message is told of in runs of fragments while it is under way, so that its sender need not wait for its end to learn what the
link carries now. A run is fragments that left one after another at one kind of pace: faster than the link is believed to be, or
not (the delivery rate samples of BBR, Cardwell et al., ACM Queue 14(5), 2016).
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
from dataclasses import dataclass
from typing import Final

import numpy as np

from .fragments import FRAGMENTS_FOR_DISPERSION, PROBE, Address, Fragment

_PAGE_BYTES: Final = 4096
_MAPPED_FROM: Final = 1 << 22
"""Larger buffers come from the system each, and go back to it; smaller ones from what the process has, which costs less."""


class FragmentBuffer:
    """``data`` holds what was written, and anything elsewhere: it is to be read when all of it was.

    A small one counts in full from the start, since what a process has set aside stays with it; a large one as it is written.

    :param size: in bytes.
    """

    def __init__(self, size: int) -> None:
        self._mapped = size >= _MAPPED_FROM
        self.data = _mapped(size) if self._mapped else np.empty(size, np.uint8).data
        self.held_bytes = 0 if self._mapped else size

    def write(self, offset: int, data: memoryview | bytes) -> int:
        """Write a fragment that was not there; return how many bytes more are held."""
        size = len(data)
        self.data[offset : offset + size] = data
        if not self._mapped:
            return 0
        held = max(size, _PAGE_BYTES)
        self.held_bytes += held
        return held


def _mapped(size: int) -> memoryview:
    mapped = mmap.mmap(-1, size)  # not in large pages, of which one fragment would take a whole one
    if hasattr(mmap, 'MADV_NOHUGEPAGE'):
        with contextlib.suppress(OSError):  # a kernel without them
            mapped.madvise(mmap.MADV_NOHUGEPAGE)
    return memoryview(mapped)


STRETCHED: Final = 1.03
LONG_STRETCHED: Final = 1.01
"""The same for a message of many fragments, which a link that is a little slower than the pace stretches for sure."""
_TAIL_STRETCHED: Final = 1.05
_FAST_RUN_FRAGMENTS: Final = 4
_FAST_RUN_SECONDS: Final = 0.02
"""So many fragments, and so long, a run of fast ones has at least that is told of..."""
RUN_SECONDS: Final = 0.1
"""... so long one of `FRAGMENTS_FOR_DISPERSION` others..."""
SLOW_RUN_FRAGMENTS: Final = 3
SLOW_RUN_SECONDS: Final = 0.2
"""... or of these, where they come slowly."""
_JITTER_SECONDS: Final = 0.002
"""What is no longer than this in such a run says nothing of the link."""


@dataclass(frozen=True)
class Run:
    """What has come of a message since the fragment that left at ``since_sent_ns``, and in what time.

    :param total: the message's bytes; each of its fragments but the last has ``fragment_bytes``.
    :param echo_sent_ns: when the last one of these fragments left, by the sender's clock.
    :param as_they_left: they came no further apart than they left: that is the sender's pace and not the link's.
    """

    bytes: int
    seconds: float
    as_they_left: bool
    since_sent_ns: int
    echo_sent_ns: int
    arrived: float
    total: int
    fragment_bytes: int


@dataclass
class Partial:
    """Of one message. Times in seconds on the receiver's clock, those that end in ``_ns`` on the sender's."""

    head: Fragment | None
    kind: int
    address: Address
    count: int
    total: int
    buffer: FragmentBuffer
    have: set[int]
    first_at: float
    last_at: float
    left: int
    fragment_bytes: int
    first_bytes: int
    paced: bool = False
    """Its first fragment left no faster than the link is believed to be: it looked for no room."""
    repeated: bool = False
    asked_at: float = float('-inf')
    asked: int = 0
    told_missing: int = 0
    first_sent_ns: int = 0
    echo_sent_ns: int = 0
    train: tuple[int, float, bool] | None = None
    """Bytes and seconds of the first few fragments, and whether they came as they left; None: not in order, or one missing."""
    settled: tuple[int, float, int] | None = None
    """Bytes when as many more had come, with the receiver's and the sender's time: what follows left at the steady pace."""
    ended_run: Run | None = None
    told_runs: bool = False
    _run: tuple[int, float, int, bool] = (0, 0.0, 0, False)
    """Fragments that were missing before the present run, when the last one before it came and left, and whether it is a
    fast one."""

    @property
    def came_bytes(self) -> int:
        """What has come since the first fragment, about."""
        return max(0, min(self.total, (self.count - self.left) * self.fragment_bytes) - self.first_bytes)

    @property
    def spread_seconds(self) -> float:
        """From the first fragment to the last one that has come.

        A receiver that was held up finds fragments side by side that came one after the other: they cannot have come
        faster than they left (the delivery rate of BBR).
        """
        return max(self.last_at - self.first_at, self.sent_seconds)

    def as_they_left(self, stretch: float = STRETCHED) -> bool:
        """True if the fragments came no further apart than they left: the sender's pace was measured, not the link.

        That pace is not always the one that it meant to keep, on a computer that is busy.
        """
        return self.last_at - self.first_at <= stretch * self.sent_seconds

    def train_or_tail(self, train: tuple[int, float, bool]) -> tuple[int, float, bool]:
        """Return what the first fragments show, or those at the steady pace if the link stretched them.

        A link that lets a burst pass (a token bucket) carries the first fragments as fast as they left and the others at its
        rate; what shows the rate are these. A link that has room stretches nothing.
        """
        if self.settled is None or self.count < 3 * FRAGMENTS_FOR_DISPERSION:
            return train
        came, at, sent_ns = self.settled
        seconds, sent = self.last_at - at, (self.echo_sent_ns - sent_ns) * 1e-9
        stretched = 0 < _TAIL_STRETCHED * sent < seconds
        return (self.total - self.first_bytes - came, seconds, False) if stretched else train

    @property
    def sent_seconds(self) -> float:
        """The same by the sender's clock, when they left."""
        return (self.echo_sent_ns - self.first_sent_ns) * 1e-9

    def missing(self, most: int, before: int | None = None) -> list[int]:
        """The fragments that have not come, by index; of those before one index, or of all."""
        stop = self.count if before is None else before
        return list(itertools.islice((index for index in range(stop) if index not in self.have), most))

    def begin_run(self, fragment: Fragment) -> None:
        """Take in its first fragment, which has just come: what comes after it is a run."""
        self._run = self.left - 1, self.last_at, fragment.sent_ns, not fragment.paced

    def note_run(self, fragment: Fragment) -> None:
        """Take in that a fragment comes, before it is counted: the run before it may end, and be long enough to be told of.

        It ends where fragments begin to leave faster, or stop doing so, or when it is long enough.
        """
        if self.kind == PROBE or self.echo_sent_ns <= self._run[2]:
            return
        left, at, _, fast = self._run
        came, seconds = left - self.left, self.last_at - at
        ends = fast == fragment.paced
        if fast:
            enough = ends and came >= _FAST_RUN_FRAGMENTS and seconds >= _FAST_RUN_SECONDS
        else:
            enough = (came >= FRAGMENTS_FOR_DISPERSION and seconds >= RUN_SECONDS) or (
                came >= SLOW_RUN_FRAGMENTS and seconds >= SLOW_RUN_SECONDS)  # fmt: skip
        if enough:
            self.ended_run, self.told_runs = self._told(), True
        if ends or enough:
            self._run = self.left, self.last_at, self.echo_sent_ns, not fragment.paced

    def last_run(self) -> Run | None:
        """Return the run that the message's last fragment ends; None if that is too little to show anything."""
        return self._told() if self._run[0] - self.left >= SLOW_RUN_FRAGMENTS and self.echo_sent_ns > self._run[2] else None

    def _told(self) -> Run:
        left, at, since, fast = self._run
        sent, seconds = (self.echo_sent_ns - since) * 1e-9, self.last_at - at
        even = seconds <= STRETCHED * sent + (0.0 if fast else _JITTER_SECONDS)
        return Run((left - self.left) * self.fragment_bytes, max(seconds, sent), even, since, self.echo_sent_ns, self.last_at,
                   self.total, self.fragment_bytes)  # fmt: skip
