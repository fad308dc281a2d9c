# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Minimum cuts with real capacities from scipy's integer maximum flow.

``scipy.sparse.csgraph.maximum_flow`` (Dinic 1970) takes 32-bit integers, which on their own leave
an error of about 1e-7. Here each round scales what is left of the capacities to integers, adds the
flow found, and bounds what further flow there can be by the cut it ended on; the next round scales
by that bound. Two or three rounds reach the accuracy of a double, and the last bound is a proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_dnn_partition.planning.cost_model.problem import Bools, Floats, Ints

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_LARGEST: Final = 2**29
_ROUNDS: Final = 6
_EXACT: Final = 1e-11
_RESIDUAL: Final = 1e-12
"""Share of the cut below which what an edge has left counts as nothing."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Directed edges with capacities (infinite allowed) between vertices ``0 .. vertices - 1``."""

    vertices: int
    tails: Ints
    heads: Ints
    capacities: Floats


@dataclass(frozen=True, eq=False)
class MinimumCut:
    """A minimum cut.

    :param side: vertices on the source's side in the cut that ``gap`` is proven for.
    :param least: the same in the cut with the smallest such side, as far as numbers can tell.
    :param most: the same for the largest such side.
    :param flow: the maximum flow found, a lower bound for every cut.
    :param gap: how far the cut may be above it.
    :param tied: tails and heads of edges that no minimum cut cuts: a minimum cut with the tail
        on the source's side has the head there too, and every such set is a minimum cut.
    """

    side: Bools
    least: Bools
    most: Bools
    flow: float
    gap: float
    tied: tuple[Ints, Ints]


def _reach(graph: csr_matrix, start: int) -> Bools:
    from scipy.sparse.csgraph import breadth_first_order

    reached = np.zeros(graph.shape[0], dtype=np.bool_)
    reached[breadth_first_order(graph, start, directed=True, return_predecessors=False)] = True
    return reached


def _graph(vertices: int, tails: Ints, heads: Ints) -> csr_matrix:
    """Return a graph of edges whose tails rise."""
    from scipy.sparse import csr_matrix

    starts = np.zeros(vertices + 1, dtype=np.int32)
    np.cumsum(np.bincount(tails, minlength=vertices), out=starts[1:])
    return csr_matrix((np.ones(len(tails), dtype=np.int8), heads.astype(np.int32), starts), shape=(vertices, vertices))


def minimum_cut(edges: Edges, source: int, sink: int) -> MinimumCut | None:
    """Return a minimum cut between two vertices; ``None`` if every cut is infinite.

    :raises ValueError: if a capacity is negative or no number.
    """
    from scipy.sparse import csr_matrix  # of two dozen megabytes: a process that plans nothing does without
    from scipy.sparse.csgraph import maximum_flow

    keep = (edges.tails != edges.heads) & (edges.capacities != 0)
    tails, heads, capacities = edges.tails[keep], edges.heads[keep], edges.capacities[keep]
    if not (capacities >= 0).all():
        raise ValueError('a capacity is negative or no number')
    size = edges.vertices
    # one entry per ordered pair, and for each its reverse
    keys, inverse = np.unique(np.concatenate((tails * size + heads, heads * size + tails)), return_inverse=True)
    left = np.bincount(inverse[: len(tails)], capacities, minlength=len(keys))
    u, v = keys // size, keys % size
    starts = np.searchsorted(keys, np.arange(size + 1) * size).astype(np.int32)
    endless = np.isinf(left)
    if endless.any() and _reach(_graph(size, u[endless], v[endless]), source)[sink]:
        return None
    finite = left[~endless]
    out_of_source, into_sink = float(left[u == source].sum()), float(left[v == sink].sum())
    bound = min(out_of_source, into_sink, float(finite.sum()))
    flow = 0.0
    gap = 0.0
    side: Bools | None = None
    columns = v.astype(np.int32)
    for _ in range(_ROUNDS):
        if bound <= 0:
            break
        scale = _LARGEST / bound
        scaled = np.minimum(left * scale, float(_LARGEST + 1)).astype(np.int32)
        graph = csr_matrix((scaled, columns, starts), shape=(size, size))
        found = maximum_flow(graph, source, sink)  # type: ignore[arg-type]  # the stubs know csr_array only
        moved = found.flow
        if not np.array_equal(moved.indices, columns):  # pragma: no cover - scipy keeps the structure
            moved = (moved + graph * 0).tocsr()
            moved.sort_indices()
        flow += found.flow_value / scale
        open_ = scaled - moved.data > 0
        left = np.maximum(left - moved.data / scale, 0.0)
        side = _reach(_graph(size, u[open_], v[open_]), source)
        crossing = side[u] & ~side[v]
        gap = float(left[crossing].sum())
        bound = gap
        if gap <= _EXACT * flow:
            break
    slack = max(_RESIDUAL * flow, 2 * gap)  # what is left of the flow cannot pass over edges above the gap
    loose = left > slack
    forward = _graph(size, u[loose], v[loose])
    least = _reach(forward, source)
    most = ~_reach(forward.T.tocsr(), sink)
    if side is None:  # no capacity leads from the source to the sink
        side = least
    return MinimumCut(side, least, most, flow, gap, (u[loose], v[loose]))
