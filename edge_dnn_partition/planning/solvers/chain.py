# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Exact plans for chains on any number of devices: Viterbi over (position, device).

After A. Viterbi, "Error bounds for convolutional codes", IEEE Trans. Inf. Theory 13 (1967):
shortest path through a trellis, ``O(nodes x devices^2)``. Ties are broken by further passes over
the arcs that lie on some shortest path, one cost after the other. Large fleets are searched over the links
that there are, ``O(nodes x (devices + links))``: of a million pairs of devices few are links.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Bools, Floats, Ints, Problem

_TIE: Final = 4e-13
"""Relative difference below which two partial sums count as equal."""
FEW: Final = 48
"""Devices up to which all pairs are searched as quickly as the links alone."""


@dataclass(frozen=True, eq=False)
class Trellis:
    """A chain's costs.

    :param first: ``(devices,)``: node 0 on each device.
    :param arcs: ``(nodes - 1, devices, devices)``: ``arcs[i, b, a]`` is node ``i + 1`` on ``b`` after node ``i`` on ``a``.
    :param constant: what every path pays.
    """

    first: Floats
    arcs: Floats
    constant: float = 0.0


def trellis(problem: Problem, cost: LinearCost) -> Trellis:
    """Return a chain's costs as a trellis; the problem must be a chain (``problem.is_chain``)."""
    every = np.arange(len(problem.devices))
    first, arcs, constant = arc_costs(problem, cost, every[None, :], every[:, None])
    return Trellis(first, arcs, constant)


def arc_costs(problem: Problem, cost: LinearCost, sender: Ints, reader: Ints) -> tuple[Floats, Floats, float]:
    """Return what a chain's nodes cost after one another on some pairs of devices.

    :param sender: the device of node ``i``, and
    :param reader: that of node ``i + 1``, of each pair; of shapes that broadcast.
    :returns: node 0 on each device ``(devices,)``, node ``i + 1`` with the way to it ``(nodes - 1, *pairs)``, and what
        every path pays.
    """
    node = cost.node.copy()
    source, sink = problem.source_index, problem.sink_index
    every = np.arange(len(problem.devices))
    constant = 0.0
    sent: list[int] = []
    for t, tensor in enumerate(problem.tensors):
        if tensor.producer != INPUT:
            if tensor.readers:
                sent.append(t)
            elif tensor.at_sink:
                node[tensor.producer] += cost.prices(problem, t, every, sink)
        elif tensor.readers:
            node[tensor.readers[0]] += cost.prices(problem, t, source, every)
        elif tensor.at_sink:
            constant += float(cost.prices(problem, t, source, sink))
    row = np.array(sent, dtype=np.int64).reshape(-1, *(1,) * np.broadcast(sender, reader).ndim)
    transfers = cost.prices(problem, row, sender[None], reader[None])
    for i, t in enumerate(sent):
        if problem.tensors[t].at_sink:
            transfers[i] += np.where(reader == sink, 0.0, cost.prices(problem, t, sender, sink))
    at = problem.producers[np.array(sent, dtype=np.int64)]
    arcs = np.zeros((len(node) - 1, *transfers.shape[1:]))
    if len(np.unique(at)) == len(at):
        arcs[at] = transfers
    else:
        np.add.at(arcs, at, transfers)
    arcs += node[1:, reader]
    if cost.overhead is not None and len(arcs):
        arcs -= np.where(sender == reader, cost.overhead[:, reader], 0.0)
    return node[0], arcs, constant


def stage_trellis(nodes: int, devices: int) -> Trellis:
    """Return the trellis that counts changes of device."""
    return Trellis(np.zeros(devices), np.broadcast_to(1.0 - np.eye(devices), (nodes - 1, devices, devices)))


def forward(costs: Trellis) -> Floats:
    """Return the least cost of each prefix that ends on each device, ``(nodes, devices)``."""
    steps = len(costs.arcs)
    prefix = np.empty((steps + 1, len(costs.first)))
    prefix[0] = costs.first
    buffer = np.empty_like(costs.arcs[0] if steps else prefix)
    for i in range(steps):
        np.add(costs.arcs[i], prefix[i], out=buffer)
        np.minimum.reduce(buffer, axis=1, out=prefix[i + 1])
    return prefix


