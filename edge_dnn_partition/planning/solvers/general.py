# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Any graph on any number of devices under a cost that adds up: moves, frontier search, HiGHS.

The general problem is NP-hard. Moves give a good plan in little time; the frontier search, with
that plan as its bound, and a mixed-integer program prove it best where the graph is narrow or small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model import batch
from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.problem import Ints, Problem

from . import chain, frontier, milp, moves
from .judge import Answer, Judge

_NO_LINK: Final = 1e6
"""Stands for a missing link in the rough trellis, whose paths need not be plans."""


def answer_general(problem: Problem, judge: Judge, costs: Sequence[LinearCost]) -> Answer:
    """Return the best plan found for a graph, with its proof where there is one."""
    limited = bool(np.isfinite(problem.column('memory_bytes')).any())
    cost = costs[0]
    known = np.inf
    for start in starts(problem, cost):
        judge.offer(start)
        known = min(known, cost.value(problem, start))
    search = frontier.search(problem, costs, bound=known, work=0)
    if not search.complete:
        if search.best is not None:
            judge.offer(search.best)
            known = min(known, cost.value(problem, search.best))
        search = frontier.search(problem, costs, bound=known)
    if search.best is None and search.complete:
        return Answer(None, True)
    if search.best is not None:
        fits = np.isfinite(judge.offer(search.best))
        if search.complete and fits:
            return Answer(judge.best, True)
        if not search.complete:
            judge.offer(moves.improve(problem, cost, search.best))
    elif judge.best is not None:
        judge.offer(moves.improve(problem, cost, judge.best))
    if limited and batch.count_assignments(problem) <= batch.ENUMERATED:
        from .throughput import enumerate_all

        return enumerate_all(problem, judge)
    if limited:
        from .memory import fit

        if fit(problem, judge, costs):
            return Answer(judge.best, True)
    result = milp.linear(problem, costs[0], judge.best)
    if result is None:
        return Answer(judge.best, False)
    judge.offer(result.assignment)
    return Answer(judge.best, result.proves(problem, costs[0], judge.best))


def starts(problem: Problem, cost: LinearCost) -> Iterator[Ints]:
    """Yield plans to begin with: all on one device, Viterbi along the order, each node where it is fastest."""
    for device in range(len(problem.devices)):
        yield np.full(problem.nodes, device, dtype=np.int64)
    if problem.nodes * len(problem.devices) ** 2 <= 4_000_000:
        path = chain.shortest([relaxed_trellis(problem, cost)])
        if path is not None:
            yield path[0]
    yield cost.node.argmin(axis=1).astype(np.int64)


def relaxed_trellis(problem: Problem, cost: LinearCost) -> chain.Trellis:
    """Return a trellis that pays each tensor once, to the first of its readers, as if that came next."""
    count, devices = cost.node.shape
    node = cost.node.copy()
    arcs = np.zeros((max(count - 1, 0), devices, devices))
    source, sink = problem.source_index, problem.sink_index
    for t, tensor in enumerate(problem.tensors):
        transfer = cost.transfer(problem, t)
        if tensor.producer < 0:
            if tensor.readers:
                node[tensor.readers[0]] += np.where(np.isinf(transfer[source]), 0.0, transfer[source])
        elif tensor.readers:
            arcs[tensor.readers[0] - 1] += np.where(np.isinf(transfer.T), _NO_LINK, transfer.T)
        elif tensor.at_sink:
            node[tensor.producer] += transfer[:, sink]
    return chain.Trellis(node[0], arcs + node[1:, :, None])
