# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Rates of links and loads of devices over time, from CSV files, and the timeline of a testbed file.

A file has a line ``seconds,bits_per_second`` or ``seconds,load`` and then a line for each change: a value holds until the
next one. A load of 2 makes each run take twice as long.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError

from .shaping import PACKET_BYTES, TIMER_SECONDS
from .testbed_file import TestbedFile

Column = Literal['bits_per_second', 'load']
Action = Literal['rate', 'load', 'kill', 'start', 'cut', 'heal']
LEAST: Final = {'bits_per_second': 0.0, 'load': 1.0}
OUTAGE_BITS_PER_SECOND: Final = 8e3
"""A link of less is taken to be cut."""
_CRAWL: Final = 1.0
_FOR_EVER_SECONDS: Final = 1e6


@dataclass(frozen=True)
class Trace:
    """A value over time: ``values[i]`` from ``seconds[i]`` on."""

    seconds: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, seconds: float) -> float:
        """Return the value at a time; before the first one, that."""
        return self.values[max(0, bisect_right(self.seconds, seconds) - 1)]


class Capacity:
    """What a link carries over time: its bytes since the beginning, and when it has carried so many.

    Each is the other's inverse. Where the trace says 0 the link is taken to carry `_CRAWL` bytes per second, so that
    the inverse is a function. For arrays of times as well as for single ones.

    :param bits_per_second: the link's rate; its last value holds for ever.
    """

    def __init__(self, bits_per_second: Trace) -> None:
        self._seconds = [0.0, *bits_per_second.seconds[1:]]
        self._rates = [max(value / 8, _CRAWL) for value in bits_per_second.values]
        widths = (b - a for a, b in pairwise(self._seconds))
        steps = (width * rate for width, rate in zip(widths, self._rates, strict=False))
        self._bytes = [0.0, *accumulate(steps)]
        far = self._seconds[-1] + _FOR_EVER_SECONDS, self._bytes[-1] + _FOR_EVER_SECONDS * self._rates[-1]
        self._curve = np.array([*self._seconds, far[0]]), np.array([*self._bytes, far[1]])

    def rate_at(self, seconds: float) -> float:
        """Return the bytes per second at a time."""
        return self._rates[max(0, bisect_right(self._seconds, seconds) - 1)]

    def span_at(self, seconds: float) -> tuple[float, float]:
        """Return the bytes per second at a time, and until when that holds."""
        i = max(1, bisect_right(self._seconds, seconds))
        return self._rates[i - 1], self._seconds[i] if i < len(self._seconds) else math.inf

    def bytes_at(self, seconds: float) -> float:
        """Return how many bytes it can have carried up to a time."""
        i = max(0, bisect_right(self._seconds, seconds) - 1)
        return self._bytes[i] + (seconds - self._seconds[i]) * self._rates[i]

    def when(self, carried: float) -> float:
        """Return when it can have carried so many bytes."""
        i = max(0, bisect_right(self._bytes, carried) - 1)
        return self._seconds[i] + (carried - self._bytes[i]) / self._rates[i]

    def after(self, begins: NDArray[np.float64], size: float) -> NDArray[np.float64]:
        """Return when transfers of ``size`` bytes that begin at some times, each with the link to itself, are over at the earliest.

        What a shaper lets pass at once after a pause is free, and so is the time of the last packet, which leaves when those
        before it are paid for (see `shaping`).
        """
        seconds, carried = self._curve
        rates = np.array(self._rates)[np.maximum(np.searchsorted(self._seconds, begins, side='right') - 1, 0)]
        free = rates * TIMER_SECONDS + PACKET_BYTES
        left = np.maximum(size - np.where(rates < OUTAGE_BITS_PER_SECOND / 8, 0.0, free), 0.0)
        return np.asarray(np.interp(np.interp(begins, seconds, carried) + left, carried, seconds), dtype=np.float64)


@dataclass(frozen=True, order=True)
class Event:
    """What is to happen: ``rate`` (bits per second) of a link, ``load`` (a factor) of a device, or a fault of either.

    :param at: seconds from the beginning.
    :param subject: a device's name alone, or those of a link's two ends.
    """

    at: float
    action: Action
    subject: tuple[str, ...]
    value: float = math.nan


def read_trace(path: Path, column: Column) -> Trace:
    """Read one column of a file over its column ``seconds``.

    :raises UserError: if it cannot be read, or its times do not rise from 0 or more, or a value is out of range.
    """
    try:
        with path.open(encoding='utf-8', newline='') as stream:
            rows = [(float(row['seconds']), float(row[column])) for row in csv.DictReader(stream)]
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); give the path of a trace') from error
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f'{path}: is not a trace with the columns seconds,{column}: {error}') from error
    if not rows:
        raise UserError(f'{path}: has no row after its header')
    if rows[0][0] < 0 or any(not a < b for (a, _), (b, _) in pairwise(rows)):
        raise UserError(f'{path}: times must increase, from 0 or more')
    if bad := [value for _, value in rows if not LEAST[column] <= value < math.inf]:
        raise UserError(f'{path}: {column} {bad[0]:g} must be at least {LEAST[column]:g}')
    return Trace(tuple(at for at, _ in rows), tuple(value for _, value in rows))


def timeline(file: TestbedFile, seconds: float) -> list[Event]:
    """Return what happens in the first seconds of a testbed file, in order.

    :raises UserError: if a trace is not as it should be.
    """
    return sorted(event for event in _events(file) if event.at < seconds)


def rate_events(trace: Trace, link: tuple[str, str]) -> Iterator[Event]:
    """Yield what befalls a link whose rate a trace says: it is cut where that is below `OUTAGE_BITS_PER_SECOND`."""
    was_cut = False
    for at, value in zip(trace.seconds, trace.values, strict=True):
        cut = value < OUTAGE_BITS_PER_SECOND
        if cut != was_cut:
            yield Event(at, 'cut' if cut else 'heal', link)
        if not cut:
            yield Event(at, 'rate', link, value)
        was_cut = cut


def _events(file: TestbedFile) -> Iterator[Event]:
    for use in file.traces:
        trace = read_trace(use.file, 'load' if use.link is None else 'bits_per_second')
        subject: Any = use.link or (use.device,)
        if use.link is None:
            yield from (Event(at, 'load', subject, value) for at, value in zip(trace.seconds, trace.values, strict=True))
        else:
            yield from rate_events(trace, use.link)
    for fault in file.faults:
        for action, subject in fault.action.items():
            yield Event(fault.at, action, (subject,) if isinstance(subject, str) else subject)  # type: ignore[arg-type]
