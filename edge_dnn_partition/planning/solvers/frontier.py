# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Exact search along the topological order over what the frontier still needs to know.

A state after node ``i`` is, for every tensor that is still to be read, the device it lies on and the
devices it has been sent to. Of two partial plans in the same state the dearer is dropped; so is
one whose cost and a lower bound of the rest exceed a plan that is known. On narrow graphs (residual
blocks, parallel branches) few states are left and the result is proven; else the search goes on as
a beam and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from .pathbound import path_bound

WORK: Final = 1_500_000
_STATES: Final = 60_000
BEAM_WORK: Final = 600_000
_MASK_BITS: Final = 62
_SLACK: Final = 1e-10
_QUANTUM: Final = 1e-13


@dataclass(frozen=True, eq=False)
class Search:
    """What was found: ``complete`` if ``best`` is proven best of all with at most the bound's cost."""

    best: Ints | None
    complete: bool

    @property
    def assignments(self) -> list[Ints]:
        """The plans found."""
        return [] if self.best is None else [self.best]


@dataclass
class _States:
    """Partial plans: ``values`` is ``(levels, states)``; columns by tensor."""

    values: Floats
    stages: Ints
    previous: Ints
    home: dict[int, Ints]
    sent: dict[int, Ints]


def search(
    problem: Problem, costs: Sequence[LinearCost], *, bound: float = np.inf, work: int = WORK, beam_work: int = BEAM_WORK
) -> Search:
    """Search for the best plan.

    :param costs: in order of importance; the first is bounded.
    :param bound: cost of a plan that is known.
    :param work: states times devices up to which the search is exact; 0 for a beam from the start.
    :param beam_work: the same for the beam after that, over all nodes.
    """
    devices = len(problem.devices)
    if devices > _MASK_BITS:
        return Search(None, False)
    below = path_bound(problem, costs[0])
    limit = bound + _SLACK * abs(bound) if np.isfinite(bound) else np.inf
    unit = _QUANTUM * (abs(bound if np.isfinite(bound) else below.later[0]) or 1.0)
    one = np.zeros(1, dtype=np.int64)
    states = _States(np.zeros((len(costs), 1)), one, one - 1, {}, {})
    tails: dict[int, int] = {}  # node whose path goes on -> a tensor whose home is that node's device
    for t, tensor in enumerate(problem.tensors):
        if tensor.producer == INPUT and tensor.readers:
            home = problem.source_index
            states.home[t] = one + home
            states.sent[t] = one + ((1 << home) | ((1 << problem.sink_index) if tensor.at_sink else 0))
        if tensor.producer == INPUT and tensor.at_sink:
            for level, cost in enumerate(costs):
                states.values[level] += cost.transfer(problem, t)[problem.source_index, problem.sink_index]
    trace: list[tuple[Ints, Ints]] = []
    done, complete = 0, True
    beam = max(8, beam_work // (problem.nodes * devices))
    for i in range(problem.nodes):
        count = states.values.shape[1]
        done += count * devices
        values, estimate = _extend(problem, costs, states, i)
        estimate += below.later[i + 1]
        if below.parent[i] in tails:
            del tails[below.parent[i]]
        for node, t in tails.items():
            estimate += below.after[node][states.home[t]][:, None]
        if below.child[i] != -1:
            estimate += below.after[i][None, :]
        keep = np.flatnonzero((estimate <= limit).ravel() & np.isfinite(estimate).ravel())
        if not len(keep):
            return Search(None, complete)
        row, device = keep // devices, keep % devices
        states = _move(problem, states, i, row, device, values.reshape(len(costs), -1)[:, keep])
        kept = _undominated(states, unit)
        cap = _STATES if complete and done < work else beam
        if len(kept) > cap:
            complete = False
            cap = beam
            ranked = np.argsort(estimate.ravel()[keep][kept], kind='stable')
            kept = np.sort(kept[ranked[:cap]])
        states = _take(states, kept)
        trace.append((row[kept], device[kept]))
        if below.child[i] != -1:
            tails[i] = next(t for t in problem.node_outputs[i] if t in states.home)
    order = np.lexsort((np.arange(states.values.shape[1]), states.stages, *np.round(states.values / unit)[::-1]))
    at = int(order[0])
    plan = np.empty(problem.nodes, dtype=np.int64)
    for i in range(problem.nodes - 1, -1, -1):
        plan[i] = trace[i][1][at]
        at = int(trace[i][0][at])
    return Search(plan, complete)


def _extend(
    problem: Problem, costs: Sequence[LinearCost], states: _States, node: int
) -> tuple[Floats, Floats]:
    """Return the costs with the node on each device, ``(levels, states, devices)``, and a copy of the first."""
    devices = np.arange(len(problem.devices))
    values = states.values[:, :, None] + np.stack([cost.node[node] for cost in costs])[:, None, :]
    for t in problem.node_inputs[node]:
        there = (states.sent[t][:, None] >> devices[None, :]) & 1 == 1
        for level, cost in enumerate(costs):
            values[level] += np.where(there, 0.0, cost.transfer(problem, t)[states.home[t]])
    for t in problem.node_outputs[node]:
        if problem.tensors[t].at_sink:
            for level, cost in enumerate(costs):
                values[level] += cost.transfer(problem, t)[:, problem.sink_index][None, :]
    if node:
        stays = states.previous[:, None] == devices[None, :]
        for level, cost in enumerate(costs):
            if cost.overhead is not None:
                values[level] -= np.where(stays, cost.overhead[node - 1][None, :], 0.0)
    return values, values[0].copy()


def _move(problem: Problem, states: _States, node: int, row: Ints, device: Ints, values: Floats) -> _States:
    """Return the states after the node, for the chosen rows and devices."""
    home: dict[int, Ints] = {}
    sent: dict[int, Ints] = {}
    read = set(problem.node_inputs[node])
    for t in states.home:
        if problem.tensors[t].readers[-1] > node:
            home[t] = states.home[t][row]
            sent[t] = states.sent[t][row]
            if t in read:
                sent[t] = sent[t] | (1 << device)
    for t in problem.node_outputs[node]:
        if problem.tensors[t].readers:
            home[t] = device
            sent[t] = 1 << device
            if problem.tensors[t].at_sink:
                sent[t] = sent[t] | (1 << problem.sink_index)
    stages = states.stages[row] + (states.previous[row] != device)
    return _States(values, stages, device, home, sent)


def _undominated(states: _States, unit: float) -> Ints:
    """Return, in order, the best state of each kind."""
    columns = [states.previous, *(c for t in states.home for c in (states.home[t], states.sent[t]))]
    mixed = np.zeros(len(states.previous), dtype=np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    order = np.lexsort((states.stages, *np.round(states.values / unit)[::-1], mixed))
    same = np.ones(len(order) - 1, dtype=np.bool_)
    for column in columns:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    first = np.concatenate(([True], ~same))
    return np.sort(order[first])


def _take(states: _States, kept: Ints) -> _States:
    return _States(
        states.values[:, kept],
        states.stages[kept],
        states.previous[kept],
        {t: column[kept] for t, column in states.home.items()},
        {t: column[kept] for t, column in states.sent.items()},
    )
