# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A lower bound for what is left of a plan: the graph cut into paths, each solved by Viterbi.

Of each node's inputs at most one is kept, and of each node's readers at most one: the first reader
of the tensor with the most bytes. What is dropped costs nothing, so that the sum over the paths is
a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Floats, Problem


@dataclass(frozen=True, eq=False)
class PathBound:
    """Lower bounds of what follows.

    :param child: the next node of each node's path, or -1.
    :param after: ``(nodes, devices)``: what follows a node on its path, the node itself left out.
    :param later: ``(nodes + 1,)``: all paths that begin at this node or later.
    :param upto: ``(nodes, devices)``: what a node's path costs up to it, the node included.
    """

    child: list[int]
    parent: list[int]
    after: Floats
    later: list[float]
    upto: Floats

    @property
    def through(self) -> Floats:
        """The bound of all plans that have a node on a device, ``(nodes, devices)``."""
        first = list(range(len(self.parent)))
        for node, parent in enumerate(self.parent):
            if parent != -1:
                first[node] = first[parent]
        own = np.array([self.later[node] - self.later[node + 1] for node in first])
        return np.asarray(self.upto + self.after + (self.later[0] - own)[:, None], dtype=np.float64)


def path_bound(problem: Problem, cost: LinearCost) -> PathBound:  # noqa: C901
    """Return the bound of a problem under a cost."""
    count = problem.nodes
    child, parent, link = [-1] * count, [-1] * count, [-1] * count
    order = sorted(range(len(problem.tensors)), key=lambda t: (-problem.tensors[t].bytes, t))
    from_input = [-1] * count
    for t in order:
        tensor = problem.tensors[t]
        if not tensor.readers:
            continue
        reader = tensor.readers[0]
        if parent[reader] != -1 or from_input[reader] != -1:
            continue
        if tensor.producer == INPUT:
            from_input[reader] = t
        elif child[tensor.producer] == -1:
            child[tensor.producer], parent[reader], link[tensor.producer] = reader, tensor.producer, t
    source, sink = problem.source_index, problem.sink_index
    node = cost.node.copy()
    for outputs in problem.node_outputs:
        for t in outputs:
            tensor = problem.tensors[t]
            if tensor.at_sink:
                node[tensor.producer] += cost.transfer(problem, t)[:, sink]
    diagonal = np.arange(len(problem.devices))
    after = np.zeros_like(node)
    starts = np.zeros(count)
    hops: list[Floats | None] = [None] * count
    for i in range(count - 1, -1, -1):
        if cost.overhead is not None and i and parent[i] != i - 1:
            node[i] -= np.maximum(cost.overhead[i - 1], 0.0)
        follower = child[i]
        if follower != -1:
            tensor = problem.tensors[link[i]]
            hop = cost.transfer(problem, link[i])
            if tensor.at_sink:
                hop[:, sink] = 0.0
            if cost.overhead is not None and follower == i + 1:
                hop[diagonal, diagonal] -= cost.overhead[i]
            hops[follower] = hop
            after[i] = (hop + (node[follower] + after[follower])[None, :]).min(axis=1)
        if parent[i] == -1:
            begin = node[i] + after[i]
            if from_input[i] != -1:
                begin = begin + cost.transfer(problem, from_input[i])[source]
            starts[i] = begin.min()
    upto = node
    for i in range(count):
        way = hops[i]
        if way is not None:
            upto[i] += (upto[parent[i]][:, None] + way).min(axis=0)
        elif from_input[i] != -1:
            upto[i] += cost.transfer(problem, from_input[i])[source]
    later = np.concatenate((np.cumsum(starts[::-1])[::-1], [0.0]))
    return PathBound(child, parent, after, later.tolist(), upto)
