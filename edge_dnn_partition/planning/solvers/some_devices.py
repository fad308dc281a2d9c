# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Graphs in large fleets: a plan among some devices, then again with those that could stand in for the ones it uses.

A plan uses few devices, while the methods for any graph take time with the square of all. So the problem is solved among the
devices that look best, and the others are priced against its plan, as column generation does (Desrosiers and Lübbecke, "A
primer in column generation", 2005): what would each cost in the place of one that the plan uses? The best are let in, until
none helps. Proven is the answer if no other device can be in a better plan, by the path bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from .judge import Answer, Judge, Levels, Question
from .pathbound import path_bound

FEW: Final = 40
"""Fleets of no more devices are solved whole."""
_RANKED: Final = 6
_PLACES: Final = 12
_ROUNDS: Final = 4
_PROOF: Final = 1e-9


def answer(question: Question) -> Answer | None:
    """Return the best plan found for a graph; None if those devices have none."""
    problem, judge, costs = question.problem, question.judge, question.costs
    bound = path_bound(problem, costs[0])
    if not np.isfinite(bound.later[0]):
        return None
    through = bound.through
    node, finite = costs[0].node, np.where(np.isfinite(through), through, 2 * through[np.isfinite(through)].max(initial=0.0))
    scores = (finite.min(axis=0), finite.sum(axis=0), np.median(node, axis=0))
    kept = {problem.source_index, problem.sink_index}
    kept.update(int(d) for score in scores for d in np.argsort(score, kind='stable')[:_RANKED])
    proven: set[int] = set()
    for _ in range(_ROUNDS):
        before = judge.best_value
        at = np.array(sorted(kept), dtype=np.int64)
        found = _among(problem, judge, costs, at)
        if found.optimal:
            proven = kept
        if judge.best is None or judge.best_value >= before:
            break
        used = np.unique(judge.best)
        kept = {problem.source_index, problem.sink_index, *used.tolist()}
        standing_in = [_in_place_of(problem, costs[0], judge.best, device) for device in used.tolist()]
        for score in standing_in:
            order = np.argsort(score, kind='stable')
            kept.update(order[: max(2, _PLACES // len(used))].tolist())
        if kept <= proven:
            break
    if judge.best is None:
        return None
    value = costs[0].value(problem, judge.best)
    useful = set(np.flatnonzero((through <= value * (1 + _PROOF)).any(axis=0)).tolist())
    return Answer(judge.best, useful <= proven or value <= bound.later[0] * (1 + _PROOF))


def _among(problem: Problem, judge: Judge, costs: Sequence[LinearCost], at: Ints) -> Answer:
    """Offer the best plan found among some devices; return what was found, in the indices of all."""
    from .solve import find

    part = problem.among([problem.names[d] for d in at.tolist()])
    question = Question(part, replace(judge, problem=part, best=None, best_value=float('inf')), part=True)
    question.costs = Levels(*(lambda level=level: costs[level].among(at) for level in range(len(costs))))
    found = find(question)
    if found.assignment is None:
        return Answer(None, False)
    judge.offer(at[found.assignment])
    return Answer(at[found.assignment], found.optimal)


def _in_place_of(problem: Problem, cost: LinearCost, plan: Ints, device: int) -> Floats:
    """Return about what a plan's nodes on one device would cost on each ``(devices,)``, their transfers included."""
    there = plan == device
    total = cost.node[there].sum(axis=0)
    every = np.arange(len(problem.devices))
    for t, tensor in enumerate(problem.tensors):
        made_there = tensor.producer != INPUT and there[tensor.producer]
        needs = {int(plan[reader]) for reader in tensor.readers} | ({problem.sink_index} if tensor.at_sink else set())
        if made_there:
            for reader in needs - {device}:
                total = total + np.where(every == reader, 0.0, cost.prices(problem, t, every, reader))
        elif any(there[reader] for reader in tensor.readers):
            home = problem.source_index if tensor.producer == INPUT else int(plan[tensor.producer])
            total = total + np.where(every == home, 0.0, cost.prices(problem, t, home, every))
    return np.asarray(total, dtype=np.float64)
