# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How segments, pairs of them and held-back stages are timed, and fitted to segments' seconds and boundary overheads.

A *span* is a stage between two of the boundaries, as a pair of positions in their list.
Device drift and a neighbour's bursts must not fall on one span alone: every round times each
span once, in an order of its own, and a span's time is the median over the rounds. Before each
timed run the device is idle, as in a stream (a small stage takes 25-35 % longer then); and
before that the span runs once untimed, since in a stream its own weights were used last.

Unknown are every segment's seconds and every boundary overhead's. A span's time is that of its segments less the boundary
overheads inside it, give or take its own uncertainty. Segments and pairs alone would determine all of them (boundary
overhead = t(i) + t(i+1) - t(i and i+1)), but then a long stage inherits the noise of all its boundary overheads; so some
long spans are fitted too, and the boundary overheads are drawn weakly towards their common middle: least squares with a
normal prior, ridge regression's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

Span = tuple[int, int]

#: A span's median that is less certain than this (relative) gets more rounds.
_WANTED_ERROR: Final = 0.015
_LEAST_ROUNDS: Final = 2
#: No median is taken for more certain than this, relative: a device drifts by as much.
_LEAST_ERROR: Final = 0.003
#: How far boundary overheads stray from their middle, in terms of their median absolute deviation. On a
#: busy machine 2 made the largest errors of held-back stages a quarter smaller than no prior.
_OVERHEAD_SPREAD: Final = 2 * 1.4826
#: A segment's seconds are fitted, but never to less than this share of what was measured.
_LEAST_SHARE: Final = 0.5


class ProfilingCancelledError(Exception):
    """The profile was given up by whoever asked for it."""


@dataclass(frozen=True)
class Bench:
    """What timing needs of the world.

    :param open_spans: makes spans ready; returns for each a function that runs it once and
        returns its seconds. What an earlier call made ready may be let go.
    :param idle: waits so many seconds, as the device does between two frames.
    :param between_rounds: called before each round and at the end, to read the speed probe.
    :param clock: seconds, for the limit.
    :param cancelled: tells whether to give up.
    :param progress: is given the share that is done, 0 to 1.
    """

    open_spans: Callable[[Sequence[Span]], Mapping[Span, Callable[[], float]]]
    idle: Callable[[float], None]
    between_rounds: Callable[[], None]
    clock: Callable[[], float]
    cancelled: Callable[[], bool]
    progress: Callable[[float], None]


def spans_to_fit(segments: int) -> list[Span]:
    """Return segments, pairs of neighbours, and long spans, in the order of their starts.

    The long spans, where they are longer than pairs: all, both halves and the half between.
    """
    short = {(start, start + length) for start in range(segments) for length in (1, 2)}
    half, quarter = segments // 2, segments // 4
    long = {(0, segments), (0, half), (half, segments), (quarter, quarter + half)}
    return sorted(span for span in short | {(a, b) for a, b in long if b - a > 2} if span[1] <= segments)


def spans_to_hold_back(segments: int, fitted: Collection[Span], count: int, seed: str) -> list[Span]:
    """Return random stages of three segments or more, none of them among those that are fitted.

    :param count: of them; fewer where there are not so many.
    :param seed: the same one gives the same stages.
    """
    rest = [(start, stop) for start in range(segments) for stop in range(start + 3, segments + 1)
            if (start, stop) not in fitted]
    return sorted(random.Random(seed).sample(rest, min(count, len(rest))))


def in_groups(spans: Sequence[Span], size: Callable[[Span], int], limit: int) -> list[list[Span]]:
    """Divide spans into runs of neighbours of which each fits into memory at once.

    :param size: a span's bytes.
    :param limit: bytes of a group; a span larger than that is a group of its own.
    """
    groups: list[list[Span]] = []
    filled = 0
    for span in spans:
        if not groups or filled + size(span) > limit:
            groups.append([])
            filled = 0
        groups[-1].append(span)
        filled += size(span)
    return groups


