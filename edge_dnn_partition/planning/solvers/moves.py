# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Improving a plan by large moves, each of which is a minimum cut.

After Boykov, Veksler and Zabih, "Fast approximate energy minimization via graph cuts", PAMI 23
(2001). An *expansion* lets every node keep its device or change to one device; a *swap* lets the
nodes on two devices choose between the two, all others fixed, and is exact. Where an expansion's
cost is not submodular (links without the triangle inequality), it is raised for plans other than
the present one (Rother et al., CVPR 2005), so that no move makes a plan worse.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.problem import Ints, Problem

from .maxflow import minimum_cut
from .twodevices import CutGraph

_SWEEPS: Final = 12
_ROUNDS: Final = 2
_BETTER: Final = 1e-11
_WORK: Final = 40_000
"""Nodes that may be placed anew in all moves together."""
_KEEP, _CHANGE, _HEAD = 0, 1, 2

Price = Callable[[int, int], float]
"""What it costs to send a tensor from one device (its index) to another."""


def improve(problem: Problem, cost: LinearCost, start: Ints) -> Ints:
    """Return a plan at least as good as ``start``, which must be able to run.

    Expansions on every device in turn, until none helps; then swaps; then expansions again.
    """
    devices = [d for d in range(len(problem.devices)) if np.isfinite(cost.node[:, d]).any()]
    best, value = start, cost.value(problem, start)
    budget = _WORK
    for sweep in range(_SWEEPS):
        before = value
        for device in devices:
            budget -= problem.nodes
            if budget < 0:
                return best
            tried = expand(problem, cost, best, device, cautious=sweep % 2 == 1)
            new = cost.value(problem, tried)
            if new < value - _BETTER * abs(value):
                best, value = tried, new
        if value < before or sweep % 2 == 0:
            continue
        for one, other in itertools.combinations(devices, 2):
            active = int(((best == one) | (best == other)).sum())
            if not active:
                continue
            budget -= active
            if budget < 0:
                return best
            tried = swap(problem, cost, best, one, other)
            new = cost.value(problem, tried)
            if new < value - _BETTER * abs(value):
                best, value = tried, new
        if value >= before:
            break
    return best


def _tables(problem: Problem, cost: LinearCost) -> Iterator[Price]:
    """Yield what each tensor's transfer costs, by sender and reader."""
    hop, per_byte = cost.hop.tolist(), cost.hop_per_byte.tolist()
    coding = None if cost.coding is None else cost.coding.whole().tolist()
    for t, tensor in enumerate(problem.tensors):
        more = None if coding is None else coding[t]

        def price(a: int, b: int, size: float = tensor.bytes, more: list[list[float]] | None = more) -> float:
            return float(hop[a][b] + size * per_byte[a][b] + (more[a][b] if more is not None else 0.0))

        yield price


class _Moves(CutGraph):
    """A cut graph whose costs of single vertices may be negative."""

    def __init__(self, vertices: int) -> None:
        super().__init__(vertices)
        self.first = np.zeros(vertices)
        self.second = np.zeros(vertices)

    def pair(self, u: int, v: int, costs: tuple[float, float, float, float]) -> None:
        """Pay for two vertices' sides: (first, first), (first, second), (second, first), (second, second).

        Not submodular costs are raised at (first, second).
        """
        e00, e01, e10, e11 = costs
        if u in (_KEEP, _CHANGE) and v in (_KEEP, _CHANGE):
            return
        if u in (_KEEP, _CHANGE):
            self.first[v] += e10 if u else e00
            self.second[v] += e11 if u else e01
            return
        if v in (_KEEP, _CHANGE):
            self.first[u] += e01 if v else e00
            self.second[u] += e11 if v else e10
            return
        # e(u, v) = e00 + u (e10 - e00) + v (e11 - e10) + [v and not u] (e01 + e10 - e00 - e11)
        if np.isinf(e10):
            self.edge(v, u, np.inf)
            e10 = max(e00 + e11 - (0.0 if np.isinf(e01) else e01), 0.0)
        if np.isinf(e01):
            self.edge(u, v, np.inf)
            e01 = max(e00 + e11 - e10, 0.0)
        self.second[u] += e10 - e00
        self.second[v] += e11 - e10
        self.edge(u, v, e01 + e10 - e00 - e11)

    def solve(self, active: Ints) -> np.ndarray | None:
        """Return which active vertices take the second side; ``None`` if no cut is finite."""
        self.choice(active, self.first[active], self.second[active])
        cut = minimum_cut(self.edges(), _KEEP, _CHANGE, rounds=_ROUNDS)
        return None if cut is None else ~cut.least[active]


