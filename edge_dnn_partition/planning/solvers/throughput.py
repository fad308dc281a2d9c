# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The least bottleneck: of the devices' seconds and the channels', the largest.

NP-hard even for chains. A price per second on every device and channel makes the cost one that adds up; its least plan,
divided by the sum of the prices, is a lower bound (Lagrange), and the prices rise where the plan is busiest
(multiplicative weights, Plotkin, Shmoys and Tardos 1995). The plans met on the way are where a tabu
search begins (:mod:`.bottleneck`). Where the program is small HiGHS closes what gap is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.batch import Measured
from edge_dnn_partition.planning.cost_model.evaluate import Loads, loads
from edge_dnn_partition.planning.cost_model.linear import LinearCost, coding_cost
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from . import exhaustive, milp, subsets
from .bottleneck import TabuSearch
from .fewer_stages import fewer_stages, in_one_cache
from .judge import EQUAL, Answer, Judge, Question
from .least import least
from .localsearch import improve

_ROUNDS, _QUICK_ROUNDS = 60, (8, 32)
"""At most; in a quick search one for every other node, as the plans of small graphs are as well found at random."""
_ROUND_NODES, _QUICK_ROUND_NODES = 8_000, 4_000
_BEAM_WORK: Final = 24_000
_EXACT_WORK: Final = 250_000
_PROOF: Final = 1e-9
_PROGRAM: Final = 3500
"""Programs with more variables are left to the heuristics."""
_PROGRAM_NODES: Final = 300
_CANDIDATES: Final = 8
_BRIEFLY: Final = 16
_KICKS, _QUICK_KICKS, _KICKED_NODES = (24, 360), (8, 90), 5_000
"""Least and most kicks of the search, for whose nodes together there is so much room in a quick one, four times that else."""


def answer(question: Question) -> Answer:
    """Return the plan of least bottleneck that is found; for a pipeline that is to run, of no more stages than pay."""
    problem, judge = question.problem, question.judge
    if not question.few_stages:
        return _least_bottleneck(question, _starts(problem))
    shared = in_one_cache(problem)
    starts = _starts(shared)
    part = replace(question, problem=shared, judge=replace(judge, problem=shared))
    few = exhaustive.few(shared, judge.space)
    found = exhaustive.answer(shared, part.judge) if few else _least_bottleneck(part, starts)
    if found.assignment is None:
        return found
    chosen = fewer_stages(shared, [found.assignment, *question.known, *starts])
    assert chosen is not None
    return Answer(chosen, found.optimal and shared is problem and bool(np.array_equal(chosen, found.assignment)))


