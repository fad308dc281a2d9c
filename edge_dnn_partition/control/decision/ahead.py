# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Throughput: a plan that gets better between decisions, as long as the conditions hold."""

from __future__ import annotations

from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.solvers.fewer_stages import effective_bottleneck
from edge_dnn_partition.planning.solvers.solve import solve

from .policy import Assignment

_HOLD: Final = 0.05
"""The conditions hold while the plan's value is within this share of what it was when the plan was found."""
_IN_VAIN: Final = 8
_BETTER: Final = 1e-6


class Ahead:
    """Searches on after a decision, a course at a time, and gives the next decision what it has found.

    The first course begins anew, the others at the best plan and are short, since the next decision waits for them. After eight
    that found nothing better there are no more until the conditions change. For other objectives than throughput there is
    nothing to do: their answers are exact, or quickly found again.
    """

    def __init__(self, goal: Goal) -> None:
        self._counts = goal.pipelined
        self._goal = goal
        self._plan: Assignment | None = None
        self._found_at = np.inf
        self._course = 0
        self._in_vain = 0

    def known(self, problem: Problem) -> tuple[Assignment, ...]:
        """Return the plan to improve on, if it can run and the conditions have held."""
        plan = self._plan
        if plan is None:
            return ()
        value = effective_bottleneck(problem, plan) if set(plan) <= set(problem.names) and len(plan) == problem.nodes else np.inf
        if abs(value - self._found_at) <= _HOLD * self._found_at:
            return (plan,)
        self._plan, self._found_at, self._in_vain = None, np.inf, 0
        return ()

    def improve(self, problem: Problem) -> None:
        """Search one course further."""
        if not self._counts:
            return
        known = self.known(problem)
        if self._in_vain >= _IN_VAIN:
            return
        found = solve(problem, self._goal, quick=True, few_stages=True, known=known, seed=self._course)
        self._course += 1
        if found.assignment is None:
            return
        value = effective_bottleneck(problem, found.assignment)
        if known and value >= effective_bottleneck(problem, known[0]) * (1 - _BETTER):
            self._in_vain = _IN_VAIN if found.optimal else self._in_vain + 1
            return
        self._plan, self._found_at, self._in_vain = found.assignment, value, 0
