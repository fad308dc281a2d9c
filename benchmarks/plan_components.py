# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What plans are predicted to take, split by device and by link: the features of the linear bandits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_dnn_partition.control.decision.policy import Assignment
from edge_dnn_partition.planning.cost_model.linear import latency_cost, transfers
from edge_dnn_partition.planning.cost_model.problem import Floats, Problem


class Components:
    """Splits plans of one fleet. A component for each device, then one for each ordered pair of them (sender-major).

    :param devices: the fleet's devices, also those that may be gone now.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self.devices = tuple(devices)

    @property
    def count(self) -> int:
        """How many components there are."""
        return len(self.devices) * (1 + len(self.devices))

    def of(self, problem: Problem, plans: Sequence[Assignment]) -> Floats:
        """Return the seconds of each component, ``(plans, components)``; infinite in a row's first where the plan cannot run."""
        found = np.zeros((len(plans), self.count))
        cost, count = latency_cost(problem), len(self.devices)
        place = np.array([self.devices.index(name) for name in problem.names])
        for row, plan in zip(found, plans, strict=True):
            if not set(plan) <= set(problem.names):
                row[0] = np.inf
                continue
            chosen = problem.indices(plan)
            np.add.at(row, place[chosen], cost.node[np.arange(problem.nodes), chosen])
            if cost.overhead is not None:
                stays = np.flatnonzero(chosen[1:] == chosen[:-1])
                np.add.at(row, place[chosen[stays]], -cost.overhead[stays, chosen[stays]])
            tensor, sender, reader = transfers(problem, chosen)
            np.add.at(row, count + place[sender] * count + place[reader], cost.prices(problem, tensor, sender, reader))
            if not np.isfinite(row).all():
                row[:] = 0.0
                row[0] = np.inf
        return found
