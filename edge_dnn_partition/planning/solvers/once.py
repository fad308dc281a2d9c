# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Plans in which no device has two stages, under a cost that adds up.

A stage is a maximal run of consecutive nodes, in their topological order, on one device.

Chains: labels (position, device, devices used), extended one node at a time, the cheaper of equals
kept, and those dropped whose cost and a bound of the rest (:mod:`.revisits`) exceed a plan that is
known. The bound is mostly exact, so that hardly more labels are left than equal plans. Graphs that
are no chains have no such bound: all plans are tried where they are few, else stages are moved and
grown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.problem import Ints, Problem

from . import chain
from .judge import Answer, Judge
from .state_space_relaxation import Rest, rest_bound

_LABELS: Final = 120_000
_BEAM: Final = 400
_SLACK: Final = 1e-10
_TRIED: Final = 6_000


def answer_once(problem: Problem, judge: Judge, costs: Sequence[LinearCost]) -> Answer:
    """Return the best plan found in which no device has two stages."""
    if problem.is_chain and len(problem.devices) <= 62:
        trellises = [chain.trellis(problem, cost) for cost in costs]
        rest = rest_bound(trellises[0])
        if rest is None or not np.isfinite(trellises[0].constant):
            return Answer(None, True)
        memory = bool(np.isfinite(problem.column('memory_bytes')).any())
        if rest.exact:
            judge.offer(rest.path)
        if judge.best is None or not rest.exact:
            rough, complete = chain_labels(problem, trellises, rest, np.inf, _BEAM, memory=memory)
            judge.offer(rough)
            if complete:
                return Answer(judge.best, True)
        bound = np.inf if judge.best is None else costs[0].value(problem, judge.best) - trellises[0].constant
        found, complete = chain_labels(problem, trellises, rest, bound, _LABELS, memory=memory)
        judge.offer(found)
        return Answer(judge.best, complete)
    return answer_once_graph(problem, judge)


def chain_labels(
    problem: Problem, trellises: list[chain.Trellis], rest: Rest, bound: float, most: int, *, memory: bool
) -> tuple[Ints | None, bool]:
    """Return the best path with one stage a device, and whether no label was cut off.

    :param rest: the bound of what follows.
    :param bound: cost of a path that is known, without the constant.
    :param most: labels to keep at each position.
    :param memory: keep to the devices' memory as well.
    """
    devices = len(problem.devices)
    limit = bound + _SLACK * abs(bound) if np.isfinite(bound) else np.inf
    least = float((trellises[0].first + rest.after[0].min(axis=0)).min())
    unit = 1e-13 * (abs(bound if np.isfinite(bound) else least) or 1.0)
    room = problem.column('memory_bytes')
    at = np.arange(devices)
    values = np.stack([t.first for t in trellises])
    here: Ints = at
    used = 1 << at
    weights = np.full(devices, problem.weight_bytes[0])
    stages = np.ones(devices, dtype=np.int64)
    parent = np.zeros(devices, dtype=np.int64)
    complete = True
    trace: list[tuple[Ints, Ints]] = []
    for i in range(problem.nodes):
        if i:
            after = (used[:, None] >> at[None, :]) & 1 == 0
            after[np.arange(len(here)), here] = True
            row, target = np.nonzero(after)
            step = np.stack([values[level][row] + t.arcs[i - 1][target, here[row]] for level, t in enumerate(trellises)])
            moved = here[row] != target
            weights = np.where(moved, 0.0, weights[row]) + problem.weight_bytes[i]
            used, stages, parent, values = used[row] | (1 << target), stages[row] + moved, row, step
        else:
            target = at
        estimate = values[0] + rest.bound(i, used, target)
        good = np.isfinite(estimate) & (estimate <= limit)
        if memory:
            good &= weights <= room[target]
        keep = np.flatnonzero(good)
        if not len(keep):
            return None, complete
        # equals: same device, same devices used and, where memory counts, same weights on the device
        keys = [used[keep], target[keep], *([weights[keep]] if memory else [])]
        order = np.lexsort((stages[keep], *np.round(values[:, keep] / unit)[::-1], *keys))
        fresh = np.ones(len(keep), dtype=np.bool_)
        same = np.ones(len(keep) - 1, dtype=np.bool_)
        for key in keys:
            same &= key[order][1:] == key[order][:-1]
        fresh[1:] = ~same
        keep = np.sort(keep[order[fresh]])
        if len(keep) > most:
            complete = False
            best = np.argsort(estimate[keep], kind='stable')[:most]
            keep = np.sort(keep[best])
        here, values, used = target[keep], values[:, keep], used[keep]
        stages, weights = stages[keep], weights[keep]
        trace.append((parent[keep], here))
    order = np.lexsort((stages, *np.round(values / unit)[::-1]))
    return traced_back(trace, int(order[0])), complete


