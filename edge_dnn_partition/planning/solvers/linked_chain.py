# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Exact plans for chains on large fleets: Viterbi over the links that there are, and not over all pairs of devices.

As :mod:`.chain`, in ``O(nodes x (devices + links))``. A thousand devices with links to eight servers have a million pairs, of
which one in sixty is a link.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.problem import Ints, Problem

from .chain import TIE, arc_costs

FEW: Final = 48
"""Devices up to which all pairs are as quick."""


def only_path(problem: Problem, cost: LinearCost) -> Ints | None:
    """Return a chain's cheapest plan if there is just one.

    :returns: device indices; None where no plan can run or another is as cheap but for rounding, which :func:`.chain.shortest`
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
    slack = TIE * max(abs(value), float(np.abs(prefix[np.isfinite(prefix)]).max()))
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
