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
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from .maxflow import Edges, MinimumCut, minimum_cut

_HEAD: Final = 2
_FIRST, _SECOND = 0, 1
_EQUAL: Final = 1e-10


@dataclass
class CutGraph:
    """A graph under construction: vertex 0 is the first device, 1 the second, then the nodes, then auxiliaries."""

    vertices: int
    tails: list[int] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)
    capacities: list[float] = field(default_factory=list)
    bulk: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)

    def edge(self, tail: int, head: int, capacity: float) -> None:
        """Pay ``capacity`` where the tail is on the first device and the head on the second."""
        if tail != head and capacity > 0:
            self.tails.append(tail)
            self.heads.append(head)
            self.capacities.append(capacity)

    def choice(self, node: Ints, first: Floats, second: Floats) -> None:
        """Pay ``first`` for each node on the first device, ``second`` on the second (what both cost is left out)."""
        both = np.isinf(first) & np.isinf(second)
        base = np.minimum(first, second)
        base = np.where(np.isinf(base), 0.0, base)
        ones = np.zeros_like(node)
        self.bulk.append((node, ones + _SECOND, np.where(both, np.inf, first - base)))
        self.bulk.append((ones + _FIRST, node, np.where(both, np.inf, second - base)))

    def sent(self, producer: int, readers: Sequence[int], forth: float, back: float) -> None:
        """Pay ``forth`` once if the producer is on the first device and some reader on the second; ``back`` else."""
        if len(readers) == 1:
            self.edge(producer, readers[0], forth)
            self.edge(readers[0], producer, back)
            return
        if forth > 0:
            self.edge(producer, self.vertices, forth)
            for reader in readers:
                self.edge(self.vertices, reader, np.inf)
            self.vertices += 1
        if back > 0:
            self.edge(self.vertices, producer, back)
            for reader in readers:
                self.edge(reader, self.vertices, np.inf)
            self.vertices += 1

    def edges(self) -> Edges:
        """Return the edges as arrays."""
        parts = [(np.array(self.tails, dtype=np.int64), np.array(self.heads, dtype=np.int64), np.array(self.capacities))]
        tails, heads, capacities = zip(*(parts + self.bulk), strict=True)
        return Edges(self.vertices, np.concatenate(tails), np.concatenate(heads), np.concatenate(capacities))


def applies(problem: Problem, cost: LinearCost) -> bool:
    """Return whether the cost has a cut graph: two devices, and boundary overheads that do not cost more than they save."""
    if len(problem.devices) != 2:
        return False
    return cost.overhead is None or bool((cost.overhead.sum(axis=1) >= 0).all())


def cut_graph(problem: Problem, cost: LinearCost) -> Edges:
    """Return the edges whose cuts cost what assignments do, up to a constant."""
    graph = CutGraph(_HEAD + problem.nodes)
    nodes = np.arange(problem.nodes) + _HEAD
    first, second = cost.node[:, 0].copy(), cost.node[:, 1].copy()
    if cost.overhead is not None and problem.nodes > 1:
        # -s0 where both are on the first device and -s1 where both are on the second is half of each
        # for either node, and half of both where they part
        s0, s1 = cost.overhead[:, 0], cost.overhead[:, 1]
        for part in (slice(0, -1), slice(1, None)):
            first[part] -= s0 / 2
            second[part] -= s1 / 2
        half = (s0 + s1) / 2
        graph.bulk += [(nodes[:-1], nodes[1:], half), (nodes[1:], nodes[:-1], half)]
    graph.choice(nodes, first, second)
    _add_tensors(problem, cost, graph)
    return graph.edges()


def _add_tensors(problem: Problem, cost: LinearCost, graph: CutGraph) -> None:
    """Add every tensor's transfers, all at once; for one tensor :meth:`CutGraph.sent` does the same."""
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
    for a, b, forward in ((0, 1, True), (1, 0, False)):
        price = cost.hop[a, b] + cost.hop_per_byte[a, b] * size
        if cost.coding is not None:
            price = price + cost.coding[:, a, b]
        auxiliary = np.cumsum(many) - 1 + graph.vertices  # only those of tensors with several readers count
        graph.vertices += int(many.sum())
        tails = np.concatenate((home[tensor[alone]], home[many], auxiliary[tensor[~alone]]))
        heads = np.concatenate((reader[alone], auxiliary[many], reader[~alone]))
        capacities = np.concatenate((price[tensor[alone]], price[many], np.full(int((~alone).sum()), np.inf)))
        graph.bulk.append((tails, heads, capacities) if forward else (heads, tails, capacities))


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

