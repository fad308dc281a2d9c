# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which devices of a large fleet learning is about.

What learning follows grows with the square of the devices: every link between two of them may be slower than it is believed to be.
A plan uses a few. So of a large fleet those are followed that plans of late were made of, and those that would have the
whole model done soonest; the exact planner goes on choosing among all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import latency_cost
from edge_dnn_partition.planning.cost_model.problem import INPUT, Problem

from .components import Assignment

MOST: Final = 12
"""Devices of a fleet that is followed as a whole, and of a larger one's neighbourhood as a rule."""
LIMIT: Final = 24
"""Devices that are followed at most, where one plan has so many."""


class Neighbourhood:
    """Some of a fleet's devices. Deterministic; not thread safe.

    :param fleet: all devices, also those that may be gone now.
    """

    def __init__(self, fleet: Sequence[str]) -> None:
        self.fleet = tuple(fleet)
        self.devices = self.fleet if self.whole else ()

    @property
    def whole(self) -> bool:
        """Whether that is the whole fleet."""
        return len(self.fleet) <= MOST

    def of(self, problem: Problem) -> Problem:
        """Return the part of a problem that is about these devices."""
        return problem if self.whole else problem.among(self.devices)

    def has(self, plan: Assignment | None) -> bool:
        """Return whether a plan is made of these devices alone."""
        return plan is None or set(plan) <= set(self.devices)

    def is_thin(self, problem: Problem) -> bool:
        """Return whether more than half of these devices are gone, while others are there."""
        there = len(set(self.devices) & set(problem.names))
        return not self.whole and 2 * there < min(MOST, len(problem.names))

    def choose(self, problem: Problem, plans: Collection[Assignment]) -> None:
        """Choose the devices anew.

        :param plans: whose devices are to be among them, in this order of importance.
        """
        if self.whole:
            return
        wanted = dict.fromkeys([problem.source, problem.sink])
        wanted.update(dict.fromkeys(device for plan in plans for device in plan if device in self.fleet))
        chosen = list(wanted)[:LIMIT]
        others = [name for name in _soonest(problem) if name not in wanted]
        self.take([*chosen, *others[: max(MOST - len(chosen), 0)]])

    def take(self, devices: Collection[str]) -> None:
        """Take these devices, as far as the fleet has them."""
        if not self.whole:
            self.devices = tuple(name for name in self.fleet if name in set(devices))


def _soonest(problem: Problem) -> list[str]:
    """Return the devices in the order of what a frame takes whose whole model runs on one."""
    cost = latency_cost(problem)
    every, source, sink = np.arange(len(problem.names)), problem.source_index, problem.sink_index
    seconds = cost.node.sum(axis=0)
    for t, tensor in enumerate(problem.tensors):
        if tensor.producer == INPUT:
            seconds = seconds + cost.prices(problem, t, source, every)
        if tensor.at_sink:
            seconds = seconds + cost.prices(problem, t, every, sink)
    return [problem.names[i] for i in np.argsort(seconds, kind='stable').tolist()]
