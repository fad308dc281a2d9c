# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What several plans are predicted to cost at once, split by device and by link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import LinearCost, latency_cost, transfers
from edge_dnn_partition.planning.cost_model.objective import Goal, Reference, goal_of, levels, reference
from edge_dnn_partition.planning.cost_model.problem import Bools, Floats, Ints, Problem

Assignment = tuple[str, ...]
"""The device of each node of a problem."""


@dataclass(frozen=True, eq=False)
class Components:
    """The predicted costs of plans.

    A plan's value is the sum of its row; for throughput it is the largest sum of a group.

    :param values: ``(plans, components)`` in the objective's unit: a component for each device of the
        fleet, then one for each ordered pair of them (sender-major). Infinite in a row's first component
        where the plan cannot run.
    :param groups: ``(components,)``, the group of each component; None for one group.
    """

    values: Floats
    groups: Ints | None = None

    def log_values(self, log_factors: Floats | None = None) -> Floats:
        """Return the logarithm of each plan's value, ``(plans,)``; infinite where it cannot run.

        :param log_factors: ``(components,)``, what each component is multiplied by, as logarithms.
        """
        values = self.values if log_factors is None else self.values * np.exp(log_factors)
        totals = values.sum(axis=1) if self.groups is None else self._grouped(values).max(axis=1)
        return np.asarray(np.log(np.maximum(totals, 1e-12)), dtype=np.float64)

    def shares(self, plan: int, log_factors: Floats) -> Floats:
        """Return the share of each component in one plan's value, ``(components,)``: the gradient of its logarithm."""
        row = self.values[plan] * np.exp(log_factors)
        if self.groups is not None:
            sums = self._grouped(row[None, :])[0]
            row = np.where(self.groups == int(sums.argmax()), row, 0.0)
        total = float(row.sum())
        return row / total if 0 < total < np.inf else np.zeros_like(row)

    def _grouped(self, values: Floats) -> Floats:
        assert self.groups is not None
        sums = np.zeros((len(values), int(self.groups.max()) + 1))
        for group in range(sums.shape[1]):
            sums[:, group] = values[:, self.groups == group].sum(axis=1)
        return sums


class Predictor:
    """Predicts plans of one fleet and model under changing conditions; what does not change is kept.

    :param devices: the fleet's devices, also those that may be gone now.
    :param objective: its name, or a whole goal; for ``deadline`` a plan's energy is predicted.
    """

    def __init__(self, devices: Sequence[str], objective: str | Goal = 'latency') -> None:
        self.devices = tuple(devices)
        self.goal = goal_of(objective)
        self._place = {name: index for index, name in enumerate(self.devices)}
        self._shapes: dict[object, _Shape] = {}

    @property
    def count(self) -> int:
        """How many components there are."""
        return len(self.devices) * (1 + len(self.devices))

    def components(self, problem: Problem, plans: Sequence[Assignment]) -> Components:
        """Return the components of plans under a problem; those that name a device that is gone cannot run."""
        key = (tuple(plans), problem.names, problem.nodes, len(problem.tensors))
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= 8:
                self._shapes.pop(next(iter(self._shapes)))
            shape = self._shapes[key] = _Shape(problem, plans)
        places = np.array([self._place[name] for name in problem.names], dtype=np.int64)
        count = len(self.devices)
        node, pair = shape.costs(problem, _cost(problem, self.goal), throughput=self.goal.name == 'throughput')
        values = np.zeros((len(plans), self.count))
        values[:, places] = node
        columns = (count + places[:, None] * count + places[None, :]).ravel()
        values[:, columns] = pair
        values[~shape.known] = 0.0
        values[~shape.known, 0] = np.inf
        values[~np.isfinite(values).all(axis=1), 0] = np.inf
        return Components(values, self._groups(problem, places) if self.goal.name == 'throughput' else None)

    def levels(self, problem: Problem) -> Floats:
        """Return what telemetry says of each component, ``(components,)``: the logarithm of a time; NaN if nothing."""
        found = np.full(self.count, np.nan)
        count = len(self.devices)
        for name, column in zip(problem.names, problem.seconds.T, strict=True):
            total = float(column[np.isfinite(column)].sum())
            if total > 0:
                found[self._place[name]] = np.log(total)
        for link in problem.links:
            if link.bytes_per_second > 0:
                place = count + self._place[link.sender] * count + self._place[link.reader]
                found[place] = -np.log(link.bytes_per_second)
        return found

    def parts(self, device_seconds: Mapping[str, float]) -> Floats:
        """Return what a frame cost by component as far as it was timed, ``(components,)`` seconds; NaN where it was not."""
        found = np.full(self.count, np.nan)
        for name, seconds in device_seconds.items():
            if name in self._place:
                found[self._place[name]] = seconds
        return found

    def _groups(self, problem: Problem, places: Ints) -> Ints:
        """Return the groups of components: a device alone, the links of one channel together."""
        count = len(self.devices)
        groups = np.arange(self.count)
        for a, b in np.argwhere(problem.channel >= 0):
            groups[count + places[a] * count + places[b]] = self.count + problem.channel[a, b]
        return groups


