# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that binds: a price per byte on each device, and repair.

At prices on memory the cost adds up, so that the exact methods find its least plan; that cost less
what the memory is worth is a lower bound (Lagrange). Plans that do not fit are repaired by moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.batch import Batch
from edge_dnn_partition.planning.cost_model.linear import LinearCost
from edge_dnn_partition.planning.cost_model.problem import Ints, Problem

from . import chain, frontier, twodevices
from .judge import Judge
from .localsearch import descend

_ROUNDS: Final = 40
_PROOF: Final = 1e-9


def fit(problem: Problem, judge: Judge, costs: Sequence[LinearCost]) -> bool:
    """Offer plans that fit into memory; return whether the judge's best is proven."""
    cost = costs[0]
    room = problem.column('memory_bytes')
    limited = np.isfinite(room)
    endless = replace(problem, devices=tuple(replace(d, memory_bytes=float('inf')) for d in problem.devices))
    scale = np.where(limited, np.maximum(room, 1.0), 1.0)
    price = np.zeros(len(room))  # of a device's whole memory
    bound = -np.inf
    size = 1.0
    overfull: list[tuple[float, int, Ints]] = []
    for turn in range(_ROUNDS):
        node = cost.node + np.where(limited, price / scale, 0.0)[None, :] * problem.weight_bytes[:, None]
        plan, proven = _least(endless, replace(cost, node=node))
        if plan is None:
            break
        used = np.bincount(plan, problem.weight_bytes, minlength=len(room))
        own = cost.value(problem, plan)
        worth = float((price * (used - np.where(limited, room, used)) / scale)[limited].sum())
        if proven:
            bound = max(bound, own + worth)
        if turn == 0:
            size = max(abs(own), 1e-30)
        if not np.isfinite(judge.offer(plan)):
            overfull.append((float(np.maximum(used - room, 0.0)[limited].sum()), turn, plan))
        excess = np.where(limited, (used - np.where(limited, room, 0.0)) / scale, 0.0)
        price = np.maximum(0.0, price + size * excess / (1.0 + turn))
    overfull.sort(key=lambda item: item[:2])
    for _, _, plan in overfull[:4]:
        repaired = repair(problem, cost, plan)
        if repaired is not None and np.isfinite(judge.offer(repaired)):
            polish(problem, judge, cost, repaired)
    if judge.best is not None:
        polish(problem, judge, cost, judge.best)
        return cost.value(problem, judge.best) - bound <= _PROOF * abs(bound)
    return False


def polish(problem: Problem, judge: Judge, cost: LinearCost, plan: Ints) -> None:
    """Improve a plan that fits by moves."""
    descend(problem, judge, plan, judge.values, work=1_500_000)


def repair(problem: Problem, cost: LinearCost, plan: Ints) -> Ints | None:
    """Move nodes off overfull devices, the cheapest per byte first; ``None`` if that fails."""
    room = problem.column('memory_bytes')
    plan = plan.copy()
    batch = Batch(replace(problem, devices=tuple(replace(d, memory_bytes=float('inf')) for d in problem.devices)))
    for _ in range(problem.nodes * 2):
        used = np.bincount(plan, problem.weight_bytes, minlength=len(room))
        over = np.flatnonzero(used > room)
        if not len(over):
            return plan
        trials, freed = [], []
        for node in np.flatnonzero(np.isin(plan, over) & (problem.weight_bytes > 0)).tolist():
            weight = problem.weight_bytes[node]
            for device in np.flatnonzero(np.isfinite(problem.seconds[node]) & (used + weight <= room)).tolist():
                trial = plan.copy()
                trial[node] = device
                trials.append(trial)
                freed.append(min(weight, used[plan[node]] - room[plan[node]]))
        if not trials:
            return None
        latency = batch.measure(np.array(trials)).latency_seconds
        worth = (latency - latency[np.isfinite(latency)].min(initial=0.0)) / np.array(freed)
        best = int(worth.argmin())
        if not np.isfinite(worth[best]):
            return None
        plan = trials[best]
    return None


def _least(problem: Problem, cost: LinearCost) -> tuple[Ints | None, bool]:
    if problem.is_chain:
        found = chain.shortest([chain.trellis(problem, cost)])
        return (None, True) if found is None else (found[0], True)
    if twodevices.applies(problem, cost):
        cut = twodevices.solve(problem, [cost])
        return (None, True) if cut is None else (cut[0], True)
    search = frontier.search(problem, [cost], work=60_000, beam_work=60_000)
    return search.best, search.complete
