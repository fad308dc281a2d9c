# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A bound for chains in which no device has two stages: Viterbi that remembers some devices.

The trellis alone may come back to a device. Where its best path does, that device is remembered
from then on (which of the remembered ones have been used is part of the state), and the path is
sought again, until it comes back to none or too many are remembered: decremental state-space
relaxation, Righini and Salani, "New dynamic programming algorithms for the resource constrained
elementary shortest path problem", Networks 51 (2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.problem import Floats, Ints

from .chain import Trellis

_WORK: Final = 30_000_000


@dataclass(frozen=True, eq=False)
class Rest:
    """Lower bounds of what follows.

    :param remembered: devices, rising.
    :param after: ``(nodes, 2**remembered, devices)``: what follows a node on a device, where a bit is
        set for each remembered device that has been used.
    :param path: the best path under this bound.
    :param exact: the path comes back to no device, so that it is the best of all.
    """

    remembered: tuple[int, ...]
    after: Floats
    path: Ints
    exact: bool

    def bound(self, node: int, used: Ints, device: Ints) -> Floats:
        """Return what follows, for devices used (a bit each) and the present device."""
        state = np.zeros_like(used)
        for bit, kept in enumerate(self.remembered):
            state |= ((used >> kept) & 1) << bit
        rest: Floats = self.after[node, state, device]
        return rest


def rest_bound(costs: Trellis) -> Rest | None:
    """Return the bound; ``None`` if no path is finite."""
    nodes, devices = len(costs.arcs) + 1, len(costs.first)
    remembered: list[int] = []
    while True:
        after = _after(costs, remembered)
        found = _path(costs, after, remembered)
        if found is None:
            return None
        path, again = found
        if not again:
            return Rest(tuple(remembered), after, path, exact=True)
        if nodes * devices**2 << (len(remembered) + len(again)) > _WORK:
            return Rest(tuple(remembered), after, path, exact=False)
        remembered = sorted({*remembered, *again})


def _bits(remembered: list[int], devices: int) -> Ints:
    """Return each device's bit in the state, 0 where it is not remembered."""
    bits = np.zeros(devices, dtype=np.int64)
    bits[remembered] = 1 << np.arange(len(remembered))
    return bits


def _after(costs: Trellis, remembered: list[int]) -> Floats:
    nodes, devices = len(costs.arcs) + 1, len(costs.first)
    states, every = np.arange(1 << len(remembered)), np.arange(devices)
    bits = _bits(remembered, devices)
    reached = states[:, None] | bits[None, :]
    blocked = (states[:, None] & bits[None, :]) != 0
    after = np.zeros((nodes, len(states), devices))
    for i in range(nodes - 2, -1, -1):
        entered = np.where(blocked, np.inf, after[i + 1][reached, every[None, :]])
        moves = (entered[:, :, None] + costs.arcs[i][None]).min(axis=1)
        after[i] = np.minimum(moves, after[i + 1] + costs.arcs[i][every, every][None])
    return after


def _path(costs: Trellis, after: Floats, remembered: list[int]) -> tuple[Ints, list[int]] | None:
    """Return the best path and the devices, not yet remembered, that it comes back to."""
    bits = _bits(remembered, len(costs.first))
    every = np.arange(len(costs.first))
    total = costs.first + after[0][bits, every]
    at = int(total.argmin())
    if not np.isfinite(total[at]):
        return None
    state, used, again = int(bits[at]), {at}, []
    path = [at]
    for i, arcs in enumerate(costs.arcs):
        step = arcs[:, at] + after[i + 1][state | bits, every]
        closed = (state & bits != 0) & (every != at)
        following = int(np.where(closed, np.inf, step).argmin())
        if following != at:
            if following in used:
                again.append(following)
            used.add(following)
        at = following
        state |= int(bits[at])
        path.append(at)
    return np.array(path, dtype=np.int64), sorted(set(again))
