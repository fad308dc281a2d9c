# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The least bottleneck of a chain in which no device has two stages: exact, over sets of devices.

``best[S, d, q]`` is the least bottleneck of the first ``q`` nodes on the devices ``S``, the last stage on
``d``; each step adds a stage on a device that is not in ``S`` (the dynamic program of Hu et al.,
"PipeEdge", DSD 2022). Devices that are alike are one kind with a count, so that ``S`` is a vector of
counts. A second pass over stages and hops within the bottleneck finds the least latency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost, energy_cost, latency_cost
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from .chain import trellis
from .judge import Answer, Question

WORK: Final = 250_000_000
_WITHIN: Final = 1e-12
_PROOF: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Kinds:
    """Devices that are alike; ``members`` in their order."""

    members: tuple[tuple[int, ...], ...]

    @property
    def first(self) -> Ints:
        """One device of each kind."""
        return np.array([m[0] for m in self.members], dtype=np.int64)

    @property
    def states(self) -> int:
        """How many vectors of counts there are."""
        return int(np.prod([float(len(m) + 1) for m in self.members]))


def kinds(problem: Problem) -> Kinds:
    """Return the devices by kind; the source and the sink are kinds of their own."""
    groups: list[list[int]] = []
    seconds, rate, latency = problem.seconds, problem.rate, problem.latency
    matrices = [rate, latency, *([] if problem.coding is None else problem.coding.arrays)]
    fixed = {problem.source_index, problem.sink_index}
    fields = [tuple(v for k, v in vars(d).items() if k != 'name') for d in problem.devices]

    def alike(a: int, b: int) -> bool:
        if a in fixed or b in fixed or fields[a] != fields[b] or not np.array_equal(seconds[:, a], seconds[:, b]):
            return False
        swapped = np.arange(len(problem.devices))
        swapped[[a, b]] = b, a
        return all(np.array_equal(m[..., swapped[:, None], swapped[None, :]], m) for m in matrices)

    for device in range(len(problem.devices)):
        home = next((g for g in groups if alike(g[0], device)), None)
        if home is None:
            groups.append([device])
        else:
            home.append(device)
    return Kinds(tuple(map(tuple, groups)))


@dataclass(frozen=True, eq=False)
class _Chain:
    """Costs of a chain by kind: ``stage[k, p, q]`` and ``hop[j, k, p]`` (before node ``p``)."""

    stage: Floats
    hop: Floats


def _chain(problem: Problem, group: Kinds) -> _Chain:
    first, count = group.first, problem.nodes
    types = len(first)
    seconds = problem.seconds[:, first]
    stage = np.full((types, count + 1, count + 1), np.inf)
    memory = problem.column('memory_bytes')[first]
    sink, source = problem.sink_index, problem.source_index
    sender, reader = np.broadcast_to(first[:, None], (types, types)), np.broadcast_to(first, (types, types)).copy()
    for k, members in enumerate(group.members):
        reader[k, k] = members[min(1, len(members) - 1)]
    # Bytes, by the kind that sends, that reads, or both: an encoding makes them differ.
    to_sink, enter_bytes = np.zeros((types, count)), np.full((types, count), -1.0)
    between = np.zeros((count, types, types))
    at_sink = np.zeros(count, dtype=np.bool_)
    crosses = np.zeros(count, dtype=np.bool_)
    for t, tensor in enumerate(problem.tensors):

        def sent(a: Ints, b: Ints, t: int = t) -> Floats:
            return problem.wire_bytes(np.full(a.shape, t), a, b)

        if tensor.producer == INPUT:
            if tensor.readers:
                at = tensor.readers[0]
                enter_bytes[:, at] = np.maximum(enter_bytes[:, at], 0.0) + sent(np.full(types, source), first)
            continue
        if tensor.at_sink:
            at_sink[tensor.producer] = True
            to_sink[:, tensor.producer] += sent(first, np.full(types, sink))
        if tensor.readers:
            crosses[tensor.readers[0]] = True
            between[tensor.readers[0]] += sent(sender, reader)
    rate = problem.rate
    for k, device in enumerate(first.tolist()):
        for p in range(count):
            spent = np.cumsum(seconds[p:, k])
            if problem.seam_seconds is not None:
                spent[1:] -= np.cumsum(problem.seam_seconds[p : count - 1, device])
            spent[np.cumsum(problem.weight_bytes[p:]) > memory[k]] = np.inf
            if device != sink and at_sink[p:].any():
                link = rate[device, sink]
                left = np.cumsum(to_sink[k, p:]) / link if link > 0 else np.where(np.cumsum(at_sink[p:]) > 0, np.inf, 0.0)
                spent = np.maximum(spent, left)
            if device != source and (enter_bytes[k, p:] >= 0).any():
                link = rate[source, device]
                some = np.cumsum(enter_bytes[k, p:] >= 0) > 0
                read = np.cumsum(np.maximum(enter_bytes[k, p:], 0.0))
                spent = np.maximum(spent, read / link if link > 0 else np.where(some, np.inf, 0.0))
            stage[k, p, p + 1 :] = spent
    pairs = rate[sender, reader]
    hop = np.zeros((types, types, count + 1))
    for p in range(1, count):
        if crosses[p]:
            with np.errstate(divide='ignore', invalid='ignore'):
                hop[:, :, p] = np.where(pairs > 0, between[p] / pairs, np.inf)
    return _Chain(stage, hop)


