# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Exact plans for chains on any number of devices: Viterbi over (position, device).

After A. Viterbi, "Error bounds for convolutional codes", IEEE Trans. Inf. Theory 13 (1967):
shortest path through a trellis, ``O(nodes x devices^2)``. Ties are broken by further passes over
the arcs that lie on some shortest path, one cost after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .linear import LinearCost
from .problem import INPUT, Bools, Floats, Ints, Problem

TIE = 4e-13
"""Relative difference below which two partial sums count as equal."""


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
    count, devices = cost.node.shape
    node = cost.node.copy()
    source, sink = problem.source_index, problem.sink_index
    constant = 0.0
    fast: list[int] = []
    special: list[tuple[int, Floats]] = []
    for t, tensor in enumerate(problem.tensors):
        transfer = None
        if tensor.producer == INPUT:
            transfer = cost.transfer(problem, t)
            if tensor.readers:
                node[tensor.readers[0]] += transfer[source]
            elif tensor.at_sink:
                constant += float(transfer[source, sink])
        elif tensor.readers and tensor.at_sink:
            transfer = cost.transfer(problem, t)
            both = transfer + np.where(np.arange(devices)[None, :] == sink, 0.0, transfer[:, sink][:, None])
            special.append((tensor.producer, both))
        elif tensor.readers:
            fast.append(t)
        elif tensor.at_sink:
            node[tensor.producer] += cost.transfer(problem, t)[:, sink]
    arcs = np.zeros((count - 1, devices, devices))
    sent = np.array(fast, dtype=np.int64)
    at = problem.producers[sent]
    transfers = cost.hop.T[None] + problem.tensor_bytes[sent][:, None, None] * cost.hop_per_byte.T[None]
    if cost.coding is not None:
        transfers += cost.coding[sent].transpose(0, 2, 1)
    if len(np.unique(at)) == len(at):
        arcs[at] = transfers
    else:
        np.add.at(arcs, at, transfers)
    for i, both in special:
        arcs[i] += both.T
    arcs += node[1:, :, None]
    if cost.seam is not None and count > 1:
        diagonal = np.arange(devices)
        arcs[:, diagonal, diagonal] -= cost.seam
    return Trellis(node[0], arcs, constant)


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


def shortest(levels: Iterable[Trellis]) -> tuple[Ints, float] | None:
    """Return the lexicographically best path and its cost at the first level; ``None`` if none is finite.

    :param levels: costs in order of importance, of equal shapes; remaining ties go to the
        path whose devices come first.
    """
    allowed: Bools | None = None
    ends: Bools | None = None
    best = np.inf
    for level, costs in enumerate(levels):
        first, arcs = costs.first, costs.arcs
        if allowed is not None and ends is not None:
            first = np.where(ends, first, np.inf)
            arcs = np.where(allowed, arcs, np.inf)
        prefix = forward(Trellis(first, arcs))
        value = float(prefix[-1].min())
        if level == 0:
            if not np.isfinite(value + costs.constant):
                return None
            best = value + costs.constant
        slack = TIE * max(abs(value), float(np.abs(prefix[np.isfinite(prefix)]).max(initial=0.0)))
        with np.errstate(invalid='ignore'):
            tight = arcs + prefix[:-1, None, :] <= prefix[1:, :, None] + slack
        tight &= np.isfinite(prefix[1:, :, None])
        last = prefix[-1] <= value + slack
        path = _only_path(tight, last)
        if path is not None:
            return path, best
        allowed, ends = _live(tight, last)
    assert allowed is not None and ends is not None
    return _first_path(allowed, ends), best


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