def traced_back(trace: Sequence[tuple[Ints, Ints]], label: int) -> Ints:
    """Return the device of each node on the path that ends in a label of the last node.

    :param trace: by node, each label's label at the node before, and its device.
    """
    path = np.empty(len(trace), dtype=np.int64)
    for i in range(len(trace) - 1, -1, -1):
        before, device = trace[i]
        path[i] = device[label]
        label = int(before[label])
    return path


def count_plans(nodes: int, devices: int) -> int:
    """Return how many plans there are in which no device has two stages."""
    return sum(math.perm(devices, m) * math.comb(nodes - 1, m - 1) for m in range(1, min(nodes, devices) + 1))


def answer_once_graph(problem: Problem, judge: Judge) -> Answer:
    """Try all plans of a graph where they are few; else improve stages step by step."""
    nodes, devices = problem.nodes, len(problem.devices)
    if count_plans(nodes, devices) <= _TRIED:
        for stages in range(1, min(nodes, devices) + 1):
            for cuts in itertools.combinations(range(1, nodes), stages - 1):
                for chosen in itertools.permutations(range(devices), stages):
                    judge.offer(spread(nodes, cuts, chosen))
        return Answer(judge.best, True)
    climb(problem, judge)
    return Answer(judge.best, False)


def spread(nodes: int, cuts: tuple[int, ...], chosen: tuple[int, ...]) -> Ints:
    """Return the plan with a stage between each two cuts."""
    lengths = np.diff((0, *cuts, nodes))
    return np.repeat(np.array(chosen, dtype=np.int64), lengths)


def climb(problem: Problem, judge: Judge) -> None:
    """Improve the plan by moving cuts, adding, dropping and exchanging stages, until nothing helps."""
    nodes, devices = problem.nodes, len(problem.devices)
    for device in range(devices):
        judge.offer(np.full(nodes, device, dtype=np.int64))
    if judge.best is None:
        judge.offer(_any_plan(problem))
    if judge.best is None:
        return
    tried = 0
    steps = sorted({1, 2, 3, max(1, nodes // 32), max(1, nodes // 8)})
    places = sorted({*range(1, nodes, max(1, nodes // 48))})
    while tried < _TRIED:
        present = judge.best.copy()
        cuts = [0, *(np.flatnonzero(np.diff(present)) + 1).tolist(), nodes]
        chosen = present[cuts[:-1]].tolist()
        free = [d for d in range(devices) if d not in chosen]
        for plan in _neighbours(cuts, chosen, free, steps, places):
            tried += 1
            judge.offer(plan)
        if np.array_equal(present, judge.best):
            return


def _neighbours(
    cuts: Sequence[int], chosen: Any, free: Any, steps: Any, places: Any
) -> Iterator[Ints]:
    nodes, inner = cuts[-1], cuts[1:-1]
    for k, cut in enumerate(inner):
        for step in steps:
            for moved in (cut - step, cut + step):
                if cuts[k] < moved < cuts[k + 2]:
                    yield spread(nodes, (*inner[:k], moved, *inner[k + 1 :]), tuple(chosen))
        yield spread(nodes, (*inner[:k], *inner[k + 1 :]), (*chosen[:k], *chosen[k + 1 :]))
        yield spread(nodes, (*inner[:k], *inner[k + 1 :]), (*chosen[: k + 1], *chosen[k + 2 :]))
    for k in range(len(chosen)):
        for device in free:
            yield spread(nodes, tuple(inner), (*chosen[:k], device, *chosen[k + 1 :]))
            for place in places:
                if cuts[k] < place < cuts[k + 1]:
                    split = (*inner[:k], place, *inner[k:])
                    yield spread(nodes, split, (*chosen[: k + 1], device, *chosen[k + 1 :]))
                    yield spread(nodes, split, (*chosen[:k], device, *chosen[k:]))
        for other in range(k):
            exchanged = list(chosen)
            exchanged[k], exchanged[other] = exchanged[other], exchanged[k]
            yield spread(nodes, tuple(inner), tuple(exchanged))


def _any_plan(problem: Problem) -> Ints | None:
    """Return some plan with few stages that can run, from a greedy walk; ``None`` if the walk fails."""
    memory = problem.column('memory_bytes')
    for first in range(len(problem.devices)):
        plan: list[int] = []
        device, used, room = first, {first}, memory[first]
        for node in range(problem.nodes):
            weight = problem.weight_bytes[node]
            if not (np.isfinite(problem.seconds[node, device]) and weight <= room):
                onward = [
                    d
                    for d in range(len(problem.devices))
                    if d not in used and np.isfinite(problem.seconds[node, d]) and weight <= memory[d]
                ]
                if not onward:
                    break
                device = max(onward, key=lambda d: (int(np.isfinite(problem.seconds[node:, d]).sum()), -d))
                used.add(device)
                room = memory[device]
            room -= weight
            plan.append(device)
        if len(plan) == problem.nodes:
            found = np.array(plan, dtype=np.int64)
            if evaluate(problem, found).feasible:
                return found
    return None