def _levels(group: Kinds) -> tuple[list[Ints], Ints, Ints]:
    """Return the states by how many devices they hold, each state's counts, and each kind's stride."""
    bases = np.array([len(m) + 1 for m in group.members], dtype=np.int64)
    strides = np.concatenate(([1], np.cumprod(bases[:-1])))
    states = np.arange(group.states)
    counts = (states[:, None] // strides[None, :]) % bases[None, :]
    total = counts.sum(axis=1)
    return [np.flatnonzero(total == m) for m in range(int(total.max()) + 1)], counts, strides


def answer(question: Question) -> Answer | None:
    """Return the best plan if it is proven; else offer it."""
    found, judge = least_bottleneck(question.problem), question.judge
    if found is None:
        return None
    plan, bound = found
    if plan is None:
        return Answer(None, True)
    judge.offer(plan)
    return Answer(judge.best, True) if judge.best_value <= bound * (1 + _PROOF) else None


def least_bottleneck(problem: Problem) -> tuple[Ints | None, float] | None:
    """Return the best plan and a lower bound of every plan's bottleneck.

    The bound leaves out coding and what links share; the plan's own bottleneck is equal to it where
    neither counts. ``None`` if there are too many sets of devices; no plan if none can run.
    """
    group = kinds(problem)
    count, types = problem.nodes, len(group.members)
    if group.states * types * count * count / 2 > WORK or count == 0:
        return None
    costs = _chain(problem, group)
    value = _least_value(costs, group)
    if not np.isfinite(value):
        return None, np.inf
    limit = value * (1 + _WITHIN)
    seconds, hops = _latency(problem, group)
    seconds = np.where(costs.stage <= limit, seconds, np.inf)
    hops = np.where(costs.hop <= limit, hops, np.inf)
    least = _tables(group, seconds, hops, np.add, np.inf)
    return _trace(least, group, seconds, hops, count), value


def _latency(problem: Problem, group: Kinds) -> tuple[Floats, Floats]:
    """Return the latency of stages and hops, with a trace of energy and stages to decide ties."""
    first, count = group.first, problem.nodes
    cost = latency_cost(problem)
    energy = energy_cost(problem, cost)
    scale = float(np.where(np.isfinite(cost.node), cost.node, 0.0).max(axis=1).sum()) or 1.0
    joules = float(np.where(np.isfinite(energy.node), energy.node, 0.0).max(axis=1).sum()) or 1.0
    mixed = cost.plus(energy, 1e-11 * scale / joules)
    costs = trellis(problem, mixed)
    stage = np.full((len(first), count + 1, count + 1), np.inf)
    for k, device in enumerate(first.tolist()):
        stay = costs.arcs[:, device, device]
        unary = mixed.node[:, device]
        for p in range(count):
            begin = costs.first[device] if p == 0 else unary[p] + _extra(problem, mixed, p, device)
            stage[k, p, p + 1 :] = begin + np.concatenate(([0.0], np.cumsum(stay[p:])))
    hop = np.zeros((len(first), len(first), count + 1))
    for j, members in enumerate(group.members):
        for k, device in enumerate(first.tolist()):
            sender = members[1] if j == k and len(members) > 1 else members[0]
            for p in range(1, count):
                within = mixed.node[p, device] + _extra(problem, mixed, p, device)
                arc = costs.arcs[p - 1, device, sender]
                hop[j, k, p] = arc - within + 1e-12 * scale if np.isfinite(within + arc) else np.inf
            if j == k and len(members) < 2:
                hop[j, k] = np.inf
    return stage, hop


def _extra(problem: Problem, cost: LinearCost, node: int, device: int) -> float:
    """Return what a node pays beside its own seconds: reading inputs and, at the end, the result's way."""
    total = 0.0
    for t in problem.node_inputs[node]:
        tensor = problem.tensors[t]
        if tensor.producer == INPUT:
            total += float(cost.prices(problem, t, problem.source_index, device))
    for t in problem.node_outputs[node]:
        tensor = problem.tensors[t]
        if tensor.at_sink and not tensor.readers:
            total += float(cost.prices(problem, t, device, problem.sink_index))
    return total


def _tables(group: Kinds, stage: Floats, hop: Floats, join: np.ufunc, bound: float) -> Floats:
    """Fill ``best[S, d, q]``; ``join`` is the maximum for bottlenecks, the sum for latencies.

    Of bottlenecks only those below ``bound`` are sought.
    """
    types, count = len(group.members), stage.shape[1] - 1
    levels, counts, strides = _levels(group)
    best = np.full((group.states, types, count + 1), np.inf)
    sizes = np.array([len(m) for m in group.members])
    for k in range(types):
        best[strides[k], k] = stage[k, 0]
    reach = _reach(stage, np.inf)
    for level in levels[1:-1]:
        if join is np.maximum:
            bound = min(bound, float(best[level, :, count].min(initial=np.inf)))
            reach = _reach(stage, bound)
        below = np.asarray((best[level] < bound).any(axis=1), dtype=np.bool_)
        below[:, count] = False
        alive = below.any(axis=1)
        useful = np.flatnonzero(below.any(axis=0))
        if not len(useful):
            continue
        states, low, high = level[alive], int(useful[0]), int(useful[-1]) + 1
        table = best[states, :, low:high]
        for k in range(types):
            free = np.flatnonzero(counts[states, k] < sizes[k])
            if not len(free):
                continue
            before = join(table[free], hop[None, :, k, low:high]).min(axis=1)
            new = np.full((len(free), count + 1), np.inf)
            for p in useful.tolist():
                stop = reach[p] + 1
                if stop > p + 1:
                    step = join(before[:, p - low, None], stage[k, p, p + 1 : stop])
                    np.minimum(new[:, p + 1 : stop], step, out=new[:, p + 1 : stop])
            best[states[free] + strides[k], k] = new
    return best


def _reach(stage: Floats, bound: float) -> list[int]:
    """Return how far a stage from each node may reach on some device, below a bound."""
    below = np.asarray((stage < bound).any(axis=0), dtype=np.bool_)
    last = stage.shape[1] - 1 - below[:, ::-1].argmax(axis=1)
    reach = np.where(below.any(axis=1), last, np.arange(stage.shape[1]))
    return [int(stop) for stop in reach]


def _least_value(costs: _Chain, group: Kinds) -> float:
    """Return the least bottleneck, sought under bounds that rise until one is enough."""
    value = np.inf
    for bound in _guesses(costs):
        value = float(_tables(group, costs.stage, costs.hop, np.maximum, bound)[:, :, -1].min())
        if value < bound:  # nothing below the bound was left out
            break
    return value


def _guesses(costs: _Chain) -> list[float]:
    """Return rising bounds to try, from a bound below every bottleneck to the best plan with one device."""
    single = float(costs.stage[:, 0, -1].min())
    nodes = np.arange(costs.stage.shape[1] - 1)
    low = float(costs.stage[:, nodes, nodes + 1].min(axis=0).max())
    whole = costs.stage[:, 0, -1]
    shared = 1 / float((1 / np.maximum(whole[np.isfinite(whole)], 1e-300)).sum()) if np.isfinite(single) else 0.0
    guesses: list[float] = []
    guess = max(low * 1.05, shared * 0.5)
    while 0 < guess < single and len(guesses) < 12:
        guesses.append(guess)
        guess *= 1.3
    return [*guesses, np.inf]


def _trace(least: Floats, group: Kinds, seconds: Floats, hops: Floats, count: int) -> Ints:
    """Return the plan behind the least entry of the last column."""
    _, counts, strides = _levels(group)
    state, kind = (int(place) for place in np.unravel_index(int(least[:, :, count].argmin()), least.shape[:2]))
    stop, used = count, [list(m) for m in group.members]
    stages: list[tuple[int, int, int]] = []
    while True:
        value = least[state, kind, stop]
        if counts[state].sum() == 1:
            stages.append((int(kind), 0, stop))
            break
        before = state - strides[kind]
        ways = least[before][:, :stop] + hops[:, kind, :stop] + seconds[kind, :stop, stop][None, :]
        ways[:, 0] = np.inf
        nearest = int(np.abs(np.where(np.isfinite(ways), ways - value, np.inf)).argmin())
        other, begin = (int(place) for place in np.unravel_index(nearest, ways.shape))
        stages.append((kind, begin, stop))
        state, kind, stop = int(before), other, begin
    plan = np.empty(count, dtype=np.int64)
    for k, p, q in reversed(stages):
        plan[p:q] = used[k].pop(0)
    return plan
