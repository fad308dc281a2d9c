# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Improving a plan by moving nodes and runs of nodes, many trials measured at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.batch import Batch, Measured
from edge_dnn_partition.planning.cost_model.linear import device_once
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints

from .judge import Answer, Judge, Question

_WORK: Final = 1_500_000
_TRIALS: Final = 1500
_STEPS: Final = 400
_TRACE: Final = 1e-7
_BETTER: Final = 1e-12
_PROOF: Final = 1e-9


def answer(question: Question) -> Answer:
    """Return a good plan in which no device has two stages: the best on one device, or any that can run, improved."""
    problem, judge = question.problem, question.judge
    for device in range(len(problem.devices)):
        judge.offer(np.full(problem.nodes, device, dtype=np.int64))
    if judge.best is None:
        for device in range(len(problem.devices)):
            if judge.accepts(_greedy(question, device)):
                break
    # of moves that leave the bottleneck alone, one that makes the rest shorter leads on
    improve(judge, None if question.adds_up else lambda measured: judge.values(measured) + _TRACE * measured.latency_seconds)
    return Answer(judge.best, not question.adds_up and judge.best_value <= question.floor * (1 + _PROOF))


def improve(judge: Judge, score: Callable[[Measured], Floats] | None = None, start: Ints | None = None) -> None:
    """Move nodes of a plan until no single move helps, or the work is done; offer what is reached.

    :param score: what to make least, ``(plans,)``; infinite forbids; by default the judge's values.
    :param start: the plan; by default the judge's best.
    """
    plan, problem, score = judge.best if start is None else start, judge.problem, score or judge.values
    if plan is None:
        return
    batch = Batch(problem)
    value = float(score(batch.measure(plan[None]))[0])
    cost = max(1, len(problem.tensors) * (len(problem.devices) + 8) // 16)
    turn, work = 0, _WORK
    for _ in range(_STEPS):
        trials, turn = _neighbours(judge, plan, turn)
        work -= len(trials) * cost
        if not len(trials) or work < 0:
            break
        scores = score(batch.measure(trials))
        best = int(scores.argmin())
        if scores[best] < value - _BETTER * abs(value):
            plan, value, turn = trials[best], float(scores[best]), 0
        elif turn == 0:
            break
    judge.offer(plan)


def _neighbours(judge: Judge, plan: Ints, turn: int) -> tuple[Ints, int]:
    """Return some neighbours of a plan, and which turn comes next (0: all have been tried).

    Turn 0 moves single nodes and runs that begin or end at a change of device; turn 1 exchanges nodes of two devices or, where no
    device may have two stages, the devices of two stages.
    """
    able, single_visit = np.isfinite(judge.problem.seconds), judge.space == 'each_device_once'
    count, devices = able.shape
    trials = []
    if turn == 0:
        for start, stop in _runs(plan, every=single_visit):
            for device in range(devices):
                if able[start:stop, device].all() and (plan[start:stop] != device).any():
                    trial = plan.copy()
                    trial[start:stop] = device
                    if not single_visit or device_once(trial):
                        trials.append(trial)
    elif single_visit:
        used = np.unique(plan).tolist()
        trials = [np.where(plan == a, b, np.where(plan == b, a, plan)) for k, a in enumerate(used) for b in used[k + 1 :]]
    else:
        pairs = [(i, j) for i in range(count) for j in range(i + 1, count) if plan[i] != plan[j]]
        for i, j in pairs[:: -(-len(pairs) // _TRIALS) or 1]:
            if able[i, plan[j]] and able[j, plan[i]]:
                trial = plan.copy()
                trial[i], trial[j] = plan[j], plan[i]
                trials.append(trial)
    trials = trials[:: -(-len(trials) // _TRIALS) or 1]
    return np.array(trials, dtype=np.int64).reshape(-1, count), 1 - turn


def _runs(plan: Ints, *, every: bool) -> list[tuple[int, int]]:
    """Return single nodes, stages, and runs of nodes at either end of a stage, of some lengths or every one, as start and stop."""
    count = len(plan)
    spans = dict.fromkeys((node, node + 1) for node in range(count))
    edges = [0, *(np.flatnonzero(np.diff(plan)) + 1).tolist(), count]
    for start, stop in zip(edges, edges[1:], strict=False):
        length = 2
        while length < stop - start:
            spans[start, start + length] = None
            spans[stop - length, stop] = None
            length = length + 1 if every or length < 4 else length * 3 // 2
        spans[start, stop] = None
    return list(spans)


def _greedy(question: Question, device: int) -> Ints | None:
    """Return the plan that stays on each device as long as it can, from a device on; None if no device is left for a node."""
    problem, left = question.problem, question.problem.column('memory_bytes').copy()
    able, weights = np.isfinite(problem.seconds), problem.weight_bytes
    plan, used = np.empty(problem.nodes, dtype=np.int64), {device}
    for node in range(problem.nodes):
        if not (able[node, device] and weights[node] <= left[device]):
            onward = [d for d in range(len(left)) if d not in used and able[node, d] and weights[node] <= left[d]]
            if not onward:
                return None
            device = onward[int(able[node:, onward].sum(axis=0).argmax())]
            used.add(device)
        left[device] -= weights[node]
        plan[node] = device
    return plan
