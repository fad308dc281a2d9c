# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Trying every plan, where there are few: exact for every criterion and space, the order among equals included."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from edge_dnn_partition.planning.cost_model import batch
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem

from .judge import EQUAL, Answer, Judge


def few(problem: Problem, space: str) -> bool:
    """Return whether the space has so few plans that all can be tried."""
    count = batch.count_assignments(problem)
    if space == 'each_device_once':
        count = min(count, _single_visits(problem))
    return count <= batch.ENUMERATED


def answer(problem: Problem, judge: Judge) -> Answer:
    """Try every plan of the judge's space; the least values first, until one is accepted."""
    every = batch.Batch(problem)
    for plans in _plans(problem, judge.space):
        measured = every.measure(plans)
        values = judge.values(measured)
        if judge.space == 'each_device_once':
            values[~_visits_once(plans)] = np.inf
        figures = (values, measured.latency_seconds, measured.energy_joules, _changes(plans))
        rows = np.flatnonzero(np.isfinite(values) & (values <= judge.best_value + EQUAL * abs(judge.best_value)))
        while len(rows):
            first = _first(rows, figures)
            if judge.accepts(plans[first]):
                break
            rows = rows[rows != first]  # its tail is late
    return Answer(judge.best, True)


def _plans(problem: Problem, space: str) -> Iterator[Ints]:
    """Yield all plans in chunks ``(plans, nodes)``, in lexicographic order."""
    if batch.count_assignments(problem) <= batch.ENUMERATED or space == 'any':
        yield from batch.all_assignments(problem)
        return
    nodes, devices = problem.nodes, len(problem.devices)
    plans = np.array([
        np.repeat(chosen, np.diff((0, *cuts, nodes)))
        for stages in range(1, min(nodes, devices) + 1)
        for cuts in itertools.combinations(range(1, nodes), stages - 1)
        for chosen in itertools.permutations(range(devices), stages)
    ])  # fmt: skip
    yield plans[np.lexsort(plans.T[::-1])]


def _single_visits(problem: Problem) -> int:
    """Return how many plans there are in which no device has two stages."""
    nodes, devices = problem.nodes, len(problem.devices)
    return sum(math.perm(devices, m) * math.comb(nodes - 1, m - 1) for m in range(1, min(nodes, devices) + 1))


def _changes(plans: Ints) -> Floats:
    return np.asarray((plans[:, 1:] != plans[:, :-1]).sum(axis=1), dtype=np.float64)


def _visits_once(plans: Ints) -> np.ndarray:
    """Return whether no device has two stages, ``(plans,)``."""
    return np.asarray(_changes(np.sort(plans, axis=1)) == _changes(plans))


def _first(rows: Ints, figures: tuple[Floats, ...]) -> int:
    """Return the row that comes first by its figures in order of importance, where close numbers are equal."""
    for figure in figures:
        least = figure[rows].min()
        rows = rows[figure[rows] <= least + EQUAL * abs(least)]
    return int(rows[0])