def expand(problem: Problem, cost: LinearCost, plan: Ints, target: int, *, cautious: bool) -> Ints:  # noqa: C901
    """Return the plan after the best (or nearly best) change of nodes to one device.

    :param cautious: which of two ways to raise costs that are not submodular, for tensors with
        several readers: pay for the producer that stays (``False``) or the reader that does.
    """
    graph = _Moves(_HEAD + problem.nodes)
    able = np.isfinite(cost.node[:, target]) & (plan != target)
    active = np.flatnonzero(able)
    if not len(active):
        return plan
    vertex = np.where(plan == target, _CHANGE, np.where(able, np.arange(problem.nodes) + _HEAD, _KEEP))
    graph.first[active + _HEAD] = cost.node[active, plan[active]]
    graph.second[active + _HEAD] = cost.node[active, target]
    place, where = plan.tolist(), vertex.tolist()
    source, sink = problem.source_index, problem.sink_index
    for tensor, table in zip(problem.tensors, _tables(problem, cost), strict=True):
        if tensor.producer < 0:
            home, producer = source, (_CHANGE if source == target else _KEEP)
        else:
            home, producer = place[tensor.producer], where[tensor.producer]
        groups: dict[int, list[int]] = {}
        for reader in tensor.readers:
            groups.setdefault(place[reader], []).append(where[reader])
        if tensor.at_sink:
            groups.setdefault(sink, []).append(_CHANGE if sink == target else _KEEP)
        if not groups:
            continue

        def price(a: int, b: int, table: Price = table) -> float:
            return table(a, b) if a != b else 0.0

        if producer != _CHANGE and len(groups) == 1 and home != target:
            (device, readers), = groups.items()
            if len(readers) == 1 and device != target:
                stay = price(home, device)
                graph.pair(producer, readers[0], (stay, price(home, target), price(target, device), 0.0))
                continue
        if producer != _CHANGE:
            movable = [r for members in groups.values() for r in members if r != _KEEP]
            if movable:
                graph.sent(producer, movable, price(home, target), 0.0)
        for device, readers in groups.items():
            if device == target:
                continue
            stay = 0.0 if producer == _CHANGE else price(home, device)
            change = price(target, device)
            if producer == _CHANGE:
                graph.sent(_CHANGE, readers, 0.0, change)
            elif producer == _KEEP:
                graph.sent(_CHANGE, readers, 0.0, stay)
            elif change >= stay:
                graph.sent(_CHANGE, readers, 0.0, stay)
                graph.sent(producer, readers, 0.0, change - stay)
            elif cautious:
                graph.sent(_CHANGE, readers, 0.0, stay)
            else:
                graph.sent(_CHANGE, readers, 0.0, change)
                graph.first[producer] += stay - change
    if cost.overhead is not None:
        for i in range(problem.nodes - 1):
            saved = cost.overhead[i]
            now = -float(saved[place[i]]) if place[i] == place[i + 1] else 0.0
            graph.pair(where[i], where[i + 1], (now, 0.0, 0.0, -float(saved[target])))
    changes = graph.solve(active + _HEAD)
    if changes is None:
        return plan
    moved = plan.copy()
    moved[active[changes]] = target
    return moved


def swap(problem: Problem, cost: LinearCost, plan: Ints, one: int, other: int) -> Ints:
    """Return the best plan in which nodes on two devices choose anew between the two."""
    graph = _Moves(_HEAD + problem.nodes)
    inside = (plan == one) | (plan == other)
    active = np.flatnonzero(inside)
    if not len(active):
        return plan
    graph.first[active + _HEAD] = cost.node[active, one]
    graph.second[active + _HEAD] = cost.node[active, other]
    place, within = plan.tolist(), inside.tolist()
    ends = {one: _KEEP, other: _CHANGE}
    source, sink = problem.source_index, problem.sink_index
    for tensor, price in zip(problem.tensors, _tables(problem, cost), strict=True):
        if tensor.producer < 0:
            home, producer = source, ends.get(source)
        else:
            home = place[tensor.producer]
            producer = tensor.producer + _HEAD if within[tensor.producer] else None
        movable = [r + _HEAD for r in tensor.readers if within[r]]
        fixed = {place[r] for r in tensor.readers if not within[r]}
        if tensor.at_sink:
            if sink in ends:
                movable.append(ends[sink])
            else:
                fixed.add(sink)
        if producer is None:
            if movable:
                graph.sent(_CHANGE, movable, 0.0, price(home, one))
                graph.sent(_KEEP, movable, price(home, other), 0.0)
            continue
        if producer >= _HEAD:
            for device in fixed:
                graph.first[producer] += price(one, device)
                graph.second[producer] += price(other, device)
        if movable:
            forth, back = price(one, other), price(other, one)
            graph.sent(producer, movable, forth, back)
    if cost.overhead is not None:
        for i in np.flatnonzero(inside[1:] & inside[:-1]).tolist():
            saved = cost.overhead[i]
            graph.pair(i + _HEAD, i + 1 + _HEAD, (-float(saved[one]), 0.0, 0.0, -float(saved[other])))
    changes = graph.solve(active + _HEAD)
    if changes is None:
        return plan
    moved = plan.copy()
    moved[active] = np.where(changes, other, one)
    return moved
