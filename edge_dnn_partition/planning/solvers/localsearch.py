# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Improving a plan by moving nodes and runs of nodes, many trials measured at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.batch import Batch, Measured
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from .judge import Judge

_WORK: Final = 4_000_000
_TRIALS: Final = 1500
_STEPS: Final = 400
_BETTER: Final = 1e-12

Score = Callable[[Measured], Floats]


def descend(problem: Problem, judge: Judge, plan: Ints, score: Score, *, work: int = _WORK) -> Ints:
    """Return a plan that no single move improves, or that was reached when the work was done.

    :param score: what to make least, ``(assignments,)``; infinite forbids.
    :param work: trials times tensors (times devices, in part) that may be measured.
    """
    batch = Batch(problem)
    value = float(score(batch.measure(plan[None]))[0])
    cost = max(1, len(problem.tensors) * (len(problem.devices) + 8) // 16)
    turn = 0
    for _ in range(_STEPS):
        trials, turn = _neighbours(problem, plan, turn)
        if not len(trials):
            break
        work -= len(trials) * cost
        if work < 0:
            break
        scores = score(batch.measure(trials))
        best = int(scores.argmin())
        if not scores[best] < value - _BETTER * abs(value):
            if turn == 0:
                break
            continue
        plan, value, turn = trials[best], float(scores[best]), 0
    judge.offer(plan)
    return plan


def _neighbours(problem: Problem, plan: Ints, turn: int) -> tuple[Ints, int]:
    """Return some neighbours of a plan, and which turn comes next (0: all have been tried).

    Turn 0 moves single nodes and runs that begin or end at a change of device; turn 1 exchanges
    nodes of two devices.
    """
    count, devices = len(plan), len(problem.devices)
    if turn == 0:
        able = np.isfinite(problem.seconds)
        spans: dict[tuple[int, int], None] = {}
        for node in range(count):
            spans[node, node + 1] = None
        edges = [0, *(np.flatnonzero(np.diff(plan)) + 1).tolist(), count]
        for start, stop in zip(edges, edges[1:], strict=False):
            length = 2
            while length < stop - start:
                spans[start, start + length] = None
                spans[stop - length, stop] = None
                length = length + 1 if length < 4 else length * 3 // 2
            spans[start, stop] = None
        trials = []
        for start, stop in spans:
            for device in range(devices):
                if able[start:stop, device].all() and (plan[start:stop] != device).any():
                    trial = plan.copy()
                    trial[start:stop] = device
                    trials.append(trial)
        if len(trials) > _TRIALS:
            trials = trials[:: -(-len(trials) // _TRIALS)]
        return np.array(trials, dtype=np.int64).reshape(-1, count), 1
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count) if plan[i] != plan[j]]
    if len(pairs) > _TRIALS:
        pairs = pairs[:: -(-len(pairs) // _TRIALS)]
    trials = []
    for i, j in pairs:
        if np.isfinite(problem.seconds[i, plan[j]]) and np.isfinite(problem.seconds[j, plan[i]]):
            trial = plan.copy()
            trial[i], trial[j] = plan[j], plan[i]
            trials.append(trial)
    return np.array(trials, dtype=np.int64).reshape(-1, count), 0
