# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which of a device's meters make its total, none of them counted twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from .reading import PowerReading, Scope

BEST_FIRST: Final = ('external', 'ina3221', 'rapl psys', 'jtop', 'pi_pmic', 'battery')
"""Meters of the whole board, the most trusted first: what the user has put there, then what measures the input."""

Processor = Literal['cpu', 'gpu']
"""What a stage runs on."""

_PARTS: Final[tuple[Scope, ...]] = ('cpu', 'memory', 'gpu')


def _rank(reading: PowerReading) -> int:
    return next((i for i, name in enumerate(BEST_FIRST) if reading.source.startswith(name)), len(BEST_FIRST))


def parts(readings: Sequence[PowerReading]) -> tuple[PowerReading, ...]:
    """Return the readings whose sum is the most of the device that is measured now.

    That is the best meter of the whole board, or else one meter each of the processors, their memory
    and the GPUs; what is modelled only where nothing is measured; empty if none tells watts.
    """
    known = [reading for reading in readings if math.isfinite(reading.watts)]
    known = [reading for reading in known if reading.kind == 'measured'] or known
    boards = [reading for reading in known if reading.scope == 'board']
    if boards:
        return (min(boards, key=_rank),)
    first = {reading.scope: reading for reading in reversed(known)}
    return tuple(first[scope] for scope in _PARTS if scope in first)


def measured_for(readings: Sequence[PowerReading], processor: Processor) -> PowerReading | None:
    """Return the total of what is measured, None unless it has the joules of the processor that works.

    A GPU's meter alone says nothing of what a stage on the CPU takes: its joules would be the GPU's idleness.
    """
    found = parts([reading for reading in readings if reading.kind == 'measured'])
    if not any(reading.scope in ('board', processor) for reading in found):
        return None
    reading = total(found)
    return reading if reading is not None and math.isfinite(reading.joules) else None


def total(readings: Sequence[PowerReading]) -> PowerReading | None:
    """Return the sum of `parts` as one reading, None if there is none.

    Its scope is ``parts`` where it is several of a device's parts, which is less than the whole board.
    """
    found = parts(readings)
    if len(found) <= 1:
        return found[0] if found else None
    return PowerReading(
        source=' + '.join(reading.source for reading in found),
        scope='parts',
        watts=math.fsum(reading.watts for reading in found),
        joules=math.fsum(reading.joules for reading in found),
        covered_seconds=min(reading.covered_seconds for reading in found),
        resolution_watts=math.hypot(*(reading.resolution_watts for reading in found)),
        resolution_joules=math.hypot(*(reading.resolution_joules for reading in found)),
        response_seconds=max(reading.response_seconds for reading in found),
        kind='measured' if all(reading.kind == 'measured' for reading in found) else 'modelled',
        note='; '.join(dict.fromkeys(reading.note for reading in found if reading.note)),
    )
