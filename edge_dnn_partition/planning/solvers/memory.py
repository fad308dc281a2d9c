# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that binds: a price per byte on each device, and repair.

At prices on memory the cost adds up, so that the exact methods find its least plan; that cost less
what the memory is worth is a lower bound (Lagrange). Plans that do not fit are repaired by moves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.batch import Batch
from edge_dnn_partition.planning.cost_model.problem import Ints, Problem

from .judge import Answer, Question
from .least import least
from .localsearch import improve

_ROUNDS: Final = 40
_WORK: Final = 60_000
_REPAIRED: Final = 4
_PROOF: Final = 1e-9


def answer(question: Question) -> Answer | None:
    """Offer plans that fit into memory; return the best if it is proven."""
    problem, judge, cost = question.problem, question.judge, question.costs[0]
    room = problem.column('memory_bytes')
    limited = np.isfinite(room)
    endless = _endless(problem)
    scale = np.where(limited, np.maximum(room, 1.0), 1.0)
    price = np.zeros(len(room))  # of a device's whole memory
    bound, size = -np.inf, 1.0
    overfull: list[tuple[float, int, Ints]] = []
    for turn in range(_ROUNDS):
        node = cost.node + np.where(limited, price / scale, 0.0)[None, :] * problem.weight_bytes[:, None]
        found = least(endless, replace(cost, node=node), work=_WORK, beam_work=_WORK)
        plan = found.assignment
        if plan is None:
            break
        used = np.bincount(plan, problem.weight_bytes, minlength=len(room))
        own = cost.value(problem, plan)
        excess = np.where(limited, (used - np.where(limited, room, 0.0)) / scale, 0.0)
        if found.optimal:
            bound = max(bound, own + float((price * excess).sum()))
        if turn == 0:
            size = max(abs(own), 1e-30)
        if not judge.accepts(plan):
            overfull.append((float(np.maximum(used - room, 0.0)[limited].sum()), turn, plan))
        price = np.maximum(0.0, price + size * excess / (1.0 + turn))
    for _, _, plan in sorted(overfull, key=lambda item: item[:2])[:_REPAIRED]:
        repaired = repair(problem, plan)
        if judge.accepts(repaired):
            improve(judge, start=repaired)
    improve(judge)
    proven = judge.best is not None and cost.value(problem, judge.best) - bound <= _PROOF * abs(bound)
    return Answer(judge.best, True) if proven else None


def _endless(problem: Problem) -> Problem:
    return replace(problem, devices=tuple(replace(d, memory_bytes=float('inf')) for d in problem.devices))


def repair(problem: Problem, plan: Ints) -> Ints | None:
    """Move nodes off overfull devices, the cheapest per byte first; ``None`` if that fails."""
    room = problem.column('memory_bytes')
    plan = plan.copy()
    batch = Batch(_endless(problem))
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
