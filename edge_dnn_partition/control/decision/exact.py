# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The policy that follows the exact planner."""

from __future__ import annotations

from .ahead import Ahead
from .decide import decide
from .hysteresis import Hysteresis, Settings
from .policy import Assignment, Choice, Conditions, StillPolicy


class ExactPolicy(StillPolicy):
    """Decides by :func:`.decide.decide` on the estimates as they are.

    :param hysteresis: what moves pass through; None: one of the settings.
    """

    def __init__(self, settings: Settings | None = None, *, hysteresis: Hysteresis | None = None) -> None:
        self.hysteresis = hysteresis or Hysteresis(settings)
        self._ahead = Ahead(self.hysteresis.settings.goal)

    def choose(self, conditions: Conditions) -> Choice:
        """Return what :func:`.decide.decide` says."""
        decision = decide(
            conditions.now, conditions.problem, self.hysteresis, deviation=conditions.deviation,
            least_gain=conditions.least_gain, problem_for=conditions.problem_for, stepped_at=conditions.stepped_at,
            came_at=conditions.came_at, known=self._ahead.known(conditions.problem),
        )  # fmt: skip
        return Choice(decision.assignment, decision.reason, decision.costs, decision.values)

    def maintain(self, conditions: Conditions) -> None:
        """Look for a better plan than the last decision found, while the conditions hold."""
        self._ahead.improve(conditions.problem)

    def moved(self, now: float, plan: Assignment) -> None:
        """Remember the plan in force and since when."""
        self.hysteresis.moved(now, plan)