def _least_bottleneck(question: Question, starts: list[Ints]) -> Answer:
    problem, judge, known, quick = question.problem, question.judge, question.known, question.quick
    bound = question.floor
    for start in (*known, *starts):
        judge.offer(start)
    if quick and known:
        _search(question, known, _QUICK_KICKS[0])
    else:
        below, candidates = _prices(problem, judge, quick=quick)
        bound = max(bound, below)
        if not _proven(judge, bound):
            fewest, most = _QUICK_KICKS if quick else _KICKS
            kicks = int(np.clip((1 if quick else 4) * _KICKED_NODES // problem.nodes, fewest, most))
            briefly = quick and question.few_stages
            _search(question, [*known, *candidates, *starts], min(kicks, _BRIEFLY) if briefly else kicks)
    if not quick and not _proven(judge, bound):
        result = milp.throughput(
            problem, judge.best_value, limit=_PROGRAM, nodes=_PROGRAM_NODES, below=judge.best_value * (1 + _PROOF)
        )
        if result is not None:
            if result.infeasible and judge.best is None:
                return Answer(None, True)
            judge.offer(result.assignment)
            bound = max(bound, min(result.lower_bound, judge.best_value))
    if judge.best is None:
        return Answer(None, False)
    settle(judge)
    return Answer(judge.best, _proven(judge, bound))


def _search(question: Question, plans: Sequence[Ints], kicks: int) -> None:
    """Offer what tabu search makes of some plans."""
    search = TabuSearch(question.problem, plans, seed=question.seed)
    search.improve(kicks)
    question.judge.offer(search.best)


def _proven(judge: Judge, bound: float) -> bool:
    return judge.best is not None and judge.best_value <= bound * (1 + _PROOF)


def settle(judge: Judge) -> None:
    """Make the latency less without a larger bottleneck, step by step."""
    limit = judge.best_value * (1 + EQUAL / 2)

    def latency(measured: Measured) -> Floats:
        return np.where(measured.fits & (measured.bottleneck_seconds <= limit), measured.latency_seconds, np.inf)

    improve(judge, latency)


def _starts(problem: Problem) -> list[Ints]:
    devices = len(problem.devices)
    plans = [np.full(problem.nodes, d, dtype=np.int64) for d in range(devices)]
    if problem.is_chain:
        found = subsets.least_bottleneck(problem) if problem.nodes <= 200 else None
        if found is not None and found[0] is not None:
            plans.append(found[0])
    return plans


def priced(problem: Problem, device_price: Floats, channel_price: Floats) -> LinearCost:
    """Return the cost of a plan's loads at prices per second."""
    linked = problem.channel >= 0
    column = problem.column
    price = np.where(linked, channel_price[np.maximum(problem.channel, 0)] if len(channel_price) else 0.0, 0.0)
    per_byte = np.divide(price, problem.rate, out=np.zeros_like(price), where=linked)
    coding = coding_cost(problem, per_byte, device_price)
    sender, reader = device_price[:, None], device_price[None, :]
    per_byte = per_byte + sender * column('encode_seconds_per_byte')[:, None]
    per_byte = np.where(linked, per_byte + reader * column('decode_seconds_per_byte')[None, :], 0.0)
    hop = sender * column('encode_seconds')[:, None] + reader * column('decode_seconds')[None, :]
    hop = np.where(linked, hop, np.inf)
    np.fill_diagonal(hop, 0.0)
    node = np.where(np.isinf(problem.seconds), np.inf, 0.0)
    finite = np.isfinite(problem.seconds)
    node[finite] = (np.where(finite, problem.seconds, 0.0) * device_price[None, :])[finite]
    overhead = None if problem.seam_seconds is None else problem.seam_seconds * device_price[None, :]
    return LinearCost(node, hop, per_byte, overhead, coding)


def _prices(problem: Problem, judge: Judge, *, quick: bool) -> tuple[float, list[Ints]]:
    """Offer the plans at rising prices; return the largest lower bound and the best few plans."""
    devices = len(problem.devices)
    channels = int(problem.channel.max(initial=-1)) + 1
    fast = problem.is_chain or devices == 2
    quick_most = int(np.clip(min(problem.nodes // 2, _QUICK_ROUND_NODES // problem.nodes), *_QUICK_ROUNDS))
    most = quick_most if quick and not fast else _ROUNDS
    rounds = int(np.clip((4 if fast else 1) * _ROUND_NODES // problem.nodes, _QUICK_ROUNDS[0], most))
    device_price, channel_price = np.full(devices, 1.0), np.full(channels, 1e-3)
    bound = 0.0
    candidates: dict[bytes, tuple[float, int, Ints]] = {}
    for turn in range(rounds):
        total = float(device_price.sum() + channel_price.sum())
        device_price, channel_price = device_price / total, channel_price / total
        cost = priced(problem, device_price, channel_price)
        last = turn == rounds - 1
        found = least(problem, cost, work=_EXACT_WORK if last and not quick else 0, beam_work=_BEAM_WORK)
        plan = found.assignment
        if plan is None:
            break
        if found.optimal:
            bound = max(bound, cost.value(problem, plan))
            if judge.best is not None and judge.best_value <= bound * (1 + _PROOF):
                return bound, []
        load = loads(problem, plan)
        value = max(float(load.device_seconds.max()), float(load.channel_seconds.max(initial=0.0)))
        if np.isfinite(judge.offer(plan)):
            candidates.setdefault(plan.tobytes(), (value, turn, plan))
        if value <= 0:
            break
        device_price, channel_price = _raise(device_price, channel_price, load, value, turn)
    ranked = sorted(candidates.values(), key=lambda item: item[:2])
    return bound, [plan for _, _, plan in ranked[:_CANDIDATES]]


def _raise(devices: Floats, channels: Floats, load: Loads, value: float, turn: int) -> tuple[Floats, Floats]:
    rate = 1.0 / (1.0 + 0.12 * turn)
    return (
        devices * np.exp(rate * np.maximum(load.device_seconds, 0.0) / value) + 1e-9,
        channels * np.exp(rate * load.channel_seconds / value) + 1e-9,
    )
