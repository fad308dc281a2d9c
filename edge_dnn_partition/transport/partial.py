# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A message that is arriving: what of it is here, and how its fragments arrived, which shows what the link carries.

A long message is acknowledged in runs while it arrives, so that its sender learns the link's rate before its end. A run is
fragments that left one after another at one kind of pace: faster than the estimated rate, or not (the delivery rate samples of BBR,
Cardwell et al., ACM Queue 14(5), 2016).
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
"""A larger buffer is mapped by itself and returned to the system; a smaller one is allocated, which costs less."""
STRETCHED: Final = 1.03
LONG_STRETCHED: Final = 1.01
"""For a message of many fragments, which a link that is a little slower than the pace stretches for sure."""
_TAIL_STRETCHED: Final = 1.05
_FAST_RUN: Final = (4, 0.02)
"""The least fragments and seconds of a run that looked for headroom."""
RUN_SECONDS: Final = 0.1
"""Of other runs of `FRAGMENTS_FOR_DISPERSION`..."""
SLOW_RUN_FRAGMENTS: Final = 3
SLOW_RUN_SECONDS: Final = 0.2
"""... or of these, where they arrive slowly."""
_JITTER_SECONDS: Final = 0.002
"""A stretch of no more than this says nothing of the link."""


class FragmentBuffer:
    """A message's memory, of which a large one is taken as it is written, whatever size it claims.

    ``data`` may hold anything where nothing was written. A small one counts in full from the start, as the process keeps it.

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


@dataclass(frozen=True)
class Run:
    """How fragments of a message arrived that left after ``since_sent_ns``, up to ``echo_sent_ns``.

    :param as_they_left: no further apart than they left: it is the sender's pace and not the link's.
    :param total: the message's bytes; each of its fragments but the last has ``fragment_bytes``.
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
    """One message. Times in seconds by the receiver's clock; those that end in ``_ns`` by the sender's.

    :param left: how many fragments are missing.
    :param paced: its first fragment did not look for headroom.
    :param repeated: a fragment was sent twice, so that the spread of all says nothing.
    """

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
    repeated: bool = False
    asked_at: float = float('-inf')
    asked: int = 0
    reported_missing: int = 0
    first_sent_ns: int = 0
    echo_sent_ns: int = 0
    train: tuple[int, float, bool] | None = None
    """Bytes and seconds of the first few fragments, and whether they arrived as they left; None: not in order, or one missing."""
    settled: tuple[int, float, int] | None = None
    """Bytes when as many more had arrived, with the receiver's and the sender's time; what follows left at the steady pace."""
    ended_run: Run | None = None
    has_runs: bool = False
    _run: tuple[int, float, int, bool] = (0, 0.0, 0, False)
    """How many fragments were missing before the present run, when the one before it arrived and left, and whether it is fast."""

    @property
    def arrived_bytes(self) -> int:
        """About what has arrived since the first fragment."""
        return max(0, min(self.total, (self.count - self.left) * self.fragment_bytes) - self.first_bytes)

    @property
    def spread_seconds(self) -> float:
        """From the first fragment to the newest.

        A receiver that was held up finds fragments side by side: they cannot have arrived faster than they left (as in BBR).
        """
        return max(self.last_at - self.first_at, self.sent_seconds)

    def as_they_left(self, stretch: float = STRETCHED) -> bool:
        """True if the fragments arrived no further apart than they left: that is the sender's pace, or less on a busy computer."""
        return self.last_at - self.first_at <= stretch * self.sent_seconds

    def train_or_tail(self, train: tuple[int, float, bool]) -> tuple[int, float, bool]:
        """Return what the first fragments show, or those at the steady pace if the link stretched them.

        A token bucket lets the first fragments pass as fast as they left, and the others at its rate; headroom stretches nothing.
        """
        if self.settled is None or self.count < 3 * FRAGMENTS_FOR_DISPERSION:
            return train
        arrived, at, sent_ns = self.settled
        seconds, sent = self.last_at - at, (self.echo_sent_ns - sent_ns) * 1e-9
        stretched = 0 < _TAIL_STRETCHED * sent < seconds
        return (self.total - self.first_bytes - arrived, seconds, False) if stretched else train

    @property
    def sent_seconds(self) -> float:
        """The same by the sender's clock."""
        return (self.echo_sent_ns - self.first_sent_ns) * 1e-9

    def missing(self, most: int, before: int | None = None) -> list[int]:
        """Return at most so many missing fragments, by index: of those before one, or of all."""
        stop = self.count if before is None else before
        return list(itertools.islice((index for index in range(stop) if index not in self.have), most))

    def begin_run(self, fragment: Fragment) -> None:
        """Begin a run after the first fragment."""
        self._run = self.left - 1, self.last_at, fragment.sent_ns, not fragment.paced

    def note_run(self, fragment: Fragment) -> None:
        """Note a fragment that arrives, before it is counted: the run before it may end.

        A run ends where fragments begin to leave faster, or stop doing so, or when it is long enough to be acknowledged.
        """
        if self.kind == PROBE or self.echo_sent_ns <= self._run[2]:
            return
        left, at, _, fast = self._run
        arrived, seconds = left - self.left, self.last_at - at
        ends = fast == fragment.paced
        if fast:
            enough = ends and arrived >= _FAST_RUN[0] and seconds >= _FAST_RUN[1]
        else:
            enough = (arrived >= FRAGMENTS_FOR_DISPERSION and seconds >= RUN_SECONDS) or (
                arrived >= SLOW_RUN_FRAGMENTS and seconds >= SLOW_RUN_SECONDS)  # fmt: skip
        if enough:
            self.ended_run, self.has_runs = self._ended(), True
        if ends or enough:
            self._run = self.left, self.last_at, self.echo_sent_ns, not fragment.paced

    def last_run(self) -> Run | None:
        """Return the run that the message's last fragment ends; None if it is too short to show anything."""
        return self._ended() if self._run[0] - self.left >= SLOW_RUN_FRAGMENTS and self.echo_sent_ns > self._run[2] else None

    def _ended(self) -> Run:
        left, at, since, fast = self._run
        sent, seconds = (self.echo_sent_ns - since) * 1e-9, self.last_at - at
        even = seconds <= STRETCHED * sent + (0.0 if fast else _JITTER_SECONDS)
        return Run((left - self.left) * self.fragment_bytes, max(seconds, sent), even, since, self.echo_sent_ns, self.last_at,
                   self.total, self.fragment_bytes)  # fmt: skip
