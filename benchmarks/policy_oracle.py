# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The best that could have been done in a simulated fleet, in hindsight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edge_dnn_partition.control.decision.candidates import answers_around
from edge_dnn_partition.control.decision.policy import Assignment
from edge_dnn_partition.planning.cost_model.problem import Bools, Floats
from edge_dnn_partition.planning.solvers.solve import solve

from .policy_fleet import DEVICES, SimulatedFleet
from .policy_run import Rules

_BINS = 24


def plan_pool(fleet: SimulatedFleet, more: Iterable[Assignment] = ()) -> list[Assignment]:
    """Return the plans that hindsight chooses among, sorted.

    They are the exact planner's answers to the *true* times after every change, its answers around the first estimates,
    what one device alone would do, and ``more`` (those that policies have used).
    """
    found = {(name,) * fleet.problem.nodes for name in DEVICES} | set(more)
    found |= set(answers_around(fleet.problem))
    for change in (0, *fleet.changes):
        answer = solve(fleet.true_problem(change)).assignment
        if answer is not None:
            found.add(tuple(answer))
    return sorted(found)


def fixed_seconds(fleet: SimulatedFleet, plans: Sequence[Assignment]) -> Floats:
    """Return what each plan takes if it is kept to from the first frame on, ``(plans, frames)``."""
    jetson, rest = _tables(fleet, plans)
    period = fleet.scenario.period_seconds
    temperature: Floats = np.full(len(plans), fleet.thermal.ambient)
    hot: Bools = np.zeros(len(plans), dtype=np.bool_)
    seconds = np.zeros(jetson.shape)
    for frame in range(jetson.shape[1]):
        busy = jetson[:, frame] * np.where(hot, fleet.thermal.slowdown, 1.0)
        seconds[:, frame] = busy + rest[:, frame]
        temperature, hot = fleet.thermal.next(temperature, hot, np.minimum(busy / period, 1.0), period)
    return seconds


def oracle_seconds(fleet: SimulatedFleet, plans: Sequence[Assignment], rules: Rules | None = None) -> Floats:
    """Return what frames take under the best choices of all, made with full knowledge of what is to come.

    All plans are prepared, a switch costs ``switch_seconds``. Where the jetson throttles the choice takes into account how
    it heats it: dynamic programming backwards over (plan, temperature, throttling), the
    temperature interpolated between 24 values; then forwards with the true temperature. Elsewhere it is exact.

    :return: ``(frames,)``.
    """
    rules = rules or Rules()
    jetson, rest = _tables(fleet, plans)
    starts = list(range(0, jetson.shape[1], rules.decision_frames))
    throttles = fleet.thermal.slowdown > 1
    thermal = fleet.thermal
    grid: Floats = np.linspace(thermal.ambient, 120.0, _BINS) if throttles else np.array([thermal.ambient])
    ahead = np.zeros((len(plans), len(grid), 2))
    table = np.zeros((len(starts), len(plans), len(grid), 2))
    for step in range(len(starts) - 1, -1, -1):
        block = slice(starts[step], starts[step] + rules.decision_frames)
        table[step] = _ahead(fleet, jetson[:, block], rest[:, block], grid, ahead)
        ahead = np.minimum(table[step], table[step].min(axis=0) + rules.switch_seconds)
    seconds = np.zeros(jetson.shape[1])
    temperature, hot, present = thermal.ambient, False, -1
    for step, start in enumerate(starts):
        costs = _between(grid, table[step][:, :, int(hot)], np.full(len(plans), temperature)).copy()
        if present >= 0:
            costs += rules.switch_seconds
            costs[present] -= rules.switch_seconds
        chosen = int(costs.argmin())
        extra = rules.switch_seconds if 0 <= present != chosen else 0.0
        present = chosen
        for frame in range(start, min(start + rules.decision_frames, jetson.shape[1])):
            busy = float(jetson[chosen, frame]) * (thermal.slowdown if hot else 1.0)
            seconds[frame] = busy + rest[chosen, frame] + extra
            extra = 0.0
            period = fleet.scenario.period_seconds
            temperature, hot = thermal.step(temperature, hot, min(busy / period, 1.0), period)
    return seconds


def _tables(fleet: SimulatedFleet, plans: Sequence[Assignment]) -> tuple[Floats, Floats]:
    times = [fleet.times(plan) for plan in plans]
    return np.array([t.jetson for t in times]), np.array([t.rest for t in times])


def _ahead(fleet: SimulatedFleet, jetson: Floats, rest: Floats, grid: Floats, ahead: Floats) -> Floats:
    """Return the cost from here on of each plan at each temperature, ``(plans, temperatures, 2)``."""
    plans, thermal, period = len(jetson), fleet.thermal, fleet.scenario.period_seconds
    found = np.zeros((plans, len(grid), 2))
    for began_hot in range(2):
        temperature = np.broadcast_to(grid, (plans, len(grid)))
        hot: Bools = np.full((plans, len(grid)), bool(began_hot))
        total = np.zeros((plans, len(grid)))
        for column in range(jetson.shape[1]):
            busy = jetson[:, column, None] * np.where(hot, thermal.slowdown, 1.0)
            total = total + busy + rest[:, column, None]
            if len(grid) > 1:
                temperature, hot = thermal.next(temperature, hot, np.minimum(busy / period, 1.0), period)
        if len(grid) > 1:
            rows = np.arange(plans)[:, None]
            place = np.clip((temperature - grid[0]) / (grid[1] - grid[0]), 0, len(grid) - 1.000001)
            low = place.astype(np.int64)
            part = place - low
            state = hot.astype(np.int64)
            total = total + (1 - part) * ahead[rows, low, state] + part * ahead[rows, low + 1, state]
        else:
            total = total + ahead[:, :, began_hot]
        found[:, :, began_hot] = total
    return found


def _between(grid: Floats, values: Floats, at: Floats) -> Floats:
    """Return rows of ``values``, ``(rows, grid)``, interpolated at one place each."""
    if len(grid) == 1:
        return values[:, 0]
    place = np.clip((at - grid[0]) / (grid[1] - grid[0]), 0, len(grid) - 1.000001)
    low = place.astype(np.int64)
    rows = np.arange(len(values))
    return np.asarray(values[rows, low] * (1 - (place - low)) + values[rows, low + 1] * (place - low), dtype=np.float64)
