# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From the times of spans to the seconds of segments and boundary overheads.

Unknown are every segment's seconds and every boundary overhead's. A span says: its segments less the boundary overheads
inside it took so long, give or take its own uncertainty. Segments and pairs alone would
determine all of them (boundary overhead = t(i) + t(i+1) - t(i and i+1)), but then a long stage inherits
the noise of all its boundary overheads; so some long spans are fitted too, and the boundary overheads are drawn weakly
towards their common middle: least squares with a normal prior, ridge regression's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

import numpy as np

from .span_timing import Span, relative_error

#: No median is taken for more certain than this, relative: a device drifts by as much.
_LEAST_ERROR: Final = 0.003
#: How far boundary overheads stray from their middle, in terms of their median absolute deviation. On a
#: busy machine 2 made the largest errors of held-back stages a quarter smaller than no prior.
_OVERHEAD_SPREAD: Final = 2 * 1.4826
#: A segment's seconds are fitted, but never to less than this share of what was measured.
_LEAST_SHARE: Final = 0.5


def spans_to_fit(segments: int) -> list[Span]:
    """Return segments, pairs of neighbours, and long spans, in the order of their starts.

    The long spans, where they are longer than pairs: all, both halves and the half between.
    """
    short = {(start, start + length) for start in range(segments) for length in (1, 2)}
    half, quarter = segments // 2, segments // 4
    long = {(0, segments), (0, half), (half, segments), (quarter, quarter + half)}
    return sorted(span for span in short | {(a, b) for a, b in long if b - a > 2} if span[1] <= segments)


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