def time_spans(groups: Sequence[Sequence[Span]], bench: Bench, *, rounds: int, interval_seconds: float,
               limit_seconds: float, seed: str) -> dict[Span, list[float]]:
    """Time every span, and return the seconds of its runs.

    Each span is run in ``rounds`` rounds; those whose median is still uncertain by more than
    1.5 % get up to as many again. When the time is up no further round begins, except for the
    first two of a group.

    :param groups: spans that are timed together.
    :param rounds: at least 1.
    :param interval_seconds: idleness before each timed run.
    :param limit_seconds: for all groups.
    :param seed: of the order of the runs.
    :raises ProfilingCancelledError: if the bench was told to give up.
    """
    order = random.Random(seed)
    begin = bench.clock()
    result: dict[Span, list[float]] = {}
    total = sum(map(len, groups))
    for index, group in enumerate(groups):
        done = sum(map(len, groups[:index]))
        deadline = begin + limit_seconds * (done + len(group)) / total
        runners = bench.open_spans(group)
        samples: dict[Span, list[float]] = {span: [] for span in group}
        for number in range(2 * rounds):
            due = [span for span in group if number < rounds or relative_error(samples[span]) > _WANTED_ERROR]
            late = number >= min(_LEAST_ROUNDS, rounds) and bench.clock() > deadline
            if not due or late:
                break
            bench.between_rounds()
            for span in order.sample(due, len(due)):
                if bench.cancelled():
                    raise ProfilingCancelledError
                samples[span].append(_timed_run(runners[span], bench.idle, interval_seconds))
            bench.progress((done + len(group) * min(1.0, (number + 1) / rounds)) / total)
        result |= samples
    bench.between_rounds()
    bench.progress(1.0)
    return result


def _timed_run(runner: Callable[[], float], idle: Callable[[float], None], interval_seconds: float) -> float:
    runner()
    idle(interval_seconds)
    return runner()


def relative_error(samples: Sequence[float]) -> float:
    """Estimate the relative standard error of a median from the median absolute deviation."""
    middle = median(samples)
    deviation = median(abs(value - middle) for value in samples)
    return float(1.2533 * 1.4826 * deviation / (len(samples) ** 0.5 * middle)) if middle > 0 else 0.0


def fit_spans(samples: Mapping[Span, Sequence[float]], segments: int
              ) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the segments' seconds and the inner boundaries' boundary overheads, in seconds.

    :param samples: the runs of at least every segment and every pair of neighbours.
    :param segments: their number.
    :returns: positive segments; boundary overheads that do not exceed a segment beside them, so that no
        stage takes less than one of its segments.
    """
    times = {span: median(values) for span, values in samples.items()}
    errors = {span: error * times[span] for span, error in _relative_errors(samples).items()}
    plain = [times[i - 1, i] + times[i, i + 1] - times[i - 1, i + 1] for i in range(1, segments)]
    # The columns: segments, boundary overheads, and the boundary overheads' common middle.
    rows = [_row(first, last, segments) / errors[first, last] for first, last in times]
    wanted = [times[span] / errors[span] for span in times]
    if plain:
        middle = median(plain)
        spread = max(_OVERHEAD_SPREAD * median(abs(overhead - middle) for overhead in plain),
                     _LEAST_ERROR * min(times.values()))
        for index in range(segments, 2 * segments - 1):
            row = np.zeros(2 * segments)
            row[index], row[-1] = 1 / spread, -1 / spread
            rows.append(row)
            wanted.append(0.0)
    solution = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    seconds = [max(float(solution[i]), _LEAST_SHARE * times[i, i + 1]) for i in range(segments)]
    overheads = [min(float(solution[segments + i]), seconds[i], seconds[i + 1]) for i in range(segments - 1)]
    return tuple(seconds), tuple(overheads)


def _relative_errors(samples: Mapping[Span, Sequence[float]]) -> dict[Span, float]:
    """Return each median's relative standard error, drawn towards the usual one.

    A handful of runs tells little of their own spread: taken at its word, a span whose runs
    agree by chance would outweigh all others.
    """
    own = {span: relative_error(values) for span, values in samples.items()}
    usual = max(median(own.values()), _LEAST_ERROR)
    return {span: float(np.hypot(error, usual)) for span, error in own.items()}


def _row(first: int, last: int, segments: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    row = np.zeros(2 * segments)
    row[first:last] = 1.0
    row[segments + first:segments + last - 1] = -1.0
    return row
