# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Chains: the path of least cost among those that keep another cost within a limit, by Pareto labels.

A label is a partial path's (cost, spent) on a device. Of those on one device the ones that another is no worse than in
both are dropped, as are those that cannot keep to the limit any more, and those whose cost and a lower bound of the
rest exceed a path that is known (Dumitrescu and Boland, "Improved preprocessing, labeling and scaling algorithms for the
weight-constrained shortest path problem", Networks 42, 2003).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from . import chain
from .once import traced_back

DEVICES: Final = 62
"""More do not fit into the set of devices used, which is a number."""
_LABELS: Final = 60_000
_SLACK: Final = 1e-10
_QUANTUM: Final = 1e-13


def search(
    problem: Problem, cost: LinearCost, spent: LinearCost, limit: float, *, price: float, known: float, once: bool,
    most: int = _LABELS,
) -> tuple[Ints | None, bool]:
    """Return the best path, or ``None``, and whether that is proven.

    :param problem: a chain.
    :param limit: what ``spent`` may be at most.
    :param price: of ``spent`` in ``cost``; any is right, that of the best Lagrangean bound leaves the fewest labels.
    :param known: the cost of a path that is known, or infinite; dearer ones are not sought.
    :param once: no device has two stages; memory is heeded then, else it is not.
    :param most: labels to keep at each position; beyond that nothing is proven.
    """
    trellises = [chain.trellis(problem, cost), chain.trellis(problem, spent)]
    priced = chain.trellis(problem, cost.plus(spent, price))
    room, within = _room(known, trellises[0].constant), _room(limit, trellises[1].constant)
    if not np.isfinite(trellises[1].constant) or within < 0:
        return None, True
    rest = [_rest(t) for t in (*trellises, priced)]
    worth = room + price * within
    devices = len(problem.devices)
    at = np.arange(devices)
    memory = problem.column('memory_bytes') if once else np.full(devices, np.inf)
    limited = bool(np.isfinite(memory).any())
    values = np.stack([t.first for t in trellises])
    here: Ints = at
    used = 1 << at if once else np.zeros(devices, dtype=np.int64)
    weights = np.full(devices, problem.weight_bytes[0] if limited else 0.0)
    stages = np.ones(devices, dtype=np.int64)
    parent = np.zeros(devices, dtype=np.int64)
    trace: list[tuple[Ints, Ints]] = []
    complete = True
    for i in range(problem.nodes):
        target = at
        if i:
            open_to = np.ones((len(here), devices), dtype=np.bool_)
            if once:
                open_to = (used[:, None] >> at[None, :]) & 1 == 0
                open_to[np.arange(len(here)), here] = True
            parent, target = np.nonzero(open_to)
            moved = here[parent] != target
            values = np.stack([values[k][parent] + t.arcs[i - 1][target, here[parent]] for k, t in enumerate(trellises)])
            stages = stages[parent] + moved
            if once:
                used = used[parent] | (1 << target)
            else:
                used = np.zeros(len(target), dtype=np.int64)
            own = problem.weight_bytes[i] if limited else 0.0
            weights = np.where(moved, 0.0, weights[parent]) + own
        estimate = values[0] + price * values[1] + rest[2][i][target]
        good = np.isfinite(estimate) & (estimate <= worth + _SLACK * abs(worth))
        good &= values[0] + rest[0][i][target] <= room + _SLACK * abs(room)
        good &= values[1] + rest[1][i][target] <= within + _SLACK * abs(within)
        good &= weights <= memory[target]
        keep = np.flatnonzero(good)
        if not len(keep):
            return None, complete
        keys = (target[keep], used[keep], weights[keep] if limited else target[keep])
        keep = keep[_undominated(values[:, keep], stages[keep], keys)]
        if len(keep) > most:
            complete = False
            keep = np.sort(keep[np.argsort(estimate[keep], kind='stable')[:most]])
        here, values, used = target[keep], values[:, keep], used[keep]
        stages, weights = stages[keep], weights[keep]
        trace.append((parent[keep], here))
    order = np.lexsort((stages, values[1], np.round(values[0] / _unit(values[0]))))
    return traced_back(trace, int(order[0])), complete


def _room(total: float, constant: float) -> float:
    """Return what is left of a limit when what every path pays is paid."""
    return total - constant if np.isfinite(total) else np.inf


def _rest(costs: chain.Trellis) -> Floats:
    """Return the least cost of what follows a node on each device, ``(nodes, devices)``."""
    rest = np.zeros((len(costs.arcs) + 1, len(costs.first)))
    for i in range(len(costs.arcs) - 1, -1, -1):
        rest[i] = (costs.arcs[i] + rest[i + 1][:, None]).min(axis=0)
    return rest


def _unit(values: Floats) -> float:
    return _QUANTUM * (float(np.abs(values).max(initial=0.0)) or 1.0)


def _undominated(values: Floats, stages: Ints, keys: tuple[Floats | Ints, ...]) -> Ints:
    """Return, in order, the labels that no other of the same keys is as good as in both values."""
    first, second = (np.round(row / _unit(row)) for row in values)
    order = np.lexsort((stages, second, first, *keys))
    same = np.ones(len(order) - 1, dtype=np.bool_)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    group = np.concatenate(([0], np.cumsum(~same)))
    # Ranks, lower in each later group than in any before, so that one running minimum serves all groups.
    ranks = np.unique(second, return_inverse=True)[1].reshape(-1)[order] - group * (len(order) + 1)
    least = np.minimum.accumulate(ranks)
    fresh = np.concatenate(([True], ranks[1:] < least[:-1]))
    return np.sort(order[fresh])