def rest(costs: Trellis) -> Floats:
    """Return the least cost of what follows a node on each device, ``(nodes, devices)``."""
    after = np.zeros((len(costs.arcs) + 1, len(costs.first)))
    for i in range(len(costs.arcs) - 1, -1, -1):
        after[i] = (costs.arcs[i] + after[i + 1][:, None]).min(axis=0)
    return after


def shortest(levels: Iterable[Trellis]) -> Ints | None:
    """Return the lexicographically best path; ``None`` if none is finite.

    :param levels: costs in order of importance, of equal shapes; remaining ties go to the
        path whose devices come first.
    """
    allowed: Bools | None = None
    ends: Bools | None = None
    for level, costs in enumerate(levels):
        first, arcs = costs.first, costs.arcs
        if allowed is not None and ends is not None:
            first = np.where(ends, first, np.inf)
            arcs = np.where(allowed, arcs, np.inf)
        prefix = forward(Trellis(first, arcs))
        value = float(prefix[-1].min())
        if level == 0 and not np.isfinite(value + costs.constant):
            return None
        slack = _TIE * max(abs(value), float(np.abs(prefix[np.isfinite(prefix)]).max(initial=0.0)))
        with np.errstate(invalid='ignore'):
            tight = arcs + prefix[:-1, None, :] <= prefix[1:, :, None] + slack
        tight &= np.isfinite(prefix[1:, :, None])
        last = prefix[-1] <= value + slack
        path = _only_path(tight, last)
        if path is not None:
            return path
        allowed, ends = _live(tight, last)
    assert allowed is not None and ends is not None
    return _first_path(allowed, ends)


def _only_path(tight: Bools, last: Bools) -> Ints | None:
    """Return the path if there is just one."""
    if int(last.sum()) != 1:
        return None
    counts = tight.sum(axis=2).tolist()
    before = tight.argmax(axis=2).tolist()
    at = int(last.argmax())
    path = [at]
    for i in range(len(tight) - 1, -1, -1):
        if counts[i][at] != 1:
            return None
        at = before[i][at]
        path.append(at)
    return np.array(path[::-1], dtype=np.int64)


def _live(tight: Bools, last: Bools) -> tuple[Bools, Bools]:
    """Return the arcs, and the devices of node 0, that lie on a path to an allowed end."""
    live = tight.copy()
    ends = last
    for i in range(len(tight) - 1, -1, -1):
        live[i] &= ends[:, None]
        ends = live[i].any(axis=0)
    return live, ends


def _first_path(allowed: Bools, ends: Bools) -> Ints:
    at = int(ends.argmax())
    path = [at]
    for step in allowed:
        at = int(step[:, at].argmax())
        path.append(at)
    return np.array(path, dtype=np.int64)


def only_path(problem: Problem, cost: LinearCost) -> Ints | None:
    """Return a chain's cheapest plan, searched over the links alone, if there is just one.

    :returns: device indices; None where no plan can run or another is as cheap but for rounding, which :func:`shortest`
        tells apart.
    """
    pairs = problem.rate.T > 0
    np.fill_diagonal(pairs, True)
    reader, sender = np.nonzero(pairs)  # in the order of readers, each of which has a way from itself
    begin = np.searchsorted(reader, np.arange(len(pairs) + 1))
    first, arcs, _ = arc_costs(problem, cost, sender, reader)
    prefix = np.empty((len(arcs) + 1, len(first)))
    prefix[0] = first
    for step, arc in enumerate(arcs):
        np.minimum.reduceat(arc + prefix[step][sender], begin[:-1], out=prefix[step + 1])
    at = int(prefix[-1].argmin())
    value = float(prefix[-1, at])
    if not np.isfinite(value):
        return None
    slack = _TIE * max(abs(value), float(np.abs(prefix[np.isfinite(prefix)]).max()))
    if int((prefix[-1] <= value + slack).sum()) != 1:
        return None
    path = [at]
    for step in range(len(arcs) - 1, -1, -1):
        into = slice(begin[at], begin[at + 1])
        before = arcs[step, into] + prefix[step][sender[into]]
        best = int(before.argmin())
        if int((before <= prefix[step + 1, at] + slack).sum()) != 1:
            return None
        at = int(sender[into][best])
        path.append(at)
    return np.array(path[::-1], dtype=np.int64)
