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
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

from edge_dnn_partition.errors import UserError

from .bed_file import BedFile

Column = Literal['bits_per_second', 'load']
Action = Literal['rate', 'load', 'kill', 'start', 'cut', 'heal']
LEAST: Final = {'bits_per_second': 8e3, 'load': 1.0}


@dataclass(frozen=True)
class Trace:
    """A value over time: ``values[i]`` from ``seconds[i]`` on."""

    seconds: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, seconds: float) -> float:
        """Return the value at a time; before the first one, that."""
        return self.values[max(0, bisect_right(self.seconds, seconds) - 1)]


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
        raise UserError(f'{path}: is no trace with the columns seconds,{column}: {error}') from error
    if not rows:
        raise UserError(f'{path}: holds no line beside its first')
    if rows[0][0] < 0 or any(not a < b for (a, _), (b, _) in pairwise(rows)):
        raise UserError(f'{path}: times must rise, from 0 or more')
    if bad := [value for _, value in rows if not LEAST[column] <= value < math.inf]:
        raise UserError(f'{path}: {column} {bad[0]:g} must be at least {LEAST[column]:g}')
    return Trace(tuple(at for at, _ in rows), tuple(value for _, value in rows))


def timeline(file: BedFile, seconds: float) -> list[Event]:
    """Return what happens in the first seconds of a testbed file, in order.

    :raises UserError: if a trace is not as it should be.
    """
    return sorted(event for event in _events(file) if event.at < seconds)


def _events(file: BedFile) -> Iterator[Event]:
    for use in file.traces:
        trace = read_trace(use.file, 'load' if use.link is None else 'bits_per_second')
        subject: Any = use.link or (use.device,)
        for at, value in zip(trace.seconds, trace.values, strict=True):
            yield Event(at, 'load' if use.link is None else 'rate', subject, value)
    for fault in file.faults:
        for action, subject in fault.action.items():
            yield Event(fault.at, action, (subject,) if isinstance(subject, str) else subject)  # type: ignore[arg-type]
