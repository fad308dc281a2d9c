# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A pipeline of fewer stages for a little more of a bottleneck.

The model has each device at work all the time. In a real pipeline frames meet: where a device has several stages, a frame
waits for its turn at each, others starve meanwhile, and each hop takes the processors some time (``bench pipeline``). So a
stage that a device has beyond its first must earn what it costs.

Nor does it earn what the profile seems to promise where neighbouring segments take longer together than apart (a boundary overhead
below 0). A stage that runs alone finds its weights in the processor's cache, where those of the whole model do not fit.
A device with several stages holds all of them, and none finds its own there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.batch import Batch
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.linear import stage_count
from edge_dnn_partition.planning.cost_model.problem import Ints, Problem

FURTHER_STAGE: Final = 0.015
"""What each stage beyond a device's first costs, as a share of the bottleneck."""


def in_one_cache(problem: Problem) -> Problem:
    """Return the problem in which no stage gains by being small: what a boundary overhead below 0 costs counts at its two
    ends, half at each.
    """
    if problem.seam_seconds is None or not (problem.seam_seconds < 0).any():
        return problem
    lost = np.maximum(-problem.seam_seconds, 0.0) / 2
    seconds = problem.seconds.copy()
    seconds[:-1] += lost
    seconds[1:] += lost
    return replace(problem, seconds=seconds, seam_seconds=np.maximum(problem.seam_seconds, 0.0))


def effective_bottleneck(problem: Problem, assignment: Sequence[str] | Ints) -> float:
    """Return what a pipeline's bottleneck is worth, seconds: in one cache, with further stages; infinite if it cannot run."""
    chosen = problem.indices(assignment)
    return worth(chosen, evaluate(in_one_cache(problem), chosen).bottleneck_seconds)


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
