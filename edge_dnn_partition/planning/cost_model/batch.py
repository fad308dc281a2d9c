# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Costs of many assignments at once, and enumeration where they are few."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from .linear import LinearCost, energy_cost, latency_cost
from .parts import INPUT
from .problem import Bools, Floats, Ints, Problem

_CHUNK: Final = 1_500_000
ENUMERATED: Final = 20_000
"""Up to so many assignments, all are tried."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Costs of assignments, each ``(assignments,)``; infinite where one cannot run."""

    latency_seconds: Floats
    energy_joules: Floats
    bottleneck_seconds: Floats
    fits: Bools


class Batch:
    """Measures assignments of one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._latency = latency_cost(problem)
        self._energy = energy_cost(problem, self._latency)
        self._memory = problem.column('memory_bytes')
        self._limited = bool(np.isfinite(self._memory).any())
        spent = ('encode_seconds', 'encode_seconds_per_byte', 'decode_seconds', 'decode_seconds_per_byte')
        self._codes = problem.coding is not None or any(bool(problem.column(field).any()) for field in spent)
        self._channels = int(problem.channel.max(initial=-1)) + 1

    def measure(self, plans: Ints) -> Measured:
        """Return the costs of plans, ``(assignments, nodes)``."""
        problem = self.problem
        size = max(1, _CHUNK // max(1, len(problem.tensors) * len(problem.devices) + problem.nodes))
        parts = [self._measure(plans[i : i + size]) for i in range(0, len(plans), size)]
        fields = ('latency_seconds', 'energy_joules', 'bottleneck_seconds', 'fits')
        return Measured(*(np.concatenate([getattr(part, f) for part in parts]) for f in fields))

    def _measure(self, plans: Ints) -> Measured:
        problem, many = self.problem, len(plans)
        devices, tensors = len(problem.devices), len(problem.tensors)
        rows = np.arange(many)[:, None]
        nodes = np.arange(problem.nodes)[None, :]
        seconds = problem.seconds[nodes, plans]
        bad: Bools = np.asarray(np.isinf(seconds).any(axis=1), dtype=np.bool_)
        seconds = np.where(np.isinf(seconds), 0.0, seconds)
        place = (rows * devices + plans).ravel()
        device = np.bincount(place, seconds.ravel(), minlength=many * devices).reshape(many, devices)
        energy_node = self._energy.node[nodes, plans]
        energy = np.where(np.isinf(energy_node), 0.0, energy_node).sum(axis=1)
        latency = seconds.sum(axis=1)
        if problem.seam_seconds is not None:
            stays = plans[:, 1:] == plans[:, :-1]
            saved = np.where(stays, problem.seam_seconds[nodes[:, :-1], plans[:, 1:]], 0.0)
            place = (rows * devices + plans[:, 1:]).ravel()
            device -= np.bincount(place, saved.ravel(), minlength=many * devices).reshape(many, devices)
            latency = latency - saved.sum(axis=1)
            assert self._energy.overhead is not None
            energy -= np.where(stays, self._energy.overhead[nodes[:, :-1], plans[:, 1:]], 0.0).sum(axis=1)
        fits: Bools = np.ones(many, dtype=np.bool_)
        if self._limited:
            weights = np.broadcast_to(problem.weight_bytes, plans.shape).ravel()
            place = (rows * devices + plans).ravel()
            used = np.bincount(place, weights, minlength=many * devices).reshape(many, devices)
            fits = np.asarray((used <= self._memory).all(axis=1), dtype=np.bool_)
        homes = np.where(problem.producers == INPUT, problem.source_index, plans[:, problem.producers])
        needed = np.zeros((many, tensors, devices), dtype=np.bool_)
        tensor, reader = problem.readings
        needed[rows, tensor[None, :], plans[:, reader]] = True
        needed[:, problem.at_sink, problem.sink_index] = True
        needed[rows, np.arange(tensors)[None, :], homes] = False
        m, t, b = np.nonzero(needed)
        a = homes[m, t]
        rate = problem.rate[a, b]
        linked = rate > 0
        bad[m[~linked]] = True
        m, t, a, b, rate = m[linked], t[linked], a[linked], b[linked], rate[linked]
        air = problem.wire_bytes(t, a, b) / rate
        busy = np.bincount(m * self._channels + problem.channel[a, b], air, minlength=many * self._channels)
        busy = busy.reshape(many, self._channels)

        def hops(cost: LinearCost) -> Floats:
            seconds = cost.prices(problem, t, a, b)
            return np.bincount(m, seconds, minlength=many).astype(np.float64)

        latency = latency + hops(self._latency)
        energy = energy + hops(self._energy)
        if self._codes:
            for end, spent in zip((a, b), problem.coding_seconds(t, a, b), strict=True):
                device += np.bincount(m * devices + end, spent, minlength=many * devices).reshape(many, devices)
        loads = np.concatenate((device, busy), axis=1)
        bottleneck = loads.max(axis=1)
        for value in (latency, energy, bottleneck):
            value[bad] = np.inf
        return Measured(latency, energy, bottleneck, fits & ~bad)


def count_assignments(problem: Problem) -> float:
    """Return how many assignments put every node where it can run."""
    total = 1.0
    for places in np.isfinite(problem.seconds).sum(axis=1).tolist():
        total = min(total * places, 1e300)
    return total


def all_assignments(problem: Problem) -> Iterator[Ints]:
    """Yield all assignments in chunks, in lexicographic order."""
    places = [np.flatnonzero(np.isfinite(row)).tolist() for row in problem.seconds]
    every = itertools.product(*places)
    while chunk := list(itertools.islice(every, 4096)):
        yield np.array(chunk, dtype=np.int64)
