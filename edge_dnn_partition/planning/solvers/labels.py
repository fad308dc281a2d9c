# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Chains on which no device has two stages, or whose plans must keep to a deadline: a search by labels.

A label is a partial path: its costs, its device and, where none may be visited twice, the devices used. Of labels that are
alike those are dropped that another is no worse than, and all that cannot keep to a bound any more, such as the cost of a path
that is known: what a label costs, and what must follow by Viterbi without regard to visits or the deadline (Dumitrescu and
Boland, "Improved preprocessing, labeling and scaling algorithms for the weight-constrained shortest path problem", Networks
42, 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from . import chain
from .judge import Answer, Judge, Question

DEVICES: Final = 62
"""More do not fit into the set of devices used, which is a number."""
_BEAM: Final = 400
_LABELS: Final = 120_000
_PARETO_LABELS: Final = 60_000
"""Labels to keep at each position; beyond that nothing is proven."""
_SLACK: Final = 1e-10
_QUANTUM: Final = 1e-13


@dataclass(frozen=True, eq=False)
class Bound:
    """What a weighted sum of a path's costs may be at most.

    :param weights: of each cost.
    :param rest: what must follow at least, in that sum, ``(nodes, devices)``.
    """

    weights: tuple[float, ...]
    rest: Floats
    limit: float

    def estimate(self, node: int, device: Ints, values: Floats) -> Floats:
        """Return what the sum will be at least for labels of a node ``(labels,)``, from their costs ``(costs, labels)``."""
        total: Floats = self.rest[node][device]
        for weight, value in zip(self.weights, values, strict=True):
            if weight:
                total = total + weight * value
        return total

    def keeps(self, estimate: Floats) -> np.ndarray:
        """Return whether such sums are within the limit, rounding aside."""
        slack = _SLACK * abs(self.limit) if np.isfinite(self.limit) else 0.0
        return np.asarray(np.isfinite(estimate) & (estimate <= self.limit + slack))


def answer(question: Question) -> Answer:
    """Return the best plan of a chain in which no device has two stages."""
    problem, judge = question.problem, question.judge
    trellises = [chain.trellis(problem, cost) for cost in question.costs]
    rest, weights = chain.rest(trellises[0]), (1.0, *(0.0 for _ in trellises[1:]))
    if not np.isfinite(trellises[0].constant):
        return Answer(None, True)
    for most in (_BEAM, _LABELS):  # few labels give a good plan, whose cost leaves fewer of the many
        known = np.inf if judge.best is None else question.costs[0].value(problem, judge.best) - trellises[0].constant
        plan, complete = search(problem, trellises, [Bound(weights, rest, known)], single_visit=True, most=most)
        judge.offer(plan)
        if complete:
            return Answer(judge.best, True)
    return Answer(judge.best, False)


def within(
    judge: Judge, cost: LinearCost, spent: LinearCost, limit: float, *, price: float, most: int = _PARETO_LABELS
) -> bool:
    """Offer the chain's path of least cost that keeps another cost within a limit; return whether the judge's best is proven.

    Memory is heeded only where no device may have two stages.

    :param price: of ``spent`` in ``cost``; any is right, that of the best Lagrangean bound leaves the fewest labels.
    """
    problem = judge.problem
    trellises = [chain.trellis(problem, cost), chain.trellis(problem, spent)]
    known, limit = judge.best_value - trellises[0].constant, limit - trellises[1].constant
    if not limit >= 0:
        return True
    bounds = [
        Bound((1.0, price), chain.rest(chain.trellis(problem, cost.plus(spent, price))), known + price * limit),
        Bound((1.0, 0.0), chain.rest(trellises[0]), known),
        Bound((0.0, 1.0), chain.rest(trellises[1]), limit),
    ]
    single_visit = judge.space == 'each_device_once'
    plan, complete = search(problem, trellises, bounds, single_visit=single_visit, most=most, pareto=True)
    return (plan is None or judge.accepts(plan)) and complete


def search(
    problem: Problem, trellises: Sequence[chain.Trellis], bounds: Sequence[Bound], *, single_visit: bool, most: int,
    pareto: bool = False,
) -> tuple[Ints | None, bool]:  # fmt: skip
    """Return the best path, or None, and whether that is proven.

    :param trellises: costs in order of importance.
    :param bounds: that paths must keep to; the labels with the least estimates by the first one are kept where there are too many.
    :param single_visit: no device has two stages; memory is heeded then, else it is not.
    :param most: labels to keep at each position.
    :param pareto: keep labels that are better in either of the two costs; else the first cost decides, the others among equals.
    """
    at: Ints = np.arange(len(problem.devices))
    memory = problem.column('memory_bytes') if single_visit else np.full(len(at), np.inf)
    limited = bool(np.isfinite(memory).any())
    values, here = np.stack([t.first for t in trellises]), at
    parent, used, stages = np.zeros_like(at), 1 << (at if single_visit else 0 * at), np.ones_like(at)
    weights = np.full(len(at), problem.weight_bytes[0] if limited else 0.0)
    trace: list[tuple[Ints, Ints]] = []
    complete = True
    for i in range(problem.nodes):
        target = at
        if i:
            onward = np.ones((len(here), len(at)), dtype=np.bool_)
            if single_visit:
                onward = (used[:, None] >> at) & 1 == 0
                onward[np.arange(len(here)), here] = True
            parent, target = np.nonzero(onward)
            moved = here[parent] != target
            values = np.stack([values[k][parent] + t.arcs[i - 1][target, here[parent]] for k, t in enumerate(trellises)])
            stages = stages[parent] + moved
            used = used[parent] | (1 << target) if single_visit else np.ones_like(target)
            weights = np.where(moved, 0.0, weights[parent]) + (problem.weight_bytes[i] if limited else 0.0)
        estimates = [bound.estimate(i, target, values) for bound in bounds]
        good = weights <= memory[target]
        for bound, estimate in zip(bounds, estimates, strict=True):
            good &= bound.keeps(estimate)
        keep = np.flatnonzero(good)
        if not len(keep):
            return None, complete
        keys = (target[keep], used[keep], *([weights[keep]] if limited else []))
        keep = keep[_undominated(values[:, keep], stages[keep], keys, pareto=pareto)]
        if len(keep) > most:
            complete = False
            keep = np.sort(keep[np.argsort(estimates[0][keep], kind='stable')[:most]])
        here, values, used, stages, weights = target[keep], values[:, keep], used[keep], stages[keep], weights[keep]
        trace.append((parent[keep], here))
    label = int(np.lexsort((stages, *_rounded(values)[::-1]))[0])
    path = np.empty(len(trace), dtype=np.int64)
    for i in range(len(trace) - 1, -1, -1):
        before, device = trace[i]
        path[i], label = device[label], int(before[label])
    return path, complete


def _rounded(values: Floats) -> Floats:
    """Return costs in units so small that only rounding is lost, ``(costs, labels)``."""
    unit = _QUANTUM * np.abs(values).max(axis=1, keepdims=True, initial=0.0)
    return np.round(values / np.where(unit > 0, unit, 1.0))


def _undominated(values: Floats, stages: Ints, keys: tuple[Floats | Ints, ...], *, pareto: bool) -> Ints:
    """Return, in order, each key's first label; with ``pareto``, all that no other is as good as in both costs."""
    rounded = _rounded(values)
    order = np.lexsort((stages, *rounded[::-1], *keys))
    same = np.ones(len(order) - 1, dtype=np.bool_)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    fresh = np.concatenate(([True], ~same))
    if pareto:
        # Ranks of the second cost, lower in each later group than in any before, so that one running minimum serves all groups.
        ranks = np.unique(rounded[1], return_inverse=True)[1].reshape(-1)[order] - (np.cumsum(fresh) - 1) * (len(order) + 1)
        fresh[1:] = ranks[1:] < np.minimum.accumulate(ranks)[:-1]
    return np.sort(order[fresh])
