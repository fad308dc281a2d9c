# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a power meter says, and how joules are added up from what its sensor gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edge_dnn_partition.sensing.source import Source

Scope = Literal['board', 'cpu', 'memory', 'gpu', 'parts']
"""What the watts are of: the whole device, the processors, the memory beside them, or the GPUs;
parts is several of these together where nothing measures the whole."""

Kind = Literal['measured', 'modelled']

LONGEST_GAP_SECONDS: Final = 10.0
"""Between two samples of watts that are further apart nobody knows what was drawn; that time is not covered."""

_PLAUSIBLE_WATTS: Final = 2000.0
"""More than any device of a fleet draws; a counter that would have to wrap at this rate is not trusted."""


@dataclass(frozen=True)
class PowerReading:
    """What a meter says of one scope; NaN: unknown.

    :param source: which meter, and of what where it has several, as in ``ina3221 VDD_IN``.
    :param scope: what it is of.
    :param watts: now, or since the reading before.
    :param joules: since the meter's first reading, over the time that it covers.
    :param covered_seconds: how much time that is; less than has passed where the meter was away.
    :param resolution_watts: the least step that the watts take.
    :param resolution_joules: the least step between two values of the joules; for a sensor of watts what
        a step of it makes in a second.
    :param response_seconds: by how much the joules come late, as where a sensor averages; over less than that nobody
        can say when they were drawn.
    :param kind: measured, or modelled from what the device does.
    :param note: what a reader must know, as of an estimate in it; empty if nothing.
    """

    source: str
    scope: Scope
    watts: float = math.nan
    joules: float = math.nan
    covered_seconds: float = 0.0
    resolution_watts: float = math.nan
    resolution_joules: float = math.nan
    kind: Kind = 'measured'
    note: str = ''
    response_seconds: float = 0.0


@dataclass
class Total:
    """What has been added up so far: watts now, joules since the first value, and the seconds they cover."""

    watts: float = math.nan
    joules: float = 0.0
    covered_seconds: float = 0.0

    def reading(
        self, source: str, scope: Scope, step: float, *, kind: Kind = 'measured', note: str = '', response_seconds: float = 0.0
    ) -> PowerReading:
        """Return it as a reading.

        :param step: resolution of the watts and, over a second, of the joules.
        """
        return PowerReading(
            source, scope, self.watts, self.joules, self.covered_seconds, step, step, kind, note, response_seconds
        )


def add(totals: Sequence[Total]) -> Total:
    """Return several totals as one, which covers what all of them do."""
    return Total(
        watts=sum(total.watts for total in totals),
        joules=math.fsum(total.joules for total in totals),
        covered_seconds=min((total.covered_seconds for total in totals), default=0.0),
    )


class EnergyCounter(Total):
    """Adds up a counter of joules that wraps around.

    :param range_joules: where it begins anew, infinite for one that does not.
    """

    def __init__(self, range_joules: float = math.inf) -> None:
        super().__init__()
        self.range_joules = range_joules
        self._before = (math.nan, math.nan)

    def update(self, now_seconds: float, value_joules: float) -> None:
        """Take in the counter's value; NaN breaks the chain, and time until the next value is not covered.

        A step backwards is a wrap-around. If the counter could have wrapped more than once since the value
        before, or does not wrap and went back (a driver was loaded anew), that time is not covered.
        """
        then, before = self._before
        self._before = (now_seconds, value_joules)
        self.watts = math.nan
        seconds = now_seconds - then
        if not (seconds > 0 and math.isfinite(value_joules) and math.isfinite(before)):
            return
        step = value_joules - before
        if step < 0:
            step += self.range_joules
        if seconds * _PLAUSIBLE_WATTS > self.range_joules or not 0 <= step <= seconds * _PLAUSIBLE_WATTS:
            return
        self.watts = step / seconds
        self.joules += step
        self.covered_seconds += seconds


class PowerIntegral(Total):
    """Adds up samples of watts by the trapezoidal rule."""

    def __init__(self, longest_gap_seconds: float = LONGEST_GAP_SECONDS) -> None:
        super().__init__()
        self._longest = longest_gap_seconds
        self._at = math.nan

    def update(self, now_seconds: float, watts: float) -> None:
        """Take in a sample; NaN breaks the chain, and time until the next sample is not covered."""
        before, self.watts = self.watts, watts
        seconds, self._at = now_seconds - self._at, now_seconds
        if 0 < seconds <= self._longest and math.isfinite(before) and math.isfinite(watts):
            self.joules += 0.5 * (before + watts) * seconds
            self.covered_seconds += seconds


class Meter(Source[tuple[PowerReading, ...]]):
    """A power meter; each of its readings has another scope or is of another part of it.

    Joules go on from where they were after a failure: a meter that is probed anew must not begin at 0.
    """


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
