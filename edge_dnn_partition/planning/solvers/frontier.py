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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from . import chain
from .judge import Answer, Question
from .pathbound import path_bound

WORK: Final = 1_500_000
_STATES: Final = 60_000
BEAM_WORK: Final = 2_000_000
_BEAM: Final = 2_000
"""States that a beam keeps at most, and at least eight, in its work."""
_MASK_BITS: Final = 62
_NO_LINK: Final = 1e6
"""Stands for a missing link in the rough trellis, whose paths need not be plans."""
_SLACK: Final = 1e-10
_QUANTUM: Final = 1e-13


@dataclass
class _States:
    """Partial plans: ``values`` is ``(levels, states)``; columns by tensor."""

    values: Floats
    stages: Ints
    previous: Ints
    home: dict[int, Ints]
    sent: dict[int, Ints]


def answer(question: Question) -> Answer | None:
    """Return the best plan if it is proven and keeps to memory; else offer what was found."""
    problem, costs, judge = question.problem, question.costs, question.judge
    known = np.inf
    for start in starts(problem, costs[0]):
        judge.offer(start)
        known = min(known, costs[0].value(problem, start))
    found = search(problem, costs, bound=known, work=0)  # a beam alone, for a bound that leaves few states
    if not found.optimal:
        if found.assignment is not None:
            judge.offer(found.assignment)
            known = min(known, costs[0].value(problem, found.assignment))
        found = search(problem, costs, bound=known)
    if found.assignment is None:
        return found if found.optimal else None
    return Answer(judge.best, True) if judge.accepts(found.assignment) and found.optimal else None


def starts(problem: Problem, cost: LinearCost) -> Iterator[Ints]:
    """Yield plans to begin with: all on one device, Viterbi along the order, each node where it is fastest."""
    for device in range(len(problem.devices)):
        yield np.full(problem.nodes, device, dtype=np.int64)
    if problem.nodes * len(problem.devices) ** 2 <= 4_000_000:
        path = chain.shortest([relaxed_trellis(problem, cost)])
        if path is not None:
            yield path
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


def search(
    problem: Problem, costs: Sequence[LinearCost], *, bound: float = np.inf, work: int = WORK, beam_work: int = BEAM_WORK
) -> Answer:
    """Search for the best plan; it is proven, or that none costs so little as the bound, unless states were cut off.

    :param costs: in order of importance; the first is bounded.
    :param bound: cost of a plan that is known.
    :param work: states times devices up to which the search is exact; 0 for a beam from the start.
    :param beam_work: the same for the beam after that, over all nodes.
    """
    devices = len(problem.devices)
    if devices > _MASK_BITS:
        return Answer(None, False)
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
    beam = min(max(8, beam_work // (problem.nodes * devices)), _BEAM)
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
            return Answer(None, complete)
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
            read = [t for t in problem.node_outputs[i] if t in states.home]
            tails[i] = max(read, key=lambda t: problem.tensors[t].readers[-1])  # others may be let go before the path goes on
    order = np.lexsort((np.arange(states.values.shape[1]), states.stages, *np.round(states.values / unit)[::-1]))
    at = int(order[0])
    plan = np.empty(problem.nodes, dtype=np.int64)
    for i in range(problem.nodes - 1, -1, -1):
        plan[i] = trace[i][1][at]
        at = int(trace[i][0][at])
    return Answer(plan, complete)


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
