# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Exact plans for two devices on any graph: minimum cuts.

After H. S. Stone, "Multiprocessor scheduling with the aid of network flow algorithms", IEEE Trans.
Software Eng. 3 (1977), and for tensors with several readers the auxiliary vertices of DADS (Hu et
al., INFOCOM 2019), here one for each direction, which stays exact where links differ by direction.

Of the two devices the first lies on the source's side of the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from .maxflow import Edges, MinimumCut, minimum_cut

_HEAD: Final = 2
_FIRST, _SECOND = 0, 1
_EQUAL: Final = 1e-10


def applies(problem: Problem, cost: LinearCost) -> bool:
    """Return whether the cost has a cut graph: two devices, and boundary overheads that do not cost more than they save."""
    if len(problem.devices) != 2:
        return False
    return cost.overhead is None or bool((cost.overhead.sum(axis=1) >= 0).all())


def cut_graph(problem: Problem, cost: LinearCost) -> Edges:
    """Return the edges whose cuts cost what assignments do, up to a constant.

    Vertex 0 is the first device, 1 the second, then come the nodes, then auxiliary vertices of tensors. An edge is paid where its
    tail is on the first device and its head on the second.
    """
    nodes = np.arange(problem.nodes) + _HEAD
    first, second = cost.node[:, 0].copy(), cost.node[:, 1].copy()
    parts: list[tuple[Ints, Ints, Floats]] = []
    if cost.overhead is not None and problem.nodes > 1:
        # -s0 where both are on the first device and -s1 where both are on the second is half of each
        # for either node, and half of both where they part
        s0, s1 = cost.overhead[:, 0], cost.overhead[:, 1]
        for part in (slice(0, -1), slice(1, None)):
            first[part] -= s0 / 2
            second[part] -= s1 / 2
        half = (s0 + s1) / 2
        parts += [(nodes[:-1], nodes[1:], half), (nodes[1:], nodes[:-1], half)]
    nowhere = np.isinf(first) & np.isinf(second)
    base = np.minimum(first, second)  # what both devices cost is left out
    base[nowhere] = 0.0
    parts.append((nodes, np.full_like(nodes, _SECOND), np.where(nowhere, np.inf, first - base)))
    parts.append((np.full_like(nodes, _FIRST), nodes, np.where(nowhere, np.inf, second - base)))
    sent, vertices = _tensor_edges(problem, cost)
    tails, heads, capacities = zip(*parts, *sent, strict=True)
    return Edges(vertices, np.concatenate(tails), np.concatenate(heads), np.concatenate(capacities))


def _tensor_edges(problem: Problem, cost: LinearCost) -> tuple[list[tuple[Ints, Ints, Floats]], int]:
    """Return the edges of every tensor's transfers, and how many vertices there are with the auxiliary ones.

    A tensor is paid once in each direction, whatever the number of its readers: if they are several, through a vertex of its
    own for each direction.
    """
    ends = np.array((_FIRST, _SECOND))
    producers = problem.producers
    home = np.where(producers == INPUT, ends[problem.source_index], producers + _HEAD)
    tensor, reader = problem.readings
    finals = np.flatnonzero(problem.at_sink)
    tensor = np.concatenate((tensor, finals))
    reader = np.concatenate((reader + _HEAD, np.full(len(finals), ends[problem.sink_index])))
    size = problem.tensor_bytes
    many = np.bincount(tensor, minlength=len(size)) > 1
    alone = ~many[tensor]
    parts, vertices = [], _HEAD + problem.nodes
    for a, b, forward in ((0, 1, True), (1, 0, False)):
        price = cost.hop[a, b] + cost.hop_per_byte[a, b] * size
        if cost.coding is not None:
            price = price + cost.coding[:, a, b]
        auxiliary = np.cumsum(many) - 1 + vertices  # only those of tensors with several readers count
        vertices += int(many.sum())
        tails = np.concatenate((home[tensor[alone]], home[many], auxiliary[tensor[~alone]]))
        heads = np.concatenate((reader[alone], auxiliary[many], reader[~alone]))
        capacities = np.concatenate((price[tensor[alone]], price[many], np.full(int((~alone).sum()), np.inf)))
        parts.append((tails, heads, capacities) if forward else (heads, tails, capacities))
    return parts, vertices


def stage_edges(problem: Problem, vertices: int) -> Edges:
    """Return edges that count changes of device between neighbours."""
    nodes = np.arange(problem.nodes - 1) + _HEAD
    ones = np.ones(len(nodes))
    return Edges(
        vertices,
        np.concatenate((nodes, nodes + 1)),
        np.concatenate((nodes + 1, nodes)),
        np.concatenate((ones, ones)),
    )


def solve(problem: Problem, levels: Sequence[LinearCost]) -> tuple[Ints, float] | None:
    """Return the best assignment and the proven gap at the first level; ``None`` if none can run.

    :param levels: costs in order of importance. What is then still equal goes to fewer stages,
        then to the first device.
    """
    graphs = [cut_graph(problem, levels[0])]
    best = minimum_cut(graphs[0], _FIRST, _SECOND)
    if best is None:
        return None
    gap = best.gap
    tied: list[tuple[Ints, Ints]] = []
    cut: MinimumCut = best
    for level in range(1, len(levels) + 1):
        if _unique(problem, cut):
            break
        # only cuts that cut no tied edge are minimal at the levels before; auxiliaries keep their number
        tied.append(cut.tied)
        edges = cut_graph(problem, levels[level]) if level < len(levels) else stage_edges(problem, 0)
        following = minimum_cut(_joined(problem, edges, tied), _FIRST, _SECOND)
        if following is None:
            break
        cut = following
    nodes = slice(_HEAD, _HEAD + problem.nodes)
    proven = np.where(best.side[nodes], 0, 1).astype(np.int64)
    first = np.where(cut.most[nodes], 0, 1).astype(np.int64)
    least = levels[0].value(problem, proven)
    if not levels[0].value(problem, first) <= least + _EQUAL * abs(least):
        first = proven
    return first, gap


def _unique(problem: Problem, cut: MinimumCut) -> bool:
    nodes = slice(_HEAD, _HEAD + problem.nodes)
    return bool((cut.least[nodes] == cut.most[nodes]).all())


def _joined(problem: Problem, edges: Edges, tied: Sequence[tuple[Ints, Ints]]) -> Edges:
    """Return the edges with those that may not be cut added; each level has auxiliaries of its own."""
    shared = _HEAD + problem.nodes
    tails, heads, capacities = [edges.tails], [edges.heads], [edges.capacities]
    vertices = max(edges.vertices, shared)
    for u, v in tied:
        last = int(max(u.max(initial=0), v.max(initial=0))) + 1
        shift = vertices - shared
        tails.append(np.where(u < shared, u, u + shift))
        heads.append(np.where(v < shared, v, v + shift))
        capacities.append(np.full(len(u), np.inf))
        vertices = max(vertices, last + shift)
    return Edges(vertices, np.concatenate(tails), np.concatenate(heads), np.concatenate(capacities))