class _Shape:
    """Which nodes and transfers each of a few plans has."""

    def __init__(self, problem: Problem, plans: Sequence[Assignment]) -> None:
        self.known: Bools = np.array([set(plan) <= set(problem.names) for plan in plans], dtype=np.bool_)
        chosen = [
            problem.indices(plan) if known else np.full(problem.nodes, problem.source_index)
            for plan, known in zip(plans, self.known, strict=True)
        ]
        self.chosen = np.array(chosen, dtype=np.int64).reshape(len(plans), problem.nodes)
        devices = len(problem.names)
        self.node_place = (np.arange(len(plans))[:, None] * devices + self.chosen).ravel()
        self.stays = np.nonzero(self.chosen[:, 1:] == self.chosen[:, :-1])
        self.stay_place = self.stays[0] * devices + self.chosen[self.stays]
        sent = [transfers(problem, row) for row in self.chosen]
        self.owner = np.repeat(np.arange(len(plans)), [len(tensor) for tensor, _, _ in sent])
        none = np.zeros(0, dtype=np.int64)
        self.tensor, self.sender, self.reader = (np.concatenate([none, *(s[i] for s in sent)]) for i in range(3))
        self.pair_place = (self.owner * devices + self.sender) * devices + self.reader

    def costs(self, problem: Problem, cost: LinearCost, *, throughput: bool) -> tuple[Floats, Floats]:
        """Return the costs by device, ``(plans, devices)``, and by pair of devices, ``(plans, devices ** 2)``."""
        plans, devices = len(self.chosen), len(problem.names)
        seconds = cost.node[np.arange(problem.nodes)[None, :], self.chosen].ravel()
        node = np.bincount(self.node_place, seconds, minlength=plans * devices)
        if cost.seam is not None:
            saved = cost.seam[self.stays[1], self.chosen[self.stays]]
            node = node - np.bincount(self.stay_place, saved, minlength=plans * devices)
        hop = cost.of_transfers(problem, self.tensor, self.sender, self.reader)
        fixed = cost.hop[self.sender, self.reader]
        hop = hop + (np.where(np.isinf(fixed), np.inf, 0.0) if throughput else fixed)
        pair = np.bincount(self.pair_place, hop, minlength=plans * devices * devices)
        shape = (plans, devices), (plans, devices * devices)
        return np.asarray(node, np.float64).reshape(shape[0]), np.asarray(pair, np.float64).reshape(shape[1])


def _cost(problem: Problem, goal: Goal) -> LinearCost:
    """Return the linear cost of an objective; for throughput that of a device's and a channel's seconds."""
    if goal.name in ('latency', 'throughput'):
        return latency_cost(problem)
    ref: Reference | None = None
    if goal.name == 'balanced':
        from edge_dnn_partition.planning.cost_model.objective import Judge
        from edge_dnn_partition.planning.solvers.solve import answer

        ref = reference(problem, lambda: answer(problem, Judge(problem, 'latency', 'any', None)), goal.shares)
    return levels(problem, goal.name, ref)[0]


def corrected(problem: Problem, devices: Sequence[str], log_factors: Floats) -> Problem:
    """Return the problem with its devices' and links' times multiplied.

    :param devices: the fleet's devices, whose order ``log_factors`` follows.
    :param log_factors: ``(components,)`` as in :class:`Components`.
    """
    count = len(devices)
    place = {name: index for index, name in enumerate(devices)}
    factors = np.exp(log_factors)
    own = np.array([factors[place[name]] for name in problem.names])
    links = []
    for link in problem.links:
        factor = float(factors[count + place[link.sender] * count + place[link.reader]])
        links.append(
            replace(
                link,
                bytes_per_second=link.bytes_per_second / factor,
                latency_seconds=link.latency_seconds * factor,
            )
        )
    seam = None if problem.seam_seconds is None else problem.seam_seconds * own[None, :]
    return replace(problem, seconds=problem.seconds * own[None, :], seam_seconds=seam, links=tuple(links)).like(problem)
