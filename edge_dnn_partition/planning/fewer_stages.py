# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A pipeline of fewer stages for a little more of a bottleneck.

The model has each device at work all the time. In a real pipeline frames meet: where a device has several stages, a frame
waits for its turn at each, others starve meanwhile, and each hop takes the processors some time (``bench pipeline``). So a
stage that a device has beyond its first must earn what it costs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Final

import numpy as np

from .batch import Batch
from .linear import stage_count
from .problem import Ints, Problem

FURTHER_STAGE: Final = 0.015
"""What each stage beyond a device's first costs, as a share of the bottleneck."""


def worth(assignment: Ints, bottleneck_seconds: float) -> float:
    """Return the bottleneck with what further stages cost, seconds."""
    further = stage_count(assignment) - len(np.unique(assignment))
    return bottleneck_seconds * (1 + FURTHER_STAGE * further)


def fewer_stages(problem: Problem, plans: Iterable[Ints]) -> Ints | None:
    """Return the plan that is worth most of some, and of those that merging their stages with neighbours leads to.

    Greedy: the best merger of each round, as long as there is one.

    :return: None if none of the plans can run.
    """
    measure = Batch(problem).measure
    best, least = None, np.inf
    tried = [np.asarray(plan, dtype=np.int64) for plan in plans]
    while tried:
        rows = np.stack(tried)
        measured = measure(rows)
        values = [
            worth(row, float(seconds)) if fits else np.inf
            for row, seconds, fits in zip(rows, measured.bottleneck_seconds, measured.fits, strict=True)
        ]
        first = int(np.argmin(values))
        if not values[first] < least:
            break
        best, least = rows[first], values[first]
        tried = list(_mergers(best))
    return best


def _mergers(assignment: Ints) -> Iterable[Ints]:
    """Yield the assignments in which one stage has gone to the device before or after it."""
    bounds = [0, *(np.flatnonzero(np.diff(assignment)) + 1).tolist(), len(assignment)]
    for start, stop in itertools.pairwise(bounds):
        for neighbour in {int(assignment[i]) for i in (start - 1, stop) if 0 <= i < len(assignment)}:
            merged = assignment.copy()
            merged[start:stop] = neighbour
            yield merged
